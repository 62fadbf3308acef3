// Programs on the bare host whose MPI their own libraries do not show, such as Python with mpi4py: they have the settings of every
// MPI, and a rank that never joins the others ends the job.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

// Both are started before either looks for the other.
const PROGRAM = `import os, sys
if sys.argv[1:] == [os.environ["PMIX_RANK"]]:
    sys.exit(0)
from mpi4py import MPI
print(MPI.COMM_WORLD.rank, "of", MPI.COMM_WORLD.size, "HWLOC_COMPONENTS" in os.environ)
`

describeWith(
  ['/usr/bin/python3', '/usr/lib/python3/dist-packages/mpi4py'],
  'a program that hides its MPI',
  () => {
    let place: Playground
    beforeEach(() => {
      place = playground()
      writeFileSync(join(place.directory, 'program.py'), PROGRAM)
    })
    afterEach(() => place.remove())
    const run = (...words: string[]) =>
      leetMpirun(['--guest', 'host', '-n', '2', '/usr/bin/python3', 'program.py', ...words], {
        cwd: place.directory,
        env: place.env,
      })

    it('has what either MPI needs', async () => {
      const { status, stdout } = await run()
      expect({ status, ranks: stdout.split('\n').filter(Boolean).sort() }).toEqual({
        status: 0,
        ranks: ['0 of 2 True', '1 of 2 True'],
      })
    })

    it('ends when a rank has left without having joined the others', async () => {
      const { status, stderr } = await run('1')
      expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(/rank 1 .*MPI_Init/) })
      expect(place.processes()).toEqual([])
    })
  },
)
