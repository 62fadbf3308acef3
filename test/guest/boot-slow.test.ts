/** @module-tag long */
// Guests that are only slow are not taken for hung: QEMU gets a seventh of a processor, so that a boot takes longer than a
// guest may be without progress, but uses no more of the processor than ever.
import { spawn } from 'node:child_process'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { throughScript } from './qemu-script.ts'

describeWith(
  ['qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'taskset'],
  'guests on a busy node',
  () => {
    let place: Playground
    beforeAll(() => {
      place = playground()
    })
    afterEach(() => {
      expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
    })
    afterAll(() => place.remove())

    it('are left alone when they are slow', async () => {
      const slow = throughScript(place, 'slow', 'taskset -p -c 0 $$ >/dev/null; renice -n 5 $$ >/dev/null')
      const loads = [1, 2].map(() => spawn('taskset', ['-c', '0', 'sh', '-c', 'while :; do :; done']))
      const words = ['--guests', '1', '--guest-memory', '384M', '--boot-timeout', '8m']
      try {
        const { status, stdout, stderr } = await leetMpirun([...words, '-n', '1', 'echo', 'there'], slow)
        expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'there\n' })
        expect(stderr).not.toContain('booted again')
      } finally {
        for (const load of loads) load.kill('SIGKILL')
      }
    })
  },
)
