// Guests that hang while they boot are booted again, and the job does not notice.
// The hang is real: QEMU, or the script that stands before it in PATH, is stopped by SIGSTOP.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { leetMpirun, type Playground, playground, startLeet } from '../support/leet.ts'
import { describeWith, isOsvHere, osvBuild } from '../support/needs.ts'
import { throughScript } from './qemu-script.ts'

const GUEST_PARTS = ['qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'setpriv']
const ONE_GUEST = ['--guests', '1', '--guest-memory', '384M', '-n', '1']

describeWith(GUEST_PARTS, 'guests that do not come up', () => {
  let place: Playground
  beforeAll(() => {
    place = playground()
  })
  afterEach(() => {
    expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
  })
  afterAll(() => place.remove())

  const eventsOf = (file: string) =>
    readFileSync(join(place.directory, file), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line): { event: string; state?: string; guest?: string; detail?: string } => JSON.parse(line))

  it('are replaced when their hypervisor stops at its start, and the job goes on', async () => {
    const options = throughScript(
      place,
      'once',
      `mkdir ${join(place.directory, 'first')} 2>/dev/null && kill -STOP $$`,
    )
    const { status, stdout, stderr } = await leetMpirun(
      ['--guests', '2', '--guest-memory', '384M', '--timings', '--events', 'events'].concat([
        '-n',
        '2',
        'sh',
        '-c',
        'hostname',
      ]),
      options,
    )
    expect(status, stderr).toBe(0)
    expect(new Set(stdout.split('\n').filter(Boolean)).size).toBe(2)
    expect(stderr).toMatch(
      /^leet: guest leet-\w+-g[01] made no progress for \d+ s in the start of its hypervisor: booted again \(1 of 2\)$/m,
    )
    expect(stderr).toMatch(/guests that hung, booted again +1$/m)
    expect(eventsOf('events').filter(({ state }) => state === 'hung')).toHaveLength(1)
  })

  it('are replaced when they stop amid their boot, their console kept; and told of when that goes on', {
    tags: ['long'],
  }, async () => {
    const qemus = () =>
      place
        .processes()
        .filter((pid) =>
          /^guest=leet-/m.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', '\n')),
        )
    const events = join(place.directory, 'stops')
    const running = startLeet([...ONE_GUEST, '--boot-retries', '1', '--events', events, 'true'], {
      cwd: place.directory,
      env: place.env,
    })
    const stopped = new Set<number>()
    const stop = async () => {
      for (const pid of qemus()) {
        if (stopped.has(pid)) continue
        process.kill(pid, 'SIGSTOP')
        stopped.add(pid)
      }
      return stopped.size
    }
    const limits = () => ({ deadline: Deadline.after(120_000) })
    for (const boots of [1, 2]) {
      // Its init has said something: the guest is amid its boot.
      const amid = () => {
        const { length } = eventsOf('stops').filter(({ detail }) => detail?.startsWith('seed '))
        return length >= boots || undefined
      }
      await poll(() => (readdirSync(place.directory).includes('stops') ? amid() : undefined), 5, limits(), {
        what: 'init of the guest to speak',
      })
      expect(await stop()).toBe(boots)
    }
    const kept = () => {
      const [job] = place.files()
      return (
        job &&
        readdirSync(join(place.env.XDG_RUNTIME_DIR as string, 'leet', job)).find((file) =>
          /console\.hung1$/.test(file),
        )
      )
    }
    expect(kept()).toBe('g0.console.hung1')
    const { status, stderr } = await running.ended
    expect(status).toBe(1)
    expect(stderr).toMatch(/booted again \(1 of 1\)/)
    expect(stderr).toMatch(/-g0: hung in each of 2 boots: made no progress for .* in its set-up, after \w+;/)
    expect(stderr.match(/leet-init: step=/g)?.length).toBeGreaterThanOrEqual(2)
    expect(stderr).toMatch(/\[LEET_E_GUEST_HUNG\]\n.*--boot-patience.*--boot-retries/)
  })

  it('are told of when their hypervisor stops each time', async () => {
    const words = [...ONE_GUEST, '--boot-patience', '1s', '--boot-retries', '0', 'true']
    const { status, stderr } = await leetMpirun(words, throughScript(place, 'always', 'kill -STOP $$'))
    expect(status).toBe(1)
    expect(stderr).toMatch(/-g0: hangs while it boots: .*its hypervisor did not answer.*LEET_E_GUEST_HUNG/)
  })

  it.runIf(isOsvHere('OSv guests that do not come up'))('are replaced when they are OSv, too', async () => {
    const options = throughScript(
      place,
      'osv',
      `mkdir ${join(place.directory, 'second')} 2>/dev/null && kill -STOP $$`,
    )
    const words = ['--guest', 'osv', '--osv-base', osvBuild as string, '-n', '1', '/bin/true']
    const { status, stderr } = await leetMpirun(words, options)
    expect(status, stderr).toBe(0)
    expect(stderr).toMatch(
      /made no progress for \d+ s in the start of its hypervisor: booted again \(1 of 2\)$/m,
    )
  })
})
