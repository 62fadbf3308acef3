// Clients of the real PMIx library, without MPI, that ask for everything: in each encoding of theirs, and in all of
// them in one job.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/needs.ts'
import { runPmixJob } from './pmix-job.ts'
import { buildPmixPrograms, type PmixPrograms } from './programs/pmix-build.ts'

const v3 = 'unset PMIX_SERVER_URI41 PMIX_SERVER_URI4'
const described = 'export PMIX_BFROP_BUFFER_TYPE=PMIX_BFROP_BUFFER_FULLY_DESC'

describeWith(['cc', 'pkg-config', 'mpicc.openmpi'], 'the PMIx library', () => {
  let programs: PmixPrograms
  beforeAll(async () => {
    programs = await buildPmixPrograms([], ['pmix-client'])
  })
  afterAll(() => programs?.remove())

  const guests = [[0, 1], [2], [3]]

  it.each([
    ['v41', ':', 1],
    ['v4', 'unset PMIX_SERVER_URI41', 1],
    ['v3', v3, 1],
    ['v21', `${v3} PMIX_SERVER_URI3`, 1],
    ['v41 described', described, 1],
    ['v3 described', `${v3}; ${described}`, 1],
    ['v41 at three agents', ':', 3],
    ['native credentials', 'unset PMIX_SECURITY_MODE', 1],
    ['all of them', `case $PMIX_RANK in 1) ${v3};; 2) ${described};; 3) ${v3}; ${described};; esac`, 2],
  ])('is served in %s', async (_, setting, agents) => {
    const script = `${setting}; exec "$0"`
    const end = await runPmixJob({ argv: ['sh', '-c', script, programs.path('pmix-client')], guests, agents })
    expect(end).toMatchObject({
      lines: [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 ok`),
      statuses: [0, 0, 0, 0],
      stderr: '',
      log: ['rank 0: logged by a rank'],
    })
  })
})
