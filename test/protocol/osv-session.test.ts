// Jobs in OSv guests that a session keeps, against simulated ones: their console comes from a file, one job at a time has a
// guest, what the guest has started is counted from job to job, and nothing of one job is there for the next.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  Deadline,
  identify,
  type ProcessIdentity,
  poll,
  type Scope,
  silentLog,
  waitFor,
} from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { followFile } from '../../launcher/node/follow-file.ts'
import { heldOsvGuests } from '../../launcher/node/held-osv-guests.ts'
import type { NodeGuest, NodeGuests } from '../../launcher/node/node-guests.ts'
import type { GuestPlan, JobPlan } from '../../launcher/plan/plan.ts'
import { OsvRest, openOsvChannel, type RankEvent } from '../../mpi-bridge/index.ts'
import { OsvGuest } from '../simulators/osv/guest.ts'
import { openScope } from '../support/scope.ts'

const never = new AbortController().signal
const limits = () => ({ deadline: Deadline.after(20_000) })
const here = identify(process.pid) as ProcessIdentity

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-osv-session-'))
})
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  rmSync(folder, { recursive: true, force: true })
})

describe('an OSv guest of a session', () => {
  let guest: OsvGuest
  let console: string
  let workDir: string
  let journal: Journal
  beforeEach(async () => {
    journal = await Journal.open({ jobId: 'osv-session', root: join(folder, 'root') })
    cleanups.push(() => journal.close())
    console = join(folder, 'g0.console')
    workDir = join(folder, 'case')
    mkdirSync(workDir)
    writeFileSync(join(workDir, 'input'), 'of the node\n')
    writeFileSync(console, '')
    guest = await OsvGuest.boot({ compat: true, onConsole: (data) => appendFileSync(console, data) })
    cleanups.push(() => guest.remove())
  })

  interface Job {
    readonly guests: NodeGuests
    readonly scope: Scope
  }
  const job = (ranks = 1, machine = here): Job => {
    const name = folder.split('/').at(-1) as string
    const one: GuestPlan = {
      index: 0,
      name,
      node: 0,
      cpus: 1,
      memory: 2 ** 28,
      ranks: Array.from({ length: ranks }, (_, rank) => rank),
    }
    const program = { argv: ['/bin/sh'], workDir, exports: [], inherits: true, mpi: 'none', ranks } as const
    const plan = { programs: [program], staging: { when: 'auto', add: [] } } as unknown as JobPlan
    const guests = heldOsvGuests({
      plan,
      guests: [one],
      held: { [name]: { port: guest.port, serviceAddress: '127.0.0.1', osv: { machine, console } } },
      access: { kind: 'osv' },
      image: {
        kernel: '',
        disk: '',
        compat: true,
        tls: false,
        mountTool: undefined,
        programs: {},
        links: [],
      },
      ...{ journal, log: silentLog },
    })
    const scope = openScope()
    cleanups.push(() => scope.end())
    return { guests, scope }
  }

  const enter = async ({ guests, scope }: Job) => {
    const [held] = (await guests.boot(scope, () => {}, limits())) as [NodeGuest]
    const events: RankEvent[] = []
    const channel = await held.openChannel(
      (event) => events.push(event),
      limits(),
      () => false,
    )
    const run = async (code: string) => {
      const { argv, workDir: cwd } = held.place?.(['/bin/sh', '-c', code], workDir) ?? { argv: [], workDir }
      await channel.start([
        { rank: 0, argv, env: { PATH: process.env.PATH ?? '' }, cwd, stdin: false, terminal: false },
      ])
    }
    const until = (kind: RankEvent['kind']) =>
      poll(() => events.find((event) => event.kind === kind), 10, limits(), { what: kind })
    const text = () =>
      events
        .flatMap((event) => (event.kind === 'output' ? [Buffer.from(event.data).toString()] : []))
        .join('')
    return { held, run, until, text, leave: () => scope.end() }
  }
  it('serves one job after the other, with nothing of one in the next', async () => {
    for (const round of [1, 2]) {
      const { held, run, until, text, leave } = await enter(job())
      await run('ls; cat input; echo made > result; mkdir -p deep; echo more > deep/er; exit 3')
      expect(await until('ended')).toMatchObject({ end: { kind: 'exit', status: 3 } })
      expect(text()).toBe(round === 1 ? 'input\nof the node\n' : 'deep\ninput\nresult\nof the node\n')
      await held.collect?.(limits())
      await held.merge?.(never)
      expect(readFileSync(join(workDir, 'result'), 'utf8')).toBe('made\n')
      await leave()
    }
    expect(guest.starts).toBe(2)
  })

  it('overwrites nothing that the node changed meanwhile', async () => {
    writeFileSync(join(workDir, 'other'), 'of the node\n')
    const { held, run, until } = await enter(job())
    await run('echo of the guest > input; echo of the guest > new; touch other')
    await until('ended')
    for (const name of ['input', 'new', 'other']) writeFileSync(join(workDir, name), 'changed\n')
    await held.collect?.(limits())
    await expect(held.merge?.(never)).rejects.toMatchObject({ code: 'LEET_E_RESULTS' })
    const guestName = folder.split('/').at(-1)
    const files = Object.fromEntries(
      readdirSync(workDir).map((name) => [name, readFileSync(join(workDir, name), 'utf8')]),
    )
    expect(files).toEqual({
      ...{ input: 'changed\n', new: 'changed\n', other: 'changed\n' },
      [`input.${guestName}`]: 'of the guest\n',
      [`new.${guestName}`]: 'of the guest\n',
    })
  })

  it('takes what was in its memory with it, which is said', async () => {
    const { held, run, until } = await enter(job())
    await run('echo made > result')
    await until('ended')
    guest.crash()
    await expect(held.collect?.(limits())).rejects.toMatchObject({
      code: 'LEET_E_STAGING',
      message: expect.stringContaining(`what its ranks wrote in ${workDir} cannot be brought back`),
    })
    await held.merge?.(never)
    expect(readdirSync(workDir)).toEqual(['input'])
  })

  it('is one job’s at a time', async () => {
    const { leave } = await enter(job())
    await expect(enter(job())).rejects.toMatchObject({ code: 'LEET_E_SESSION', message: /another job/ })
    await leave()
    await enter(job())
  })

  it('is refused while a program of a job that was killed runs in it', async () => {
    // Nobody of that job is left to close its channel, which would power the guest off.
    const began = Promise.withResolvers<number>()
    const scope = openScope()
    cleanups.push(() => scope.end())
    const channel = openOsvChannel({
      ...{ scope, log: silentLog, compat: true, nonce: 'earlier' },
      rest: new OsvRest({ guest: 'g0', host: '127.0.0.1', port: guest.port }),
      listener: (event) => event.kind === 'began' && began.resolve(event.pid),
    })
    const argv = ['/bin/sh', '-c', 'exec sleep 60']
    await channel.start([{ rank: 0, argv, env: {}, cwd: '/', stdin: false, terminal: false }])
    appendFileSync(`${console}.starts`, `start\nthread ${await began.promise}\n`)
    await expect(enter(job())).rejects.toMatchObject({ message: /an earlier job still runs/ })
  })

  it('is refused to a job with more ranks than it can still start', async () => {
    appendFileSync(`${console}.starts`, 'start\n'.repeat(30))
    const tooMany = job(2)
    await expect(enter(tooMany)).rejects.toMatchObject({ code: 'LEET_E_OSV_STARTS' })
    await tooMany.scope.end()
    const { run, until } = await enter(job(1))
    await run('true')
    await until('ended')
  })

  it('is lost with its hypervisor', async () => {
    const machine = { pid: process.pid, startTime: here.startTime + 1 }
    const { run, until } = await enter(job(1, machine))
    await run('exec sleep 60')
    expect(await until('lost')).toMatchObject({ error: { message: /its hypervisor has ended/ } })
  })
})

describe('a followed file', () => {
  it('is read from its end on, also when it is put aside', async () => {
    const path = join(folder, 'file')
    writeFileSync(path, 'before\n')
    let text = ''
    const all = Promise.withResolvers<void>()
    const file = followFile(path, (data) => {
      text += Buffer.from(data).toString()
      if (text.includes('last')) all.resolve()
    })
    cleanups.push(() => file.close())
    appendFileSync(path, 'one\n')
    appendFileSync(path, 'two\n')
    renameSync(path, `${path}.old`)
    writeFileSync(path, 'three\n')
    appendFileSync(path, 'last\n')
    await waitFor(all.promise, limits(), { what: 'all lines' })
    expect(text).toBe('one\ntwo\nthree\nlast\n')
    expect(existsSync(`${path}.old`)).toBe(true)
  })
})
