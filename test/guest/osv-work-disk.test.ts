// The working directory of ranks in real OSv guests, one in each, on a disk of its own: what they find, what comes back, however
// the job ends.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeOsv, osvBuild } from '../support/needs.ts'

const LIBEXT = 'modules/libext/libext.so'
/** Not below /tmp, which is memory in every OSv guest. */
const ROOT = '/var/tmp'

describeOsv(
  ['qemu-system-x86_64', 'vde_switch', 'mpicc.openmpi', 'mke2fs'],
  'a disk of OSv guests',
  () => {
    let place: Playground
    let programs: Programs
    let directory: string
    beforeAll(async () => {
      place = playground()
      programs = await buildPrograms('mpicc.openmpi', ['results'])
    })
    beforeEach(() => {
      directory = mkdtempSync(join(ROOT, 'leet-work-disk-'))
      mkdirSync(join(directory, 'system'))
      writeFileSync(join(directory, 'input'), 'as it was')
      return () => rmSync(directory, { recursive: true })
    })
    afterAll(() => {
      programs?.remove()
      place?.remove()
    })

    const run = (...words: string[]) => {
      const guests = ['--guest', 'osv', '--osv-base', `${osvBuild}`, '--guests', '2', '-n', '2']
      return leetMpirun([...guests, programs.path('results'), ...words], { cwd: directory, env: place.env })
    }
    const results = () =>
      Object.fromEntries(
        readdirSync(directory, { withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map(({ name }) => [name, readFileSync(join(directory, name), 'utf8')]),
      )
    const ofRanks = Object.fromEntries([0, 1].map((rank) => [`result ${rank}`, `result ${rank}`]))

    it('brings results back when all is well', async () => {
      const { status, stderr } = await run('well')
      expect(status, stderr).toBe(0)
      expect(results()).toEqual({ ...ofRanks, alike: 'alike', input: 'changed' })
      expect(place.files()).toEqual([])
    })

    it('brings all back after an abort, or says that some may be missing', async () => {
      const { status, stderr } = await run('abort')
      expect(status, stderr).toBe(42)
      const all = { ...ofRanks, alike: 'alike', input: 'changed' }
      // A rank that is told to end has a second for it, which a busy machine may not give it.
      if (stderr.includes('may be missing')) expect(all).toMatchObject(results())
      else expect(results()).toEqual(all)
    })

    it('keeps both of what two guests made different, and says so', async () => {
      const { status, stderr } = await run('apart')
      expect({ status, stderr }).toMatchObject({ status: 1, stderr: /LEET_E_RESULTS/ })
      const { input, ...all } = results()
      expect(input).toBe('changed')
      const alike = Object.keys(all).filter((name) => name.startsWith('alike'))
      expect(alike).toHaveLength(2)
      expect(new Set(alike.map((name) => all[name])).size).toBe(2)
    })
  },
  LIBEXT,
)
