// Ranks in an OSv guest: started over REST one after the other, their ends gathered from the compatibility library's
// console line, from /app/finished and from the kernel log, because OSv itself tells no exit status. Signals cannot be
// sent into OSv, and nothing can be written to a rank: its standard input is empty.
import { Deadline, LeetError, type Log, messageOf, pause, type WaitLimits } from '../../common/index.ts'
import type { ControlChannel, RankEnd, RankEvent, RankListener, RankStart } from '../channels/channel.ts'
import { quoteCommand } from './command.ts'
import { readConsoleLine, returnedStatuses } from './console.ts'
import { harmfulInOsv, PACKED_ENVIRONMENT, packEnvironment } from './environment.ts'
import { OsvRefusal, type OsvRest } from './rest.ts'

/** What a channel into an OSv guest is made with. */
export interface OsvChannelOptions {
  readonly rest: OsvRest
  readonly listener: RankListener
  readonly log: Log
  /** Whether programs run with the compatibility library. */
  readonly compat: boolean
  /** Random text of the job, letters and digits, at most 64: what marks its lines on the console. */
  readonly nonce: string
  /** False for ranks that read NFS directly: one rank a guest, and one run a boot. True unless told. */
  readonly newProgram?: boolean
  /** Starts that the guest has seen since it booted. */
  readonly startsBefore?: number
  /** Milliseconds that the guest gets for one request. */
  readonly requestTimeout?: number
}

/** The channel, with what the launcher tells it of the guest. */
export interface OsvChannel extends ControlChannel {
  /** A line of the guest's console, without its newline. All lines, in order, from when the channel was opened. */
  consoleLine(line: string): void
  /** The virtual machine has ended, and all its console lines have been given. */
  guestEnded(why: string): void
  /** Starts that the guest has seen since it booted. */
  readonly starts: number
}

/** OSv has 32 namespaces for programs; the kernel's own is one, and the 32nd start aborts the guest. */
export const MAX_STARTS = 31

const REQUEST_TIMEOUT = 30_000
/** Milliseconds between two looks at which ranks have ended. With the compatibility library it is for crashes only. */
const POLL = { compat: 2000, plain: 250 } as const
/** How long the console may lag behind REST. */
const CONSOLE_LAG = 2000
/** So many requests in a row must fail before a guest counts as lost. */
const FAILURES = 3
const CRASH_LINES = 40

type HeldEvent = RankEvent & { readonly kind: 'output' | 'ended' }

interface Rank {
  readonly start: RankStart
  thread?: number
  end?: RankEnd
  /** When REST said that it had ended, in milliseconds of performance.now(). */
  finished?: number
}

/** Opens a channel. The guest must be ready; nothing is sent before `start`. */
export function openOsvChannel(options: OsvChannelOptions): OsvChannel {
  return new Channel(options)
}

class Channel implements OsvChannel {
  starts: number
  readonly #options: OsvChannelOptions
  readonly #guest: string
  readonly #ranks = new Map<number, Rank>()
  readonly #ending = new AbortController()
  readonly #crash: string[] = []
  readonly #held: HeldEvent[] = []
  readonly #gone = Promise.withResolvers<void>()
  #queue: Promise<void> = Promise.resolve()
  #paused = false
  #closing = false
  #over = false
  #polling = false
  /** What the console said of the program that ended the whole guest. */
  #lastWord: RankEnd | undefined
  /** Variables of the guest that are not OSv's own: asked for once, since then this channel alone changes them. */
  #present: Set<string> | undefined
  /** Lines of the kernel log that have been taken for a rank's, by program. */
  readonly #claimed = new Map<string, number>()

  constructor(options: OsvChannelOptions) {
    this.#options = options
    this.#guest = options.rest.endpoint.guest
    this.starts = options.startsBefore ?? 0
  }

  start(ranks: readonly RankStart[]): Promise<void> {
    const turn = this.#queue.then(async () => {
      for (const rank of ranks) await this.#startRank(rank)
    })
    this.#queue = turn.catch(() => {})
    return turn
  }

  async write(): Promise<void> {}

  endInput(): void {}

  signal(rank: number | 'all', signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL' && rank === 'all')
      void this.#powerOff({ deadline: Deadline.after(this.#timeout) })
    else
      this.#options.log.detail(
        `${this.#guest}: ${signal} cannot be sent into OSv; SIGKILL to all ranks powers the guest off`,
      )
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#flush()
  }

  async close(limits: WaitLimits): Promise<void> {
    this.#closing = true
    this.#ending.abort()
    await this.#queue
    if (!this.#over && this.#running().length > 0) await this.#powerOff(limits)
    this.#over = true
  }

  consoleLine(line: string): void {
    const read = readConsoleLine(line, this.#options.nonce)
    if (read.kind === 'exit') {
      if (read.before !== '') this.#output(read.before)
      const rank = this.#ranks.get(read.rank)
      if (rank) this.#ended(rank, { kind: 'exit', status: read.status })
    } else if (read.kind === 'power-off') this.#lastWord = { kind: 'exit', status: read.status }
    else if (read.kind === 'crash' || read.kind === 'signal') {
      if (read.kind === 'signal') this.#lastWord = { kind: 'signal', signal: read.signal, core: false }
      if (this.#crash.length < CRASH_LINES) this.#crash.push(read.text)
    } else if (read.kind === 'output' && this.#ranks.size > 0) this.#output(`${read.text}\n`)
  }

  guestEnded(why: string): void {
    this.#gone.resolve()
    if (this.#over) return
    const open = this.#open()
    const [only] = open
    if (this.#closing) {
      for (const rank of open) this.#ended(rank, KILLED)
    } else if (open.length === 1 && only?.thread !== undefined && this.#lastWord) {
      this.#ended(only, this.#lastWord)
    } else if (open.length > 0) this.#lost(why)
    this.#over = true
    this.#ending.abort()
  }

  get #timeout(): number {
    return this.#options.requestTimeout ?? REQUEST_TIMEOUT
  }

  #limits(): WaitLimits {
    return { deadline: Deadline.after(this.#timeout), signal: this.#ending.signal }
  }

  /** Ranks that were asked to start and have not ended. */
  #open(): Rank[] {
    return [...this.#ranks.values()].filter((rank) => !rank.end)
  }

  #running(): Rank[] {
    return this.#open().filter((rank) => rank.thread !== undefined)
  }

  async #startRank(start: RankStart): Promise<void> {
    const rank: Rank = { start }
    try {
      if (this.#over || this.#closing) throw this.#error('LEET_E_OSV_START', 'the guest has ended')
      if (this.starts >= MAX_STARTS) {
        throw this.#error(
          'LEET_E_OSV_STARTS',
          `rank ${start.rank} would be start ${this.starts + 1} since boot, and OSv aborts at ${MAX_STARTS + 1}`,
          'use a fresh guest for each job (the default), or fewer ranks in a guest',
        )
      }
      const { command, variables } = quoteCommand(start.argv)
      await this.#prepare(start, variables)
      this.#ranks.set(start.rank, rank)
      if (this.#options.newProgram ?? true) this.starts++
      const threads = await this.#options.rest.startProgram(
        command,
        this.#options.newProgram ?? true,
        this.#limits(),
      )
      rank.thread = threads[0] as number
      if (this.#over) return
      this.#options.listener({ kind: 'began', rank: start.rank, pid: rank.thread })
      this.#flush()
      void this.#poll()
    } catch (error) {
      // A guest that crashes while it starts a program closes the connection before its console has said why.
      if (isUnreachable(error)) await Promise.race([this.#gone.promise, pause(CONSOLE_LAG)])
      this.#ranks.delete(start.rank)
      if (!this.#over) {
        this.#options.listener({ kind: 'failed', rank: start.rank, error: this.#startError(start, error) })
      }
      this.#flush()
    }
  }

  /** Brings the guest's environment to what this rank, and no other, is to have. */
  async #prepare(
    { rank, env: asked, cwd }: RankStart,
    variables: Readonly<Record<string, string>>,
  ): Promise<void> {
    const { rest, compat, nonce, log } = this.#options
    const env = Object.fromEntries(
      Object.entries(asked).filter(([name, value]) => {
        const why = harmfulInOsv(name, value)
        if (why !== undefined) log.warn(`${name}=${value} is left out for rank ${rank}: ${why}`)
        return why === undefined
      }),
    )
    let wanted: Record<string, string>
    if (compat) {
      const told = { ...env, PWD: cwd, LEET_OSV_CWD: cwd, LEET_OSV_NONCE: nonce, LEET_OSV_RANK: String(rank) }
      wanted = { ...variables, [PACKED_ENVIRONMENT]: packEnvironment(told) }
    } else {
      const empty = Object.keys(env).filter((name) => env[name] === '')
      if (empty.length > 0) log.detail(`${this.#guest}: OSv cannot set ${empty.join(', ')} to nothing: unset`)
      // The kernel's working directory is the root, whatever the job's is.
      const given = Object.entries({ ...env, PWD: '/' }).filter(([, value]) => value !== '')
      wanted = { ...Object.fromEntries(given), ...variables }
    }
    if (!this.#present) {
      const entries = await rest.environment(this.#limits())
      const names = entries.map((entry) => entry.slice(0, entry.indexOf('=')))
      this.#present = new Set(names.filter((name) => !name.startsWith('OSV_')))
    }
    for (const name of this.#present) {
      if (Object.hasOwn(wanted, name)) continue
      await rest.unsetVariable(name, this.#limits())
      this.#present.delete(name)
    }
    for (const [name, value] of Object.entries(wanted)) {
      this.#present.add(name)
      await rest.setVariable(name, value, this.#limits())
    }
  }

  #startError({ rank, argv }: RankStart, error: unknown): LeetError {
    if (error instanceof OsvRefusal) {
      return new LeetError({
        code: 'LEET_E_OSV_START',
        where: this.#guest,
        what: `rank ${rank} (${argv[0]}) could not be started`,
        why: error.details.why,
        hint: 'leet image compose puts programs into the image; the console log of the guest may say more',
        exitCode: 127,
        cause: error,
      })
    }
    if (error instanceof LeetError && !isUnreachable(error)) return error
    const crash = this.#crash.length > 0 ? `:\n  ${this.#crash.join('\n  ')}` : ''
    return this.#error(
      'LEET_E_OSV_START',
      `rank ${rank} could not be started`,
      undefined,
      `${messageOf(error)}${crash}`,
    )
  }

  /** Looks after the ranks until none runs: which have ended without a word, and whether the guest still answers. */
  async #poll(): Promise<void> {
    if (this.#polling) return
    this.#polling = true
    const { rest, compat } = this.#options
    let failures = 0
    try {
      while (this.#running().length > 0) {
        await pause(compat ? POLL.compat : POLL.plain, this.#ending.signal)
        try {
          for (const rank of this.#running()) {
            if (rank.finished === undefined && (await rest.finished(rank.thread as number, this.#limits()))) {
              rank.finished = performance.now()
            }
          }
          failures = 0
          await this.#settle()
        } catch (error) {
          if (this.#ending.signal.aborted) return
          if (++failures >= FAILURES) return this.#lost(`it no longer answers: ${messageOf(error)}`)
        }
      }
    } catch {
      // The channel ends.
    } finally {
      this.#polling = false
    }
  }

  /** Ends of ranks whose threads are gone and of which no line told the status, read from the kernel log. */
  async #settle(): Promise<void> {
    const lag = this.#options.compat ? CONSOLE_LAG : 0
    const silent = this.#running().filter(
      ({ finished }) => finished !== undefined && performance.now() - finished >= lag,
    )
    if (silent.length === 0) return
    const kernelLog = await this.#options.rest.kernelLog(this.#limits())
    for (const path of new Set(silent.map(({ start }) => start.argv[0] as string))) {
      const ranks = silent.filter(({ start, end }) => start.argv[0] === path && !end)
      const claimed = this.#claimed.get(path) ?? 0
      const told = returnedStatuses(kernelLog, path).slice(claimed, claimed + ranks.length)
      this.#claimed.set(path, claimed + told.length)
      if (told.length > 0 && ranks.length > 1) {
        const names = ranks.map(({ start }) => start.rank).join(', ')
        this.#options.log.warn(
          `${this.#guest}: of ranks ${names}, ${told.length} returned ${told.join(', ')}: OSv does not tell which`,
        )
      }
      // OSv says nothing of a main that returned 0.
      for (const [i, rank] of ranks.entries()) this.#ended(rank, { kind: 'exit', status: told[i] ?? 0 })
    }
  }

  #ended(rank: Rank, end: RankEnd): void {
    if (rank.end) return
    rank.end = end
    this.#say({ kind: 'ended', rank: rank.start.rank, end })
  }

  /** Ranks of one guest share its console: what they write is given to the lowest of them. */
  #output(text: string): void {
    const rank = Math.min(...this.#ranks.keys())
    this.#say({ kind: 'output', rank, stream: 'stdout', data: Buffer.from(text) })
  }

  #lost(why: string): void {
    if (this.#over) return
    const ranks = this.#open().map(({ start }) => start.rank)
    const crash = this.#crash.length > 0 ? `:\n  ${this.#crash.join('\n  ')}` : ''
    const last = this.#lastWord
    const status = last?.kind === 'exit' ? `; a program ended with status ${last.status}` : ''
    const error = this.#error(
      'LEET_E_OSV_LOST',
      ranks.length === 1
        ? `the guest of rank ${ranks[0]} is lost`
        : `the guest of ranks ${ranks.join(', ')} is lost, and OSv does not tell which of them was the cause`,
      'see the console log of the guest',
      `${why}${status}${crash}`,
    )
    // What was held back is what the ranks said before.
    for (const event of this.#held.splice(0)) this.#options.listener(event)
    this.#options.listener({ kind: 'lost', error })
    this.#over = true
    this.#ending.abort()
  }

  async #powerOff(limits: WaitLimits): Promise<void> {
    this.#closing = true
    try {
      await this.#options.rest.powerOff(limits)
    } catch (error) {
      this.#options.log.detail(`${this.#guest}: power off: ${messageOf(error)}`)
    }
    for (const rank of this.#running()) this.#ended(rank, KILLED)
  }

  #say(event: HeldEvent): void {
    this.#held.push(event)
    this.#flush()
  }

  /** Events wait while they are held back, and for a rank whose start OSv has not answered: `began` comes first. */
  #flush(): void {
    while (!this.#paused && !this.#over && this.#held.length > 0) {
      const event = this.#held[0] as HeldEvent
      const rank = this.#ranks.get(event.rank)
      if (rank && rank.thread === undefined) return
      this.#held.shift()
      if (rank) this.#options.listener(event)
    }
  }

  #error(code: LeetError['code'], what: string, hint?: string, why?: string): LeetError {
    return new LeetError({ code, where: this.#guest, what, hint, why })
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof LeetError && error.code === 'LEET_E_OSV_UNREACHABLE'
}

const KILLED: RankEnd = { kind: 'signal', signal: 9, core: false }
