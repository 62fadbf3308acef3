// The channel into OSv guests against simulated ones, whose programs are processes of this machine: real MPI ranks wire
// up through it, and every way to end is told truthfully.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, type Log, poll, silentLog, waitFor } from '../../common/index.ts'
import type { RankEvent, RankStart } from '../../mpi-bridge/channels/channel.ts'
import type { JobLayout, RankReport } from '../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../mpi-bridge/local-exchange.ts'
import { MAX_STARTS, type OsvChannel, openOsvChannel } from '../../mpi-bridge/osv/channel.ts'
import { osvSettings } from '../../mpi-bridge/osv/environment.ts'
import { OsvRest } from '../../mpi-bridge/osv/rest.ts'
import { openProcessManager } from '../../mpi-bridge/process-manager.ts'
import { OsvGuest, type SimulatedGuest } from '../simulators/osv/guest.ts'
import { describeWith } from '../support/needs.ts'
import { openScope } from '../support/scope.ts'
import { buildPrograms, type Programs } from './programs/build.ts'

const NONCE = 'n0nce'
const limits = () => ({ deadline: Deadline.after(20_000) })

interface Opened {
  readonly guest: OsvGuest
  readonly channel: OsvChannel
  readonly events: RankEvent[]
  /** Waits for an event that `test` likes. */
  until(test: (event: RankEvent) => boolean): Promise<RankEvent>
  text(): string
}

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function open(
  options: SimulatedGuest & {
    log?: Log
    requestTimeout?: number
    startsBefore?: number
    askToEnd?: () => boolean
  } = {},
): Promise<Opened> {
  const events: RankEvent[] = []
  const waiting = new Set<() => void>()
  const { compat = true, log = silentLog, requestTimeout, startsBefore, askToEnd } = options
  let channel: OsvChannel | undefined
  const guest = await OsvGuest.boot({
    ...options,
    compat,
    onConsole: (data) => channel?.consoleData(data),
    onEnd: () => channel?.guestEnded('QEMU has ended'),
  })
  const rest = new OsvRest({ guest: 'g0', host: '127.0.0.1', port: guest.port })
  const scope = openScope()
  const opened = openOsvChannel({
    scope,
    rest,
    listener: (event) => {
      events.push(event)
      for (const wake of waiting) wake()
    },
    log,
    compat,
    nonce: NONCE,
    ...(requestTimeout === undefined ? {} : { requestTimeout }),
    ...(startsBefore === undefined ? {} : { startsBefore }),
    ...(askToEnd ? { askToEnd } : {}),
  })
  channel = opened
  cleanups.push(() => scope.end().then(() => guest.remove()))
  return {
    guest,
    channel: opened,
    events,
    until: (test) => {
      const found = Promise.withResolvers<RankEvent>()
      const look = () => {
        const event = events.find(test)
        if (event) found.resolve(event)
      }
      waiting.add(look)
      look()
      return waitFor(found.promise, limits(), { what: 'an event of the channel' })
    },
    text: () =>
      events
        .flatMap((event) => (event.kind === 'output' ? [Buffer.from(event.data).toString()] : []))
        .join(''),
  }
}

const ended = (rank: number) => (event: RankEvent) => event.kind === 'ended' && event.rank === rank
const script = (rank: number, code: string, env: Record<string, string> = {}): RankStart => ({
  rank,
  argv: ['/bin/sh', '-c', code],
  env: { PATH: process.env.PATH ?? '', ...env },
  cwd: '/',
  stdin: false,
  terminal: false,
})

describe('the channel into an OSv guest', () => {
  it('tells began, output and end of each rank, in this order', async () => {
    const { channel, events, until, text } = await open()
    await channel.start([script(4, 'echo hello; printf "no newline"; exit 3'), script(5, 'true')])
    expect(await until(ended(4))).toMatchObject({ end: { kind: 'exit', status: 3 } })
    expect(await until(ended(5))).toMatchObject({ end: { kind: 'exit', status: 0 } })
    expect(text()).toBe('hello\nno newline')
    const kinds = events.filter((event) => 'rank' in event && event.rank === 4).map(({ kind }) => kind)
    expect(kinds).toEqual(['began', 'output', 'output', 'ended'])
  })

  it.each([true, false])('gives each rank its own environment and no other’s (compat %s)', async (compat) => {
    const { channel, guest, until, text } = await open({ compat })
    const show = 'env | grep -E "^(ONE|TWO|BOTH|EMPTY|ODD)=" | sort | tr "\\n" " "; echo'
    await channel.start([script(0, show, { ONE: '1', BOTH: 'a', EMPTY: '', ODD: 'ä%0A $x\t"' })])
    await until(ended(0))
    await channel.start([script(1, show, { TWO: '2', BOTH: 'b' })])
    await until(ended(1))
    expect(text()).toBe(`BOTH=a ${compat ? 'EMPTY= ' : ''}ODD=ä%0A $x\t" ONE=1 \nBOTH=b TWO=2 \n`)
    expect(guest.environment.get('OSV_CPUS')).toBe('1')
  })

  it.each([true, false])(
    'passes on what a program writes, whatever it looks like (compat %s)',
    async (compat) => {
      const { channel, until, text } = await open({ compat })
      const lines = [
        'Aborted',
        '',
        '[backtrace]',
        '0x000000004039c95e <__libc_start_main+46>',
        'Uncaught signal 11 ("Segmentation fault"). Powering off.',
        'Powering off.',
        'program exited with status 3',
        'program /other returned 3',
        'VFS: mounting ramfs at /tmp',
        'could not load libfoo.so',
        'Rest API server running on port 8000',
        "cloud-init failed when handling 'users'': Handler not found",
        'leet-exit other rank=0 status=0',
        'the end',
      ]
      const word = lines.map((line) => `${line}\n`).join('')
      await channel.start([script(0, 'printf %s "$LINES_TO_WRITE"; exit 4', { LINES_TO_WRITE: word })])
      expect(await until(ended(0))).toMatchObject({ end: { kind: 'exit', status: 4 } })
      expect(text()).toBe(word)
    },
  )

  it('does not keep lines that look like the last of a guest for long', async () => {
    const { channel, until, text } = await open()
    await channel.start([script(0, 'echo Aborted; echo goes on; exec sleep 60')])
    await until(({ kind }) => kind === 'output')
    await until(() => text() === 'Aborted\ngoes on\n')
  })

  it('leaves out, and says so, what crashes Open MPI in OSv', async () => {
    const warnings: string[] = []
    const { channel, until, text } = await open({
      log: { ...silentLog, warn: (line) => warnings.push(line) },
    })
    const env = { OMPI_MCA_opal_event_include: 'poll', OMPI_MCA_btl: 'tcp,self' }
    await channel.start([script(0, 'env | grep OMPI', env)])
    await until(ended(0))
    expect(text()).toBe('OMPI_MCA_btl=tcp,self\n')
    expect(warnings).toHaveLength(1)
  })

  it('needs few requests with the compatibility library', async () => {
    const { channel, guest, until } = await open()
    const env = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`V${i}`, 'x']))
    const before = guest.requests
    await channel.start([{ ...script(0, 'true', env), argv: ['/bin/true'] }])
    await until(ended(0))
    expect(guest.requests - before).toBeLessThanOrEqual(3)
  })

  it('starts ranks in their working directory, with their arguments', async () => {
    const { channel, until, text } = await open()
    await channel.start([
      { ...script(0, ''), argv: ['/bin/echo', 'a b', '$HOME', 'ä', '"', '', 'x;y&z!'], cwd: '/usr' },
    ])
    await until(ended(0))
    await channel.start([{ ...script(1, ''), argv: ['/bin/pwd'], cwd: '/usr/lib' }])
    await until(ended(1))
    expect(text()).toBe('a b $HOME ä "  x;y&z!\n/usr/lib\n')
  })

  it('gives a rank its standard input, with its end, and another none', async () => {
    const { channel, until, text } = await open()
    await channel.start([{ ...script(0, 'cat; echo end'), stdin: true }])
    for (const word of ['one\n', 'two ä\n', '']) await channel.write(0, Buffer.from(word))
    channel.endInput(0)
    await until(ended(0))
    await channel.start([script(1, 'cat; echo none')])
    await channel.write(1, Buffer.from('nobody reads it\n'))
    await until(ended(1))
    expect(text()).toBe('one\ntwo ä\nend\nnone\n')
  })

  it('tells a program that is not there', async () => {
    const { channel, until, guest } = await open()
    await channel.start([{ ...script(0, ''), argv: ['/nope'] }, script(1, 'true')])
    const event = await until(({ kind }) => kind === 'failed')
    expect(event).toMatchObject({
      kind: 'failed',
      rank: 0,
      error: { code: 'LEET_E_OSV_START', exitCode: 127 },
    })
    expect((event as { error: Error }).error.message).toContain('Failed to load object: /nope')
    await until(ended(1))
    expect(guest.starts).toBe(2)
  })

  it('refuses the start that would abort the guest', async () => {
    const { channel, until, guest } = await open({ startsBefore: MAX_STARTS - 1 })
    await channel.start([script(0, 'true'), script(1, 'true')])
    await until(ended(0))
    const event = await until(({ kind }) => kind === 'failed')
    expect(event).toMatchObject({ rank: 1, error: { code: 'LEET_E_OSV_STARTS' } })
    expect(guest.starts).toBe(1)
    expect(channel.starts).toBe(MAX_STARTS)
  })

  it('reads from the kernel log what returned without the library’s line', async () => {
    const warnings: string[] = []
    const { channel, until } = await open({
      compat: false,
      log: { ...silentLog, warn: (line) => warnings.push(line) },
    })
    await channel.start([script(0, 'exit 3')])
    expect(await until(ended(0))).toMatchObject({ end: { kind: 'exit', status: 3 } })
    await channel.start([script(1, 'true')])
    expect(await until(ended(1))).toMatchObject({ end: { kind: 'exit', status: 0 } })
    expect(warnings).toEqual([])
  })

  it('names the candidates where OSv does not tell which', async () => {
    const warnings: string[] = []
    const { channel, until } = await open({
      compat: false,
      log: { ...silentLog, warn: (line) => warnings.push(line) },
    })
    const folder = mkdtempSync(join(tmpdir(), 'leet-osv-'))
    cleanups.push(async () => rmSync(folder, { recursive: true }))
    const wait = `until [ -e ${folder}/go ]; do sleep 0.01; done`
    await channel.start([script(0, wait), script(1, `${wait}; exit 9`)])
    writeFileSync(join(folder, 'go'), '')
    await Promise.all([until(ended(0)), until(ended(1))])
    // Whether one look saw both ends decides what can be known.
    if (warnings.length > 0)
      expect(warnings).toEqual(['g0: of ranks 0, 1, 1 returned 9: OSv does not tell which'])
  })

  it('tells the crash of the only rank as its signal', async () => {
    const { channel, until, events } = await open()
    await channel.start([script(0, 'kill -SEGV $$')])
    expect(await until(ended(0))).toMatchObject({ end: { kind: 'signal', signal: 11 } })
    expect(events.some(({ kind }) => kind === 'lost')).toBe(false)
  })

  it('tells an abort of the only rank as its signal, with the backtrace', async () => {
    const warnings: string[] = []
    const log = { ...silentLog, warn: (text: string) => void warnings.push(text) }
    const { channel, until, guest } = await open({ log })
    await channel.start([script(0, 'exec sleep 60')])
    guest.crash()
    expect(await until(ended(0))).toMatchObject({ end: { kind: 'signal', signal: 6 } })
    expect(warnings.join()).toContain('[backtrace]\n  0x000000004039c95e <__libc_start_main+46>')
  })

  it('does not take a crash of the kernel for an abort', async () => {
    const { channel, until, guest } = await open()
    await channel.start([script(0, 'exec sleep 60')])
    guest.crash(['Assertion failed: eo (libc/x.cc: f: 47)', '', '[backtrace]'])
    await until(({ kind }) => kind === 'lost')
  })

  it('names the ranks and the backtrace when a guest crashes', async () => {
    const { channel, until, guest } = await open()
    await channel.start([script(0, 'exec sleep 60'), script(1, 'exec sleep 60')])
    guest.crash()
    const event = await until(({ kind }) => kind === 'lost')
    const { message } = (event as { error: Error }).error
    expect(message).toContain(
      'the guest of ranks 0, 1 is lost, and OSv does not tell which of them was the cause',
    )
    expect(message).toContain('[backtrace]\n  0x000000004039c95e <__libc_start_main+46>')
  })

  it('says why a guest crashed while it started a program', async () => {
    const { channel, until } = await open({
      mischief: ({ method, path }) => (method === 'PUT' && path.startsWith('/app') ? 'crash' : undefined),
    })
    await channel.start([script(0, 'true')])
    const event = await until(({ kind }) => kind === 'lost' || kind === 'failed')
    expect((event as { error: Error }).error.message).toContain('[backtrace]')
  })

  it('notices a guest that no longer answers', async () => {
    let deaf = false
    const { channel, until } = await open({
      compat: false,
      requestTimeout: 50,
      mischief: () => (deaf ? 'hang' : undefined),
    })
    await channel.start([script(0, 'exec sleep 60')])
    deaf = true
    const event = await until(({ kind }) => kind === 'lost')
    expect((event as { error: Error }).error.message).toContain(
      'the guest of rank 0 is lost: it no longer answers',
    )
  })

  it.each(['close', 'nonsense'] as const)('bears answers that %s', async (mischief) => {
    const { channel, until } = await open({
      mischief: ({ path }) => (path === '/env/' ? mischief : undefined),
    })
    await channel.start([script(0, 'true')])
    expect(await until(({ kind }) => kind === 'failed')).toMatchObject({ rank: 0 })
  })

  it('holds output back, and the end behind it', async () => {
    const { channel, guest, until, events } = await open()
    channel.pause()
    await channel.start([script(0, 'echo one; echo two')])
    const [began] = events
    const rest = new OsvRest({ guest: 'g0', host: '127.0.0.1', port: guest.port })
    const thread = began?.kind === 'began' ? began.pid : 0
    await poll(async () => (await rest.finished(thread, limits())) || undefined, 10, limits(), {
      what: 'the program to end',
    })
    expect(events.map(({ kind }) => kind)).toEqual(['began'])
    channel.resume()
    await until(ended(0))
    expect(events.map(({ kind }) => kind)).toEqual(['began', 'output', 'output', 'ended'])
  })

  it('does not take the end of another thread of a rank for its own', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-osv-'))
    cleanups.push(async () => rmSync(folder, { recursive: true }))
    const { channel, until, text } = await open({ askToEnd: () => true })
    const wait = `until [ -e ${folder}/go ]; do sleep 0.01; done`
    const line = `leet-exit ${NONCE} rank=0 status=9`
    await channel.start([script(0, `${wait}; echo '${line}'; echo goes on; exec sleep 60`)])
    channel.signal('all', 'SIGTERM')
    writeFileSync(join(folder, 'go'), '')
    await until(() => text() === 'goes on\n')
    channel.signal('all', 'SIGKILL')
    expect(await until(ended(0))).toMatchObject({ end: { kind: 'signal', signal: 9 } })
  })

  it('powers the guest off when it is closed while ranks run', async () => {
    const { channel, events, guest } = await open()
    await channel.start([script(0, 'exec sleep 60')])
    await channel.close(limits())
    expect(events.at(-1)).toMatchObject({ kind: 'ended', rank: 0, end: { kind: 'signal', signal: 9 } })
    await guest.remove()
  })
})

describe('real MPI ranks in simulated OSv guests', () => {
  const build = (compiler: string) => {
    let programs: Programs
    beforeAll(async () => {
      programs = await buildPrograms(compiler, ['hello', 'work', 'end'])
    })
    afterAll(() => programs.remove())
    return (name: 'hello' | 'work' | 'end') => programs.path(name)
  }

  const runJob = async (
    program: string,
    args: readonly string[],
    guests: readonly (readonly number[])[],
    env: Record<string, string>,
  ) => {
    const reports: RankReport[] = []
    const scope = openScope()
    const manager = openProcessManager({
      scope,
      exchange: createLocalExchange((report) => reports.push(report)),
      log: silentLog,
    })
    cleanups.push(() => scope.end())
    const size = guests.flat().length
    const layout: JobLayout = {
      id: `leet-${randomBytes(8).toString('hex')}`,
      size,
      guests: guests.map((ranks, guest) => ({ guest, name: `g${guest}`, agent: 0, ranks })),
      appnums: Array.from({ length: size }, () => 0),
    }
    manager.addJob(layout)
    return Promise.all(
      guests.map(async (ranks, guest) => {
        const opened = await open({ programs: { '/program': program } })
        const address = await manager.listen(guest, '127.0.0.1')
        const starts = ranks.map(
          (rank): RankStart => ({
            rank,
            argv: ['/program', ...args],
            env: { PATH: process.env.PATH ?? '', ...env, ...manager.environment(layout.id, rank, address) },
            cwd: '/',
            stdin: false,
            terminal: false,
          }),
        )
        await opened.channel.start(starts)
        await Promise.all(ranks.map((rank) => opened.until(ended(rank))))
        const ends = opened.events.flatMap((event) =>
          event.kind === 'ended' ? [[event.rank, event.end]] : [],
        )
        return { ends: Object.fromEntries(ends), text: opened.text(), reports }
      }),
    )
  }

  const ok = { kind: 'exit', status: 0 }

  describeWith(['mpicc.openmpi'], 'Open MPI', () => {
    const path = build('mpicc.openmpi')
    // On this machine the ranks are processes of one host: told that their guests differ, they use TCP all the same.
    const env = {
      ...Object.fromEntries(
        osvSettings({ mpi: 'openmpi', address: '127.0.0.1', cidr: '127.0.0.0/8' }).map(({ name, value }) => [
          name,
          value,
        ]),
      ),
      OMPI_MCA_pml: 'ob1',
      OMPI_MCA_btl: 'tcp,self',
    }

    it('runs two ranks in each of two guests', async () => {
      const [first, second] = await runJob(
        path('work'),
        [],
        [
          [0, 1],
          [2, 3],
        ],
        env,
      )
      expect(first?.ends).toEqual({ 0: ok, 1: ok })
      expect(second?.ends).toEqual({ 2: ok, 3: ok })
      expect(`${first?.text}${second?.text}`).toBe('work ok\n'.repeat(4))
    })

    it('tells the status of the rank that had it', async () => {
      const [only] = await runJob(path('end'), ['exit', '1', '3'], [[0, 1]], env)
      expect(only?.ends).toEqual({ 0: ok, 1: { kind: 'exit', status: 3 } })
    })
  })

  describeWith(['mpicc.mpich'], 'MPICH', () => {
    const path = build('mpicc.mpich')
    it('runs two ranks in one guest', async () => {
      const [only] = await runJob(path('hello'), [], [[0, 1]], { HWLOC_COMPONENTS: '-gl,-opencl' })
      expect(only?.ends).toEqual({ 0: ok, 1: ok })
    })
  })
})

describe('a thousand simulated guests', () => {
  it('start four ranks each', async () => {
    // No process is started: it is leet that is under test.
    const env = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`VARIABLE_${i}`, `value ${i}`]))
    const scope = openScope()
    cleanups.push(() => scope.end())
    let begun = 0
    let over = 0
    const all = await Promise.all(
      Array.from({ length: 1000 }, async (_, index) => {
        const done = Promise.withResolvers<void>()
        let left = 4
        let channel: OsvChannel | undefined
        const guest = await OsvGuest.boot({
          compat: true,
          pretend: true,
          onConsole: (data) => channel?.consoleData(data),
        })
        channel = openOsvChannel({
          scope,
          rest: new OsvRest({ guest: `g${index}`, host: '127.0.0.1', port: guest.port }),
          listener: ({ kind }) => {
            if (kind === 'began') begun++
            if (kind === 'ended') over++
            if (kind === 'failed' || (kind === 'ended' && --left === 0)) done.resolve()
          },
          log: silentLog,
          compat: true,
          nonce: NONCE,
        })
        return { channel, guest, done: done.promise }
      }),
    )
    await Promise.all(
      all.map(async ({ channel, done }, index) => {
        const ranks = [0, 1, 2, 3].map(
          (i): RankStart => ({ ...script(index * 4 + i, ''), argv: ['/bin/true'], env }),
        )
        await channel.start(ranks)
        await done
      }),
    )
    expect([begun, over]).toEqual([4000, 4000])
    await Promise.all(all.map(({ channel, guest }) => channel.close(limits()).then(() => guest.remove())))
  })
})
