// The working directory of ranks in real OSv guests, one in each, on a disk of its own: what they find, what comes back, however
// the job ends.
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { type Case, makeCase, RESULTS } from '../support/case.ts'
import { leetMpirun, type Playground, playground, startLeet } from '../support/leet.ts'
import { describeOsv, osvBuild } from '../support/needs.ts'

const LIBEXT = 'modules/libext/libext.so'
/** Not below /tmp, which is memory in every OSv guest. */
const ROOT = '/var/tmp'
/** What `writes` repeats in its files. */
const WRITTEN = 'abcdefg'
const MAPPED = 'hijklmn'

describeOsv(
  ['qemu-system-x86_64', 'vde_switch', 'cc', 'mpicc.openmpi', 'mke2fs'],
  'a disk of OSv guests',
  () => {
    let place: Playground
    let programs: Programs
    let plain: Programs
    let ofTest: Case
    beforeAll(async () => {
      place = playground()
      programs = await buildPrograms('mpicc.openmpi', ['results'])
      plain = await buildPrograms('cc', ['writes'])
    })
    beforeEach(() => {
      ofTest = makeCase(ROOT)
      return ofTest.remove
    })
    afterAll(() => {
      programs?.remove()
      plain?.remove()
      place?.remove()
    })

    const run = (...words: string[]) => {
      const guests = ['--guest', 'osv', '--osv-base', `${osvBuild}`, '--guests', '2', '-n', '2']
      const argv = [...guests, programs.path('results'), ...words]
      return leetMpirun(argv, { cwd: ofTest.directory, env: place.env })
    }

    it('brings results back when all is well', async () => {
      const { status, stderr } = await run('well')
      expect(status, stderr).toBe(0)
      expect(ofTest.files()).toEqual(RESULTS)
      expect(place.files()).toEqual([])
    })

    it('brings all back after an abort, or says that some may be missing', async () => {
      const { status, stderr } = await run('abort')
      expect(status, stderr).toBe(42)
      // A rank that is told to end has a second for it, which a busy machine may not give it.
      if (stderr.includes('may be missing')) expect(RESULTS).toMatchObject(ofTest.files())
      else expect(ofTest.files()).toEqual(RESULTS)
    })

    /** Starts `writes` in one guest. */
    const startWrites = (...words: string[]) =>
      startLeet(['--guest', 'osv', '--osv-base', `${osvBuild}`, '-n', '1', plain.path('writes'), ...words], {
        cwd: ofTest.directory,
        env: place.env,
      })
    /** What it fills its files with. */
    const filled = (text: string) => text.repeat(10_000 / text.length + 1).slice(0, 10_000)

    it('brings back what was written, whether closed or not, and through a map once that is synced or gone', async () => {
      const { status, stdout, stderr } = await startWrites().ended
      expect(status, stderr).toBe(0)
      expect(stdout).toContain('input mapped: as it was')
      // What is not synced at the end is in `mapped`, or not.
      const { mapped: _, ...files } = ofTest.files()
      expect(files).toEqual({
        ...{ input: 'as it was', synced: filled(WRITTEN), closed: filled(WRITTEN), open: filled(WRITTEN) },
        ...{ 'mapped-synced': filled(MAPPED), 'mapped-unmapped': filled(MAPPED) },
      })
    })

    it('brings back what was synced when its guest is killed, and says that some may be missing', async () => {
      const running = startWrites('wait')
      await running.saw(/^ready$/m)
      running.child.kill('SIGINT')
      const { status, stderr } = await running.ended
      expect({ status, stderr }).toMatchObject({ status: 130, stderr: /may be missing/ })
      expect(ofTest.files()).toMatchObject({ input: 'as it was', synced: filled(WRITTEN) })
    })

    it('keeps both of what two guests made different, and says so', async () => {
      const { status, stderr } = await run('apart')
      expect({ status, stderr }).toMatchObject({ status: 1, stderr: /LEET_E_RESULTS/ })
      const { input, ...all } = ofTest.files()
      expect(input).toBe('changed')
      const alike = Object.keys(all).filter((name) => name.startsWith('alike'))
      expect(alike).toHaveLength(2)
      expect(new Set(alike.map((name) => all[name])).size).toBe(2)
    })
  },
  LIBEXT,
)
