// Ranks of Linux guests on processors of their guests.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

describeWith(['qemu-system-x86_64', 'vde_switch'], 'ranks in Linux guests', () => {
  let place: Playground
  beforeAll(() => {
    place = playground()
  })
  afterAll(() => place.remove())

  it('are bound to processors of their guests, each to its own', async () => {
    const guests = ['--guests', '2', '--guest-memory', '384M', '--guest-cpus', '2']
    const bound = ['--bind-to', 'core', '--report-bindings', '-l', '-n', '4']
    const show = ['grep', 'Cpus_allowed_list:', '/proc/self/status']
    const outcome = await leetMpirun([...guests, ...bound, ...show], { cwd: place.directory, env: place.env })
    expect({ ...outcome, stdout: outcome.stdout.trimEnd().split('\n').toSorted() }).toMatchObject({
      status: 0,
      stdout: [0, 1, 2, 3].map((rank) => `[${rank}] Cpus_allowed_list:\t${rank % 2}`),
    })
    expect(outcome.stderr).toMatch(/-g1\] MCW rank 3 bound to socket 0\[core 1/)
    expect([place.files(), place.processes()]).toEqual([[], []])
  })
})
