// Ranks in an OSv guest. They are started over REST, one after the other. OSv tells no exit status: whether and how a rank
// has ended is gathered from what the compatibility library says on the console, from /app/finished and from the kernel
// log. Signals cannot be sent into OSv.
import {
  atMost,
  Deadline,
  LeetError,
  type Log,
  messageOf,
  pause,
  type WaitLimits,
} from '../../common/index.ts'
import type { ChannelOptions, ControlChannel, RankEnd, RankEvent, RankStart } from '../channels/channel.ts'
import { quoteCommand } from './command.ts'
import { type ConsoleLine, readConsoleLine, returnedStatuses } from './console.ts'
import { ConsoleLines, type ConsolePiece } from './console-lines.ts'
import { harmfulInOsv, PACKED_ENVIRONMENT, packEnvironment } from './environment.ts'
import { OsvInput } from './input.ts'
import { OsvRefusal, type OsvRest } from './rest.ts'

/** What a channel into an OSv guest is made with. */
export interface OsvChannelOptions extends ChannelOptions {
  readonly rest: OsvRest
  readonly log: Log
  /** Whether programs run with the compatibility library. */
  readonly compat: boolean
  /** Random text of the job, letters and digits, at most 64: what marks its lines on the console. */
  readonly nonce: string
  /** False where NFS is mounted: one rank a guest, and one run a boot. True unless told. */
  readonly newProgram?: boolean
  /**
   * Has ranks end by themselves, as far as their process manager can, since nothing can be signalled; false when none of
   * them will. Without it none does.
   */
  readonly askToEnd?: () => boolean
  /** Whether the guest has a disk of libext's, which is for one rank alone. */
  readonly hasDisk?: boolean
  /** Starts that the guest has seen since it booted, and who hears of each one more before it is made. */
  readonly startsBefore?: number
  readonly onStart?: () => void
  /** Milliseconds that the guest gets for one request, the start of a program excepted. */
  readonly requestTimeout?: number
}

/** The channel, with what the launcher tells it of the guest. */
export interface OsvChannel extends ControlChannel {
  /** What the guest's console writes, from when the channel was opened. */
  consoleData(data: Uint8Array): void
  /** The virtual machine has ended, and all that its console wrote has been given. */
  guestEnded(why: string): void
  /** Starts that the guest has seen since it booted. */
  readonly starts: number
  /** It has had the guest end, for its ranks had to. */
  readonly ended: boolean
}

/** OSv has 32 namespaces for programs; the kernel's own is one, and the 32nd start aborts the guest. */
export const MAX_STARTS = 31

const REQUEST_TIMEOUT = 30_000
/**
 * OSv answers a start when the program and its libraries are loaded and bound. With a hundred libraries that takes a busy,
 * emulated guest long. A guest that crashes at it ends, and says so on its console.
 */
const START_TIMEOUT = 300_000
/** Milliseconds between two looks at which ranks have ended. With the compatibility library it is for crashes only. */
const POLL = { compat: 2000, plain: 250 } as const
/** How long the console may lag behind REST. */
const CONSOLE_LAG = 2000
/** So many requests in a row must fail before a guest counts as lost. */
const FAILURES = 3
/** Milliseconds between two looks at whether a rank that was asked to end has. */
const LEAVING_POLL = 50
const CRASH_LINES = 40
const CRASH_LINE = 1000
/** A guest that is about to end says no more than this, in bytes, and does so within this time, in milliseconds. */
const LAST_WORDS = 256 << 10
const LAST_WORDS_MS = 1000
const NEWLINE = Buffer.from('\n')

interface LastWord {
  readonly piece: ConsolePiece
  readonly read: ConsoleLine
}

/** Lines that are the last of a guest when the kernel says them. */
const LAST: ReadonlySet<ConsoleLine['kind']> = new Set(['crash', 'signal', 'power-off', 'off'])

type HeldEvent = RankEvent & { readonly kind: 'output' | 'ended' }

interface Rank {
  readonly start: RankStart
  readonly input: OsvInput | undefined
  thread?: number
  end?: RankEnd
  /** When REST said that it had ended, in milliseconds of performance.now(). */
  finished?: number
}

/** Opens a channel. The guest must be ready; nothing is sent before `start`. */
export function openOsvChannel(options: OsvChannelOptions): OsvChannel {
  const channel = new Channel(options)
  const { guest } = options.rest.endpoint
  options.scope.onEnd(`the channel to ${guest}`, (ending) => channel.close(ending))
  return channel
}

class Channel implements OsvChannel {
  starts: number
  readonly #options: OsvChannelOptions
  readonly #guest: string
  readonly #ranks = new Map<number, Rank>()
  readonly #ending = new AbortController()
  readonly #console = new ConsoleLines()
  /**
   * Lines that look like the last words of the guest. A program may write the like: if the guest lives on, they were
   * output.
   */
  #lastWords: LastWord[] = []
  #lastWordsSize = 0
  #lastWordsTimer: NodeJS.Timeout | undefined
  readonly #held: HeldEvent[] = []
  readonly #gone = Promise.withResolvers<void>()
  #queue: Promise<void> = Promise.resolve()
  /** Calls of `start` that are at work. */
  #startingCalls = 0
  /** Ranks were asked to end by themselves. */
  #asked = false
  /** The guest is being ended, and this settles when it has been asked for the last time. */
  #leaving: Promise<void> | undefined
  #paused = false
  #closing = false
  #over = false
  /** All ranks were lost, or the channel is closed: of ranks that do not start nothing more is told. */
  #silent = false
  #polling = false
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
    this.#startingCalls++
    const work = async () => {
      for (const rank of ranks) await this.#startRank(rank)
    }
    const turn = this.#queue.then(work).finally(() => this.#startingCalls--)
    this.#queue = turn.catch(() => {})
    return turn
  }

  async write(rank: number, data: Uint8Array): Promise<void> {
    await this.#ranks.get(rank)?.input?.write(data)
  }

  endInput(rank: number): void {
    void this.#ranks.get(rank)?.input?.end()
  }

  signal(rank: number | 'all', signal: NodeJS.Signals): void {
    const ends = rank === 'all' && (signal === 'SIGTERM' || signal === 'SIGKILL')
    if (!ends) {
      this.#options.log.detail(`${this.#guest}: ${signal} cannot be sent into OSv`)
      return
    }
    // A guest in which nothing runs stays whole: what its ranks wrote is still to be had from it.
    if (this.#startingCalls === 0 && this.#running().length === 0) return
    if (signal === 'SIGTERM' && this.#options.askToEnd?.()) this.#asked = true
    else void this.#powerOff({ deadline: Deadline.after(this.#timeout) })
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
    this.#silent = true
    this.#ending.abort()
    clearTimeout(this.#lastWordsTimer)
    await this.#queue
    if (!this.#over && this.#running().length > 0) await this.#powerOff(limits)
    await this.#leaving
    this.#over = true
  }

  consoleData(data: Uint8Array): void {
    for (const piece of this.#console.push(data)) this.#piece(piece)
  }

  #piece(piece: ConsolePiece): void {
    if (this.#ranks.size === 0) return
    // One character for each byte, so that output is told as it was written.
    const line = piece.bytes.toString('latin1')
    const read: ConsoleLine = piece.continued
      ? { kind: 'output', text: line }
      : readConsoleLine(line, this.#options.nonce)
    if (read.kind === 'exit') {
      this.#liveOn()
      if (read.before !== '') this.#output(Buffer.from(read.before, 'latin1'))
      const rank = this.#ranks.get(read.rank)
      if (rank) void this.#exited(rank, { kind: 'exit', status: read.status })
    } else if (this.#lastWords.length > 0 || LAST.has(read.kind)) this.#keepLastWord({ piece, read })
    else if (this.#isOutput(read)) this.#outputPiece(piece)
  }

  #isOutput(read: ConsoleLine): boolean {
    switch (read.kind) {
      case 'chatter':
        return false
      case 'not-started':
        return [...this.#ranks.values()].every(({ thread }) => thread !== undefined)
      case 'returned':
        return ![...this.#ranks.values()].some(({ start }) => start.argv[0] === read.path)
      default:
        return true
    }
  }

  #keepLastWord(word: LastWord): void {
    this.#lastWords.push(word)
    this.#lastWordsSize += word.piece.bytes.length + 1
    if (this.#lastWordsSize > LAST_WORDS) this.#liveOn()
    else {
      this.#lastWordsTimer ??= setTimeout(() => {
        this.#options.rest.uptime(this.#limits()).then(
          () => this.#liveOn(),
          () => {},
        )
      }, LAST_WORDS_MS)
    }
  }

  /** The guest has not ended: what looked like its last words was written by a program. */
  #liveOn(): void {
    clearTimeout(this.#lastWordsTimer)
    this.#lastWordsTimer = undefined
    this.#lastWordsSize = 0
    for (const { piece, read } of this.#lastWords.splice(0)) {
      if (LAST.has(read.kind) || this.#isOutput(read)) this.#outputPiece(piece)
    }
  }

  /** The guest has ended. The kernel's part of its last words is kept as the reason; the rest is output. */
  #endLastWords(): void {
    clearTimeout(this.#lastWordsTimer)
    for (const [index, { piece, read }] of this.#lastWords.entries()) {
      // There is an empty line in the kernel's report of a crash.
      const within = piece.bytes.length === 0 && this.#lastWords[index - 1]?.read.kind === 'crash'
      const isKernels = LAST.has(read.kind) || read.kind === 'boot' || within
      if (!isKernels && this.#isOutput(read)) this.#outputPiece(piece)
    }
    this.#lastWords = this.#lastWords.filter(({ read }) => LAST.has(read.kind))
  }

  #outputPiece({ bytes, ended }: ConsolePiece): void {
    this.#output(ended ? Buffer.concat([bytes, NEWLINE]) : bytes)
  }

  /** What the console said of the program that ended the whole guest. */
  get #lastEnd(): RankEnd | undefined {
    const read = this.#lastWords.findLast(
      ({ read: { kind } }) => kind === 'power-off' || kind === 'signal',
    )?.read
    if (read?.kind === 'power-off') return { kind: 'exit', status: read.status }
    if (read?.kind === 'signal') return { kind: 'signal', signal: read.signal, core: false }
    // A program that called abort(3) says this alone (runtime.cc). Where there was another reason, it was said first.
    const [first] = this.#lastWords.filter(({ read: { kind } }) => kind === 'crash')
    return first && printable(first.piece.bytes) === 'Aborted' ? ABORTED : undefined
  }

  /** What the console said of a crash, to be put behind a reason. */
  get #crash(): string {
    const lines = this.#lastWords
      .filter(({ read: { kind } }) => kind === 'crash' || kind === 'signal')
      .slice(0, CRASH_LINES)
      .map(({ piece }) => printable(piece.bytes))
    return lines.length > 0 ? `\n  ${lines.join('\n  ')}` : ''
  }

  /** What was written without the end of a line is output too, once nobody is left to end it. */
  #flushConsole(): void {
    const rest = this.#console.flush()
    if (rest) this.#piece(rest)
  }

  guestEnded(why: string): void {
    this.#gone.resolve()
    if (this.#over) return
    this.#flushConsole()
    this.#endLastWords()
    const open = this.#open()
    const [only] = open
    const last = this.#lastEnd
    if (this.#closing) {
      for (const rank of open) this.#ended(rank, KILLED)
    } else if (open.length === 1 && only?.thread !== undefined && last) {
      if (last === ABORTED) this.#options.log.warn(`${this.#guest}: ${why}${this.#crash}`)
      this.#ended(only, last)
    } else if (open.length > 0) this.#lost(why)
    this.#over = true
    this.#ending.abort()
  }

  get #timeout(): number {
    return this.#options.requestTimeout ?? REQUEST_TIMEOUT
  }

  #limits(milliseconds = this.#timeout): WaitLimits {
    return { deadline: Deadline.after(milliseconds), signal: this.#ending.signal }
  }

  /** Ranks that were asked to start and have not ended. */
  #open(): Rank[] {
    return [...this.#ranks.values()].filter((rank) => !rank.end)
  }

  #running(): Rank[] {
    return this.#open().filter((rank) => rank.thread !== undefined)
  }

  async #startRank(start: RankStart): Promise<void> {
    const rank: Rank = { start, input: this.#inputOf(start) }
    try {
      if (this.#over || this.#closing) throw this.#error('LEET_E_OSV_START', 'the guest has ended')
      if (this.starts >= MAX_STARTS) {
        throw this.#error(
          'LEET_E_OSV_STARTS',
          `rank ${start.rank} would be start ${this.starts + 1} since boot, and OSv aborts at ${MAX_STARTS + 1}`,
          'use a fresh guest for each job (the default), or fewer ranks in a guest',
        )
      }
      if (this.#options.hasDisk && this.#running().length > 0) {
        throw this.#error(
          'LEET_E_OSV_START',
          `rank ${start.rank} would share the disk with another: libext mixes up what two programs read and write at once`,
          'a guest for each rank, or a base without libext',
        )
      }
      const { command, variables } = quoteCommand(start.argv)
      await this.#prepare(rank, variables)
      this.#ranks.set(start.rank, rank)
      if (this.#options.newProgram ?? true) {
        this.starts++
        this.#options.onStart?.()
      }
      const threads = await this.#options.rest.startProgram(
        command,
        this.#options.newProgram ?? true,
        this.#limits(Math.max(START_TIMEOUT, this.#timeout)),
      )
      rank.thread = threads[0] as number
      if (this.#over) return
      this.#options.listener({ kind: 'began', rank: start.rank, pid: rank.thread })
      this.#flush()
      void this.#poll()
    } catch (error) {
      // A guest that crashes while it starts a program closes the connection before its console has said why.
      if (isUnreachable(error)) await atMost(CONSOLE_LAG, this.#gone.promise, undefined)
      this.#ranks.delete(start.rank)
      // Also when the guest has ended meanwhile: somebody waits for every rank that was to start.
      if (!this.#silent) {
        this.#options.listener({ kind: 'failed', rank: start.rank, error: this.#startError(start, error) })
      }
      this.#flush()
    }
  }

  /** Where the input of a rank goes; without the compatibility library there is nobody to read it. */
  #inputOf({ rank, stdin }: RankStart): OsvInput | undefined {
    const { rest, compat, nonce } = this.#options
    if (!stdin || !compat) return undefined
    return new OsvInput({ rest, name: `/tmp/.leet-input.${nonce}.${rank}`, limits: () => this.#limits() })
  }

  /** Brings the guest's environment to what this rank, and no other, is to have. */
  async #prepare(
    { start: { rank, env: asked, cwd }, input }: Rank,
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
      const told = {
        ...env,
        PWD: cwd,
        LEET_OSV_CWD: cwd,
        LEET_OSV_NONCE: nonce,
        LEET_OSV_RANK: String(rank),
        ...(input ? { LEET_OSV_INPUT: input.name } : {}),
      }
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
    return this.#error(
      'LEET_E_OSV_START',
      `rank ${rank} could not be started`,
      undefined,
      `${messageOf(error)}${this.#crash}`,
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
      if (silent.length === this.#running().length) {
        this.#flushConsole()
        this.#liveOn()
      }
      // OSv says nothing of a main that returned 0.
      for (const [i, rank] of ranks.entries()) this.#ended(rank, { kind: 'exit', status: told[i] ?? 0 })
    }
  }

  /**
   * A rank has said that it ends. One that was asked to may do so in a thread of its MPI library, and only that thread ends
   * then: while the program's own goes on, the rank has not ended.
   */
  async #exited(rank: Rank, end: RankEnd): Promise<void> {
    const { rest } = this.#options
    try {
      while (
        this.#asked &&
        rank.thread !== undefined &&
        !(await rest.finished(rank.thread, this.#limits()))
      ) {
        await pause(LEAVING_POLL, this.#ending.signal)
      }
    } catch {
      // The guest is ending: then that is the end of the rank.
      return
    }
    this.#ended(rank, end)
  }

  #ended(rank: Rank, end: RankEnd): void {
    if (rank.end) return
    rank.end = end
    this.#say({ kind: 'ended', rank: rank.start.rank, end })
  }

  /** Ranks of one guest share its console: what they write is given to the lowest of them. */
  #output(data: Uint8Array): void {
    const rank = Math.min(...this.#ranks.keys())
    this.#say({ kind: 'output', rank, stream: 'stdout', data })
  }

  #lost(why: string): void {
    if (this.#over) return
    const ranks = this.#open().map(({ start }) => start.rank)
    this.#endLastWords()
    const last = this.#lastEnd
    const status = last?.kind === 'exit' ? `; a program ended with status ${last.status}` : ''
    const error = this.#error(
      'LEET_E_OSV_LOST',
      ranks.length === 1
        ? `the guest of rank ${ranks[0]} is lost`
        : `the guest of ranks ${ranks.join(', ')} is lost, and OSv does not tell which of them was the cause`,
      'see the console log of the guest',
      `${why}${status}${this.#crash}`,
    )
    // What was held back is what the ranks said before.
    for (const event of this.#held.splice(0)) this.#options.listener(event)
    this.#options.listener({ kind: 'lost', error })
    this.#silent = true
    this.#over = true
    this.#ending.abort()
  }

  get ended(): boolean {
    return this.#leaving !== undefined
  }

  #powerOff(limits: WaitLimits): Promise<void> {
    this.#leaving ??= this.#leave(limits)
    return this.#leaving
  }

  async #leave(limits: WaitLimits): Promise<void> {
    this.#closing = true
    try {
      // To unmount first is no way: with ranks that are busy OSv was seen to hang at it.
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

/** For a message on the user's terminal. */
function printable(bytes: Buffer): string {
  return bytes.toString('utf8', 0, CRASH_LINE).replace(/\p{Cc}/gu, '?')
}

function isUnreachable(error: unknown): boolean {
  return error instanceof LeetError && error.code === 'LEET_E_OSV_UNREACHABLE'
}

const ABORTED: RankEnd = { kind: 'signal', signal: 6, core: false }
const KILLED: RankEnd = { kind: 'signal', signal: 9, core: false }
