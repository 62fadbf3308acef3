// A session of real OSv guests, wherever LEET_OSV_BASE names what OSv's build left: several jobs in the same guests, and
// nothing left of the session.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { leetMpirun, type Playground, playground, startLeet } from '../support/leet.ts'
import { describeOsv, osvBuild } from '../support/needs.ts'

describeOsv(['qemu-system-x86_64', 'vde_switch', 'mpicc.openmpi'], 'a session of OSv guests', () => {
  let place: Playground
  let programs: Programs
  beforeAll(async () => {
    place = playground()
    programs = await buildPrograms('mpicc.openmpi', ['work', 'end'])
  })
  afterAll(() => {
    programs?.remove()
    place?.remove()
  })
  const here = () => ({ cwd: place.directory, env: place.env })
  const leet = (...argv: string[]) => startLeet(argv, here(), 'leet').ended

  it('runs one job after the other, until the guests can start no more', async () => {
    const guests = ['--guest', 'osv', '--osv-base', `${osvBuild}`, '--guest-memory', '512M']
    const programPaths = [programs.path('work'), programs.path('end'), 'touch']
    expect(await leet('up', ...guests, '-n', '2', ...programPaths)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/--reuse-guests/),
    })
    const up = await leet('up', '--reuse-guests', ...guests, '-n', '4', '--guests', '2', ...programPaths)
    expect(up, up.stderr).toMatchObject({ status: 0 })

    for (let run = 0; run < 5; run++) {
      const { status, stdout, stderr } = await leetMpirun(['-n', '4', programs.path('work')], here())
      expect({ run, status, stdout }, stderr).toEqual({ run, status: 0, stdout: 'work ok\n'.repeat(4) })
    }
    writeFileSync(join(place.directory, 'input'), 'input\n')
    expect(await leetMpirun(['-n', '1', 'touch', 'made'], here())).toMatchObject({ status: 0 })
    expect(readFileSync(join(place.directory, 'made'), 'utf8')).toBe('')
    const ended = await leetMpirun(['-n', '1', programs.path('end'), 'exit', '0', '3'], here())
    expect(ended).toMatchObject({ status: 3 })
    expect(await leetMpirun(['-n', '1', 'true'], here())).toMatchObject({
      status: 127,
      stderr: expect.stringMatching(/LEET_E_SESSION_PROGRAM/),
    })
    expect(await leet('exec', 'g0', 'true')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/neither a shell/),
    })
    // 12 starts in the first guest so far.
    for (let run = 0; run < 9; run++) {
      const { status, stderr } = await leetMpirun(['-n', '2', programs.path('work')], here())
      expect({ run, status }, stderr).toEqual({ run, status: 0 })
    }
    expect(await leetMpirun(['-n', '2', programs.path('work')], here())).toMatchObject({
      stderr: expect.stringMatching(/LEET_E_OSV_STARTS/),
    })
    expect(await leetMpirun(['-n', '1', programs.path('work')], here())).toMatchObject({ status: 0 })

    expect(await leet('down')).toMatchObject({ status: 0 })
    await poll(
      () => place.processes().length === 0 || undefined,
      20,
      { deadline: Deadline.after(5_000) },
      { what: 'all of the session to end' },
    )
    expect(place.files()).toEqual([])
  })
})
