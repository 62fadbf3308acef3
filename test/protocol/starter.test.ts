// The real leet-starter with real programs: what is promised of ranks, streams, ends, and of nothing being left.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Deadline,
  environmentOf,
  identify,
  isRunning,
  type ProcessIdentity,
  poll,
} from '../../common/index.ts'
import type { ControlChannel, RankEnd, RankEvent, RankStart } from '../../mpi-bridge/channels/channel.ts'
import { openLocalChannel } from '../../mpi-bridge/channels/local.ts'
import { starterPath } from '../../mpi-bridge/starter/path.ts'
import { isMet, isRoot } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'

const limits = () => ({ deadline: Deadline.after(20_000) })
const PATH = process.env.PATH as string
const children = new Set<ChildProcessWithoutNullStreams>()
let folder: string

beforeAll(async () => {
  await starterPath(limits()) // built here when it is not
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'leet-starter-')))
})
afterAll(async () => {
  // The end of its input is what has a starter clean up after a test that failed; a kill would leave its descendants.
  for (const child of children) child.stdin.destroy()
  for (const child of children) {
    await poll(
      () => (child.exitCode ?? child.signalCode ?? undefined) !== undefined || undefined,
      10,
      limits(),
      {
        what: 'a starter to end',
      },
    )
  }
  rmSync(folder, { recursive: true, force: true })
})

const scope = scopePerTest()

/** A starter of this test and what its ranks did. */
interface Watched {
  readonly channel: ControlChannel
  readonly child: ChildProcessWithoutNullStreams
  readonly events: RankEvent[]
  /** Waits until something is true of the events. */
  until(what: string, test: (events: readonly RankEvent[]) => boolean): Promise<void>
  /** Waits for the end of ranks 0 to `count - 1`. */
  ends(count: number): Promise<RankEnd[]>
  pid(rank: number): number
  output(rank: number, stream?: 'stdout' | 'stderr'): Buffer
}

async function watch(): Promise<Watched> {
  const events: RankEvent[] = []
  let child: ChildProcessWithoutNullStreams | undefined
  const channel = await openLocalChannel(
    {
      where: 'here',
      scope: scope(),
      listener: (event) => events.push(event),
      spawn: ([command, ...args]) => {
        child = spawn(command, args, { stdio: 'pipe' })
        children.add(child)
        return child
      },
    },
    limits(),
  )
  const until: Watched['until'] = async (what, test) => {
    await poll(() => test(events) || undefined, 5, limits(), { what })
  }
  return {
    channel,
    child: child as ChildProcessWithoutNullStreams,
    events,
    until,
    async ends(count) {
      await until(`the end of ${count} ranks`, () => {
        const over = events.filter(({ kind }) => kind === 'ended' || kind === 'failed' || kind === 'lost')
        return over.length >= count
      })
      return Array.from({ length: count }, (_, rank) => {
        const ended = events.find((event) => event.kind === 'ended' && event.rank === rank)
        if (ended?.kind !== 'ended') throw new Error(`rank ${rank} did not end`)
        return ended.end
      })
    },
    pid(rank) {
      const began = events.find((event) => event.kind === 'began' && event.rank === rank)
      if (began?.kind !== 'began') throw new Error(`rank ${rank} has not begun`)
      return began.pid
    },
    output: (rank, stream = 'stdout') =>
      Buffer.concat(
        events
          .filter((event) => event.kind === 'output')
          .filter((event) => event.rank === rank && event.stream === stream)
          .map((event) => event.data),
      ),
  }
}

function rankOf(rank: number, argv: readonly string[], change: Partial<RankStart> = {}): RankStart {
  return { rank, argv, env: { PATH }, cwd: folder, stdin: false, terminal: false, ...change }
}
const shell = (rank: number, script: string, change: Partial<RankStart> = {}) =>
  rankOf(rank, ['/bin/sh', '-c', script], change)
const exit = (status: number) => ({ kind: 'exit', status }) as const

/** Runs ranks to their ends and closes the channel. */
async function run(...ranks: readonly RankStart[]): Promise<Watched & { readonly ended: RankEnd[] }> {
  const watched = await watch()
  await watched.channel.start(ranks)
  const ended = await watched.ends(ranks.length)
  await watched.channel.close(limits())
  return { ...watched, ended }
}

describe('a command beside the ranks', () => {
  it('tells how it ended and what it wrote, to its caller alone, while ranks of any number run', async () => {
    const watched = await watch()
    await watched.channel.start([shell(0, 'echo rank; exec sleep 60'), shell(100_000, 'echo rank')])
    const command = (script: string) => watched.channel.run?.(['/bin/sh', '-c', script], limits())
    const results = await Promise.all([
      command('pwd; echo no >&2; exit 3'),
      command('kill -9 $$'),
      command('head -c 5000 /dev/zero | tr "\\0" x; echo last'),
    ])
    expect(results).toEqual([
      { end: exit(3), output: expect.stringMatching(/^(\/\nno\n|no\n\/\n)$/) },
      { end: { kind: 'signal', signal: 9, core: false }, output: '' },
      { end: exit(0), output: `${'x'.repeat(1995)}last\n` },
    ])
    await expect(watched.channel.run?.(['/no/such/program'], limits())).rejects.toMatchObject({
      code: 'LEET_E_RANK_START',
    })
    watched.channel.signal(0, 'SIGKILL')
    await watched.until('both ends', (events) => events.filter(({ kind }) => kind === 'ended').length === 2)
    expect(new Set(watched.events.map((event) => 'rank' in event && event.rank))).toEqual(
      new Set([0, 100_000]),
    )
    await watched.channel.close(limits())
  })

  it('is killed at its deadline, and fails with the channel', async () => {
    const watched = await watch()
    const late = watched.channel.run?.(['/bin/sleep', '60'], { deadline: Deadline.after(1) })
    await expect(late).rejects.toMatchObject({ code: 'LEET_E_DEADLINE' })
    const cut = expect(watched.channel.run?.(['/bin/sleep', '60'], limits())).rejects
    watched.child.kill('SIGKILL')
    await cut.toMatchObject({ code: 'LEET_E_STARTER_LOST' })
  })
})

/** Identity of a process that certainly runs now. */
function identified(pid: number): ProcessIdentity {
  const identity = identify(pid)
  if (!identity) throw new Error(`process ${pid} does not run`)
  return identity
}

const gone = (processes: readonly ProcessIdentity[]) =>
  poll(() => !processes.some(isRunning) || undefined, 10, limits(), { what: 'processes to be gone' })

describe('ranks', () => {
  it.each([1, 2, 128])('%i of them run and end, each once', async (count) => {
    const { events, ended, output } = await run(
      ...Array.from({ length: count }, (_, rank) =>
        shell(rank, `echo out $RANK; echo err $RANK >&2; exit $((RANK % 7))`, {
          env: { PATH, RANK: String(rank) },
        }),
      ),
    )
    for (let rank = 0; rank < count; rank++) {
      expect(ended[rank]).toEqual(exit(rank % 7))
      expect(output(rank).toString()).toBe(`out ${rank}\n`)
      expect(output(rank, 'stderr').toString()).toBe(`err ${rank}\n`)
    }
    expect(events.filter(({ kind }) => kind === 'began')).toHaveLength(count)
    expect(events.filter(({ kind }) => kind === 'ended')).toHaveLength(count)
    expect(events.some(({ kind }) => kind === 'lost')).toBe(false)
  })

  it('have their arguments, environment and directory, and nothing else', async () => {
    const env = { PATH, EMPTY: '', 'odd name': 'ü\n=' }
    const { output } = await run(
      rankOf(0, ['/usr/bin/env', '-0'], { env }),
      rankOf(1, ['printf', '%s|', 'a b', '', '"$HOME"', 'ü']),
      shell(2, 'pwd'),
    )
    expect(output(0).toString().split('\0').filter(Boolean).sort()).toEqual(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .sort(),
    )
    expect(output(1).toString()).toBe('a b||"$HOME"|ü|')
    expect(output(2).toString()).toBe(`${folder}\n`)
  })

  it('are found in the PATH of their own environment, past what may not be run', async () => {
    const [refused, right] = [join(folder, 'refused'), join(folder, 'right')]
    for (const [place, mode] of [
      [refused, 0o644],
      [right, 0o755],
    ] as const) {
      mkdirSync(place)
      writeFileSync(join(place, 'program'), '#!/bin/sh\necho found\n')
      chmodSync(join(place, 'program'), mode)
    }
    const { output } = await run(rankOf(0, ['program'], { env: { PATH: `${refused}:${right}` } }))
    expect(output(0).toString()).toBe('found\n')
  })

  it('have default signals, their own process group and session, no other descriptors and the limit of files of their parent', async () => {
    const files = readFileSync('/proc/self/limits', 'utf8').match(/Max open files +(\d+)/)?.[1]
    const { output, pid, child } = await run(
      shell(0, 'cat /proc/self/status'),
      shell(1, 'exec ls /proc/self/fd'),
      shell(2, 'cut -d" " -f5,6 /proc/$$/stat; ulimit -n'),
      shell(3, 'cut -d" " -f5,6 /proc/$$/stat', { terminal: true }),
    )
    const status = output(0).toString()
    for (const field of ['SigBlk', 'SigIgn']) expect(status).toMatch(new RegExp(`${field}:\\s+0+\n`))
    // 3 is the directory that ls reads.
    expect(output(1).toString().split('\n').filter(Boolean)).toEqual(['0', '1', '2', '3'])
    expect(output(2).toString()).toBe(`${pid(2)} ${pid(2)}\n${files}\n`)
    const [group, session] = output(3).toString().trim().split(' ').map(Number)
    expect(group).toBe(pid(3))
    expect(session).not.toBe(pid(3))
    expect(child.pid).not.toBe(pid(2))
  })

  it('are bound to the CPUs that they are given', async () => {
    const allowed = readFileSync('/proc/self/status', 'utf8').match(
      /Cpus_allowed_list:\s+(\d+)/,
    )?.[1] as string
    const { output } = await run(
      shell(0, 'grep Cpus_allowed_list /proc/self/status', { cpus: [Number(allowed)] }),
    )
    expect(output(0).toString()).toMatch(new RegExp(`:\\s+${allowed}\n`))
  })

  it('sleep as exactly as their parent, or a millisecond longer where processors are shared', async () => {
    const slack = '/proc/self/timerslack_ns'
    const { output } = await run(rankOf(0, ['cat', slack]), rankOf(1, ['cat', slack], { coarseTimers: true }))
    expect(output(0).toString()).toBe(readFileSync(slack, 'utf8'))
    expect(output(1).toString()).toBe('1000000\n')
  })

  const asRoot = isMet('ranks become the user that they are given', 'root', isRoot()) ? it : it.skip
  asRoot('become the user that they are given, and can open their own streams', async () => {
    chmodSync(folder, 0o755)
    const user = { uid: 12345, gid: 12346, groups: [12347] }
    const script = 'id -u; id -g; id -G; echo out >/dev/stdout; echo err >/dev/stderr'
    const { output } = await run(shell(0, script, { user }), shell(1, script, { user, terminal: true }))
    for (const rank of [0, 1]) {
      expect(output(rank).toString()).toBe('12345\n12346\n12346 12347\nout\n')
      expect(output(rank, 'stderr').toString()).toBe('err\n')
    }
  })
})

describe('ranks that end badly', () => {
  it.each([
    ['SEGV', 11],
    ['KILL', 9],
    ['TERM', 15],
    ['ABRT', 6],
  ])('by signal %s', async (name, signal) => {
    const { ended } = await run(shell(0, `kill -${name} $$`))
    expect(ended[0]).toMatchObject({ kind: 'signal', signal })
  })

  it('or cannot be started: each says why, the others run', async () => {
    const [script, plain] = [join(folder, 'script'), join(folder, 'plain')]
    writeFileSync(script, '#!/no/such/interpreter\n')
    chmodSync(script, 0o755)
    writeFileSync(plain, 'echo\n')
    const watched = await watch()
    await watched.channel.start([
      rankOf(0, ['no-such-program-anywhere']),
      rankOf(1, ['/no/such/program']),
      rankOf(2, [script]),
      rankOf(3, [plain]),
      shell(4, 'true', { cwd: '/no/such/place' }),
      shell(5, 'echo well'),
    ])
    await watched.until('six ends', (events) => {
      return events.filter(({ kind }) => kind === 'failed' || kind === 'ended').length === 6
    })
    await watched.channel.close(limits())
    const errors = [0, 1, 2, 3, 4].map((rank) => {
      const failed = watched.events.find((event) => event.kind === 'failed' && event.rank === rank)
      return failed?.kind === 'failed' ? [failed.error.message, failed.error.exitCode] : undefined
    })
    const start = (rank: number) => `here: rank ${rank} cannot be started:`
    expect(errors).toEqual([
      [`${start(0)} no-such-program-anywhere is not on its PATH: no such file or directory`, 127],
      [`${start(1)} /no/such/program cannot be run: no such file or directory`, 127],
      [
        `${start(2)} ${script} is there, but not the loader or the interpreter that it names: no such file or directory`,
        127,
      ],
      [`${start(3)} ${plain} cannot be run: permission denied`, 126],
      [`${start(4)} it cannot enter /no/such/place: no such file or directory`, 1],
    ])
    expect(watched.output(5).toString()).toBe('well\n')
  })
})

describe('output', () => {
  const SIZE = 5_000_000
  const sums = (data: Buffer) => createHash('sha256').update(data).digest('hex')
  const noise = `head -c ${SIZE} /dev/urandom | tee noise.$RANK`

  it.each([false, true])(
    'megabytes of it arrive intact and before the end (terminal: %s)',
    async (terminal) => {
      const ranks = [0, 1, 2].map((rank) =>
        shell(rank, noise, { terminal, env: { PATH, RANK: String(rank) } }),
      )
      const { output, events } = await run(...ranks)
      for (const rank of [0, 1, 2]) {
        expect(output(rank)).toHaveLength(SIZE)
        expect(sums(output(rank))).toBe(sums(readFileSync(join(folder, `noise.${rank}`))))
        const own = events.filter((event) => 'rank' in event && event.rank === rank)
        expect(own.at(-1)?.kind).toBe('ended')
      }
    },
  )

  it('to a terminal is buffered by line and kept when the rank dies, input and errors stay pipes', async () => {
    const script = 'test -t 1 && printf "terminal\\n"; test -t 2 || printf "not 2\\n"; kill -SEGV $$'
    const { output } = await run(shell(0, script, { terminal: true }), shell(1, 'test -t 1 || echo pipe'))
    expect(output(0).toString()).toBe('terminal\nnot 2\n')
    expect(output(1).toString()).toBe('pipe\n')
  })

  it('is left in the pipes while the channel is held, and comes after', async () => {
    const COUNT = 500
    const script = `echo begin; read go; i=0
      while [ $i -lt ${COUNT} ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i >>progress; done`
    const watched = await watch()
    await watched.channel.start([shell(0, script, { stdin: true })])
    await watched.until('the beginning', () => watched.output(0).length > 0)
    watched.channel.pause()
    await watched.channel.write(0, Buffer.from('go\n'))
    const progress = () => {
      const file = join(folder, 'progress')
      return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0
    }
    // The rank goes on until everything between it and us is full; without a limit it would reach its end.
    let last = 0
    const stands = () => {
      const now = progress()
      const same = now > 0 && now === last
      last = now
      return same || undefined
    }
    await poll(stands, 200, limits(), { what: 'the rank to be held' })
    expect(last).toBeLessThan(50)
    watched.channel.resume()
    expect(await watched.ends(1)).toEqual([exit(0)])
    expect(watched.output(0)).toHaveLength(COUNT * 65536 + 'begin\n'.length)
    await watched.channel.close(limits())
  })

  it('that another process holds open does not hold up the end of its rank', async () => {
    const watched = await watch()
    await watched.channel.start([shell(0, 'echo rank; (sleep 600; echo never) & exit 4')])
    expect(await watched.ends(1)).toEqual([exit(4)])
    expect(watched.output(0).toString()).toBe('rank\n')
    await watched.channel.close(limits())
  })

  it('of a process that outlives its rank by little comes before the end', async () => {
    // It waits for the last that holds the other end open, and that is the rank.
    const script = `mkfifo ${folder}/end; (cat ${folder}/end; echo late) & exec 3>${folder}/end; echo first`
    const { output, events } = await run(shell(0, script))
    expect(output(0).toString()).toBe('first\nlate\n')
    expect(events.at(-1)?.kind).toBe('ended')
  })

  it('of a rank that floods does not keep others from being heard', async () => {
    const watched = await watch()
    await watched.channel.start([
      rankOf(0, ['yes']),
      shell(1, 'read line; echo heard $line', { stdin: true }),
    ])
    await watched.until('a flood', () => watched.output(0).length > 1_000_000)
    await watched.channel.write(1, Buffer.from('me\n'))
    await watched.until('rank 1', (events) =>
      events.some((event) => event.kind === 'ended' && event.rank === 1),
    )
    expect(watched.output(1).toString()).toBe('heard me\n')
    await watched.channel.close(limits())
  })
})

describe('input', () => {
  it('megabytes of it arrive intact, with their end', async () => {
    const watched = await watch()
    await watched.channel.start([rankOf(0, ['sha256sum'], { stdin: true }), rankOf(1, ['wc', '-c'])])
    const data = Buffer.alloc(3_000_000, 'input of a rank\n')
    for (let at = 0; at < data.length; at += 100_000) {
      await watched.channel.write(0, data.subarray(at, at + 100_000))
    }
    watched.channel.endInput(0)
    expect(await watched.ends(2)).toEqual([exit(0), exit(0)])
    expect(watched.output(0).toString()).toContain(createHash('sha256').update(data).digest('hex'))
    expect(watched.output(1).toString().trim()).toBe('0')
    await watched.channel.close(limits())
  })

  it('for a rank that does not read holds nothing else up', async () => {
    const watched = await watch()
    await watched.channel.start([
      rankOf(0, ['sleep', '600'], { stdin: true }),
      rankOf(1, ['cat'], { stdin: true }),
    ])
    let written = false
    const writing = watched.channel.write(0, Buffer.alloc(1_000_000)).then(() => {
      written = true
    })
    await watched.channel.write(1, Buffer.from('through'))
    watched.channel.endInput(1)
    await watched.until('rank 1', (events) =>
      events.some((event) => event.kind === 'ended' && event.rank === 1),
    )
    expect(watched.output(1).toString()).toBe('through')
    expect(written).toBe(false)
    watched.channel.signal(0, 'SIGTERM')
    await writing // dropped: nobody will read it
    expect(await watched.ends(2)).toMatchObject([{ kind: 'signal', signal: 15 }, exit(0)])
    await watched.channel.close(limits())
  })

  it('for a rank that has closed it is dropped', async () => {
    const watched = await watch()
    await watched.channel.start([shell(0, 'exec <&-; echo closed; exec sleep 600', { stdin: true })])
    await watched.until('its word', () => watched.output(0).length > 0)
    await watched.channel.write(0, Buffer.alloc(1_000_000))
    await watched.channel.close(limits())
  })
})

describe('signals', () => {
  it('reach the process group of one rank, or of all', async () => {
    const watched = await watch()
    const script = 'trap "echo caught; exit 5" USR1; echo ready; while :; do sleep 0.02; done'
    await watched.channel.start([shell(0, script), shell(1, script), shell(2, script)])
    await watched.until('all ready', () => [0, 1, 2].every((rank) => watched.output(rank).length > 0))
    watched.channel.signal(1, 'SIGUSR1')
    await watched.until('rank 1', (events) => events.some(({ kind }) => kind === 'ended'))
    expect(watched.events.filter(({ kind }) => kind === 'ended')).toMatchObject([{ rank: 1, end: exit(5) }])
    watched.channel.signal('all', 'SIGUSR1')
    expect(await watched.ends(3)).toEqual([exit(5), exit(5), exit(5)])
    await watched.channel.close(limits())
  })
})

describe('nothing is left', () => {
  // Ignores SIGTERM, and leaves a process in a session of its own that does so too.
  const stubborn =
    'trap "" TERM; setsid sh -c "trap \\"\\" TERM; echo \\$\\$; while :; do sleep 0.1; done" & while :; do sleep 0.1; done'

  async function startStubborn(watched: Watched): Promise<ProcessIdentity[]> {
    await watched.channel.start([shell(0, stubborn), shell(1, stubborn)])
    await watched.until('both to be at work', () =>
      [0, 1].every((rank) => watched.output(rank).includes(0x0a)),
    )
    const pids = [0, 1].flatMap((rank) => [watched.pid(rank), Number(watched.output(rank).toString())])
    return pids.map(identified)
  }

  it('when the channel is closed, whatever ranks ignore', async () => {
    const watched = await watch()
    const processes = await startStubborn(watched)
    watched.channel.signal('all', 'SIGTERM')
    await watched.channel.close(limits())
    expect(processes.filter(isRunning)).toEqual([])
    expect(await watched.ends(2)).toMatchObject([
      { kind: 'signal', signal: 9 },
      { kind: 'signal', signal: 9 },
    ])
  })

  it('of what ranks left behind when they have all ended', async () => {
    const watched = await watch()
    await watched.channel.start([shell(0, 'setsid sleep 600 >/dev/null 2>&1 & echo $!')])
    await watched.ends(1)
    const left = identified(Number(watched.output(0).toString()))
    await watched.channel.close(limits())
    expect(isRunning(left)).toBe(false)
  })

  it('of ranks when the starter itself is killed, which is a loss', async () => {
    const watched = await watch()
    await watched.channel.start([rankOf(0, ['sleep', '600']), rankOf(1, ['sleep', '600'])])
    await watched.until('both', (events) => events.length === 2)
    const processes = [0, 1].map((rank) => identified(watched.pid(rank)))
    watched.child.kill('SIGKILL')
    await watched.until('the loss', (events) => events.some(({ kind }) => kind === 'lost'))
    await gone(processes)
    expect(watched.events.at(-1)).toMatchObject({ kind: 'lost', error: { code: 'LEET_E_STARTER_LOST' } })
    await watched.channel.close(limits())
  })

  it('when the controller is killed', async () => {
    const controller = spawn(
      process.execPath,
      [join(import.meta.dirname, 'starter-controller.ts'), folder, stubborn],
      { stdio: 'pipe' },
    )
    const said: Buffer[] = []
    controller.stdout.on('data', (chunk: Buffer) => said.push(chunk))
    const lines = () => Buffer.concat(said).toString().split('\n').filter(Boolean)
    await poll(() => lines().length >= 5 || undefined, 5, limits(), { what: 'the controller to be at work' })
    const processes = lines().map((line) => identified(Number(line)))
    controller.kill('SIGKILL')
    await gone(processes)
  })

  it('and a close is done at once when all has ended', async () => {
    const { child, events } = await run(rankOf(0, ['true']))
    expect(child.exitCode).toBe(0)
    expect(events.at(-1)?.kind).toBe('ended')
  })
})

describe('the program', () => {
  it('says which protocol it speaks, and refuses what it does not know', async () => {
    const path = await starterPath(limits())
    const said = (args: readonly string[]) =>
      new Promise((resolve) => {
        const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] })
        const words: Buffer[] = []
        child.stdout.on('data', (chunk: Buffer) => words.push(chunk))
        child.on('close', (status) => resolve([status, Buffer.concat(words).toString()]))
      })
    expect(await said(['--version'])).toEqual([0, 'leet-starter protocol 1\n'])
    expect(await said(['--daemon'])).toEqual([2, ''])
  })

  it('has no part of its environment or arguments to hide', async () => {
    const watched = await watch()
    const secret = 'PMI_ID_THAT_IS_SECRET'
    await watched.channel.start([rankOf(0, ['sleep', '600'], { env: { PATH, SECRET: secret } })])
    await watched.until('rank 0', (events) => events.length === 1)
    const starter = watched.child.pid as number
    expect(readFileSync(`/proc/${starter}/cmdline`, 'utf8')).not.toContain(secret)
    expect(environmentOf(starter).join()).not.toContain(secret)
    // A rank has begun before its program has taken the place of the starter's copy.
    const given = () => environmentOf(watched.pid(0)).includes(`SECRET=${secret}`) || undefined
    await poll(given, 10, limits(), { what: 'the environment of the rank' })
    await watched.channel.close(limits())
  })
})
