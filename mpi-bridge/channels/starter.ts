// The control channel of a guest in which leet-starter runs, over whatever stream leads to it.
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { getSystemErrorMap } from 'node:util'
import { LeetError, type WaitLimits, waitFor } from '../../common/index.ts'
import {
  encodeInputEnd,
  encodeInputHead,
  encodeShutdown,
  encodeSignal,
  encodeStart,
  FrameDecoder,
  INPUT_WINDOW,
  RANKS_MAX,
  STARTER_PROTOCOL,
  type StarterFrame,
  type StartStage,
} from '../starter/codec.ts'
import type {
  ChannelOptions,
  ControlChannel,
  GuestCommandResult,
  RankEvent,
  RankListener,
  RankStart,
} from './channel.ts'

/** The streams of a starter that is being started. */
export interface StarterTransport {
  /** The guest, as the user knows it. */
  readonly where: string
  /** The starter's standard input. */
  readonly input: Writable
  /** Its standard output. */
  readonly output: Readable
  /** What it says when it cannot go on. */
  readonly errors: Readable
  /** Resolves, when the starter is gone, with a few words on how it went. Never rejects. */
  readonly ended: Promise<string>
  /** Breaks the connection at once. */
  destroy(): void
}

/** What is known of a rank that was handed over. */
interface RankState {
  readonly start: RankStart
  /** Bytes that may be sent to it before it has read more. */
  credit: number
  /** Whether it may still read: false once it has ended, failed or closed its input. */
  reads: boolean
  phase: 'starting' | 'running' | 'over'
  /** Resolves when all that was written before has been sent or dropped. */
  sent: Promise<void>
  /** Wakes the writer that waits for credit. */
  wake?: () => void
}

/** Of one frame of input, so that commands do not queue behind much data. */
const INPUT_FRAME = 32 * 1024
/** Of what the starter or its shell wrote to standard error, kept to explain a loss. */
const ERRORS_KEPT = 2000
/** Of what a command beside the ranks wrote. */
const OUTPUT_KEPT = 2000

/**
 * Waits until the starter at the other end of `transport` has said that it is ready. Rejects, and breaks the
 * connection, when it speaks another protocol, ends (`LEET_E_STARTER_LOST`) or the deadline passes.
 */
export async function openStarterChannel(
  transport: StarterTransport,
  { scope, listener }: ChannelOptions,
  limits: WaitLimits,
): Promise<ControlChannel> {
  const channel = new StarterChannel(transport, listener)
  scope.onEnd(`the channel to ${transport.where}`, (ending) => channel.close(ending))
  try {
    await waitFor(channel.ready, limits, {
      what: 'the starter of ranks to answer',
      where: transport.where,
      hint: 'the console of the guest may tell why it does not',
    })
  } catch (error) {
    transport.destroy()
    throw error
  }
  return channel
}

class StarterChannel implements ControlChannel {
  readonly ready: Promise<void>
  readonly #transport: StarterTransport
  readonly #listener: RankListener
  readonly #ranks = new Map<number, RankState>()
  /** Who hears of a command beside the ranks, by its number. */
  readonly #commands = new Map<number, RankListener>()
  /** Numbers of ranks go up from 0, those of commands down from the largest: they do not meet. */
  #nextCommand = RANKS_MAX - 1
  readonly #decoder = new FrameDecoder()
  readonly #becomeReady: { resolve: () => void; reject: (error: LeetError) => void }
  #isReady = false
  #errors = ''
  #lost: LeetError | undefined
  #closed: Promise<void> | undefined

  constructor(transport: StarterTransport, listener: RankListener) {
    this.#transport = transport
    this.#listener = listener
    const ready = Promise.withResolvers<void>()
    this.ready = ready.promise
    this.#becomeReady = ready
    const { input, output, errors } = transport
    errors.setEncoding('utf8')
    errors.on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-ERRORS_KEPT)
    })
    for (const stream of [errors, output, input]) stream.on('error', () => {}) // `ended` tells
    output.on('data', (chunk: Buffer) => this.#receive(chunk))
    transport.ended.then((how) => this.#lose(how))
  }

  async start(ranks: readonly RankStart[]): Promise<void> {
    const { input } = this.#transport
    for (const start of ranks) {
      this.#refuseIfGone()
      if (this.#ranks.has(start.rank)) throw repeated(start.rank)
      const bytes = encodeStart(start)
      this.#ranks.set(start.rank, {
        start,
        credit: INPUT_WINDOW,
        reads: start.stdin,
        phase: 'starting',
        sent: Promise.resolve(),
      })
      if (!input.write(bytes)) await this.#drained()
    }
  }

  async run(argv: readonly [string, ...string[]], limits: WaitLimits): Promise<GuestCommandResult> {
    const rank = this.#nextCommand--
    const result = Promise.withResolvers<GuestCommandResult>()
    // It may fail before anybody waits.
    result.promise.catch(() => {})
    let output = Buffer.alloc(0)
    this.#commands.set(rank, (event) => {
      if (event.kind === 'output') output = Buffer.concat([output, event.data]).subarray(-OUTPUT_KEPT)
      else if (event.kind === 'ended') result.resolve({ end: event.end, output: output.toString() })
      else if (event.kind !== 'began') result.reject(event.error)
    })
    try {
      await this.start([{ rank, argv, env: {}, cwd: '/', stdin: false, terminal: false }])
      const what = `the command ${argv[0]} to end`
      return await waitFor(result.promise, limits, { what, where: this.#transport.where })
    } catch (error) {
      this.signal(rank, 'SIGKILL')
      throw error
    } finally {
      this.#commands.set(rank, () => {})
    }
  }

  write(rank: number, data: Uint8Array): Promise<void> {
    const state = this.#ranks.get(rank)
    if (!state) return Promise.resolve()
    state.sent = state.sent.then(() => this.#send(state, data))
    return state.sent
  }

  endInput(rank: number): void {
    const state = this.#ranks.get(rank)
    if (!state) return
    state.sent = state.sent.then(() => {
      if (state.reads && !this.#isGone()) this.#transport.input.write(encodeInputEnd(rank))
      state.reads = false
    })
  }

  signal(rank: number | 'all', signal: NodeJS.Signals): void {
    if (!this.#isGone()) this.#transport.input.write(encodeSignal(rank, constants.signals[signal]))
  }

  pause(): void {
    this.#transport.output.pause()
  }

  resume(): void {
    this.#transport.output.resume()
  }

  close(limits: WaitLimits): Promise<void> {
    this.#closed ??= this.#close(limits)
    return this.#closed
  }

  async #close(limits: WaitLimits): Promise<void> {
    const { input, ended, where } = this.#transport
    if (!this.#lost) {
      if (this.#running()) input.write(encodeShutdown(0, 0))
      input.end()
    }
    // The starter tells the end of a rank after its output: if that is not read, neither is the end.
    this.resume()
    try {
      await waitFor(ended, limits, {
        what: `${this.#running()} ranks to end`,
        where,
        hint: 'a process that waits for a file server that is gone cannot be killed before the server answers',
      })
    } finally {
      this.#transport.destroy()
      this.#release()
    }
  }

  async #send(state: RankState, data: Uint8Array): Promise<void> {
    const { input } = this.#transport
    for (let at = 0; at < data.length; ) {
      while (state.credit === 0 && this.#mayReceive(state)) {
        await new Promise<void>((resolve) => {
          state.wake = resolve
        })
      }
      if (!this.#mayReceive(state)) return
      const piece = data.subarray(at, at + Math.min(state.credit, INPUT_FRAME))
      state.credit -= piece.length
      at += piece.length
      input.cork()
      input.write(encodeInputHead(state.start.rank, piece.length))
      const room = input.write(piece)
      input.uncork()
      if (!room) await this.#drained()
    }
  }

  #mayReceive(state: RankState): boolean {
    return state.reads && !this.#isGone()
  }

  #receive(chunk: Buffer): void {
    if (this.#lost) return
    try {
      this.#decoder.push(chunk, (frame) => this.#obey(frame))
    } catch (error) {
      if (!(error instanceof LeetError)) throw error
      this.#fail(error)
    }
  }

  #obey(frame: StarterFrame): void {
    if (!this.#isReady) {
      this.#greet(frame)
      return
    }
    switch (frame.kind) {
      case 'ready':
        throw this.#violation('it greeted twice')
      case 'refused':
        throw this.#violation(`it refused what it was told: ${frame.why}`)
      case 'began':
        this.#state(frame.rank, 'starting').phase = 'running'
        this.#tell(frame)
        break
      case 'output':
        // A rank that has ended may have left a process behind that still writes.
        if (this.#known(frame.rank).phase === 'starting') {
          throw this.#violation(`output of rank ${frame.rank} before its start`)
        }
        this.#tell(frame)
        break
      case 'exited':
        this.#end(this.#state(frame.rank, 'running'))
        this.#tell({ kind: 'ended', rank: frame.rank, end: frame.end })
        break
      case 'failed': {
        const state = this.#known(frame.rank)
        if (state.phase === 'over') throw this.#violation(`rank ${frame.rank} failed after its end`)
        this.#end(state)
        const error = startError(state.start, frame.errno, frame.stage, this.#transport.where)
        this.#tell({ kind: 'failed', rank: frame.rank, error })
        break
      }
      case 'input-taken': {
        const state = this.#known(frame.rank)
        state.credit += frame.bytes
        if (state.credit > INPUT_WINDOW) throw this.#violation('it took input that was not sent')
        wake(state)
        break
      }
      case 'input-closed': {
        const state = this.#known(frame.rank)
        state.reads = false
        wake(state)
        break
      }
    }
  }

  #tell(event: Exclude<RankEvent, { kind: 'lost' }>): void {
    const listener = this.#commands.get(event.rank) ?? this.#listener
    listener(event)
  }

  #greet(frame: StarterFrame): void {
    if (frame.kind !== 'ready') throw this.#violation('it did not greet')
    if (frame.protocol !== STARTER_PROTOCOL) {
      throw this.#violation(`it speaks version ${frame.protocol}, not ${STARTER_PROTOCOL}`)
    }
    this.#isReady = true
    this.#becomeReady.resolve()
  }

  #end(state: RankState): void {
    state.phase = 'over'
    state.reads = false
    wake(state)
  }

  #known(rank: number): RankState {
    const state = this.#ranks.get(rank)
    if (!state) throw this.#violation(`it spoke of rank ${rank}, which it was not given`)
    return state
  }

  #state(rank: number, phase: RankState['phase']): RankState {
    const state = this.#known(rank)
    if (state.phase !== phase) throw this.#violation(`rank ${rank} is ${state.phase}, not ${phase}`)
    return state
  }

  #running(): number {
    return [...this.#ranks.values()].filter((state) => state.phase !== 'over').length
  }

  #isGone(): boolean {
    return this.#lost !== undefined || this.#closed !== undefined
  }

  #refuseIfGone(): void {
    if (this.#lost) throw this.#lost
    if (this.#closed) {
      throw new LeetError({
        code: 'LEET_E_CANCELLED',
        what: 'the channel is closed',
        where: this.#transport.where,
      })
    }
  }

  #drained(): Promise<void> {
    const { input, ended } = this.#transport
    return Promise.race([new Promise<void>((resolve) => input.once('drain', resolve)), ended.then(() => {})])
  }

  #violation(what: string): LeetError {
    return new LeetError({
      code: 'LEET_E_STARTER_PROTOCOL',
      what: `the starter broke its protocol: ${what}`,
      where: this.#transport.where,
      hint: 'an image made by another version of leet must be composed anew',
    })
  }

  #lose(how: string): void {
    const said = this.#errors.trim().replaceAll(/[^ -~\n]/g, '?')
    this.#fail(
      new LeetError({
        code: 'LEET_E_STARTER_LOST',
        what: `the starter of ranks is gone (${how})`,
        where: this.#transport.where,
        why: said || undefined,
        hint: 'the guest may have died: look at its console',
      }),
    )
  }

  #fail(error: LeetError): void {
    if (this.#lost) return
    this.#lost = error
    this.#transport.destroy()
    this.#release()
    for (const listener of this.#commands.values()) listener({ kind: 'lost', error })
    if (this.#isReady && !this.#closed) this.#listener({ kind: 'lost', error })
    this.#becomeReady.reject(error)
  }

  /** Lets those go that wait to write. */
  #release(): void {
    for (const state of this.#ranks.values()) wake(state)
  }
}

function wake(state: RankState): void {
  state.wake?.()
  state.wake = undefined
}

function repeated(rank: number): LeetError {
  return new LeetError({ code: 'LEET_E_RANK_START', what: `rank ${rank} was started before` })
}

/** Why a rank could not be started, in the words of the user's command. */
function startError(start: RankStart, errno: number, stage: StartStage, where: string): LeetError {
  const [program] = start.argv
  const problems: Record<StartStage, readonly [what: string, hint?: string]> = {
    specification: ['its specification is refused'],
    streams: ['its standard streams cannot be made', 'raise the limit of open files (ulimit -n)'],
    process: [
      'no process can be made for it',
      'raise the limit of processes (ulimit -u) or give the guest more memory',
    ],
    user: [`it cannot become user ${start.user?.uid}`],
    cpus: [`it cannot be bound to CPUs ${start.cpus?.join(',')}`, 'let it run on CPUs that the guest has'],
    directory: [
      `it cannot enter ${start.cwd}`,
      'name a directory that exists where the rank runs, with -wdir',
    ],
    search: [`${program} is not on its PATH`, 'give the path of the program'],
    program: [`${program} cannot be run`],
    interpreter: [
      `${program} is there, but not the loader or the interpreter that it names`,
      'look at its first line if it is a script, else compare `file PROGRAM` with the image',
    ],
  }
  const [what, hint] = problems[stage]
  // As a shell has it: 127 for a program that is not there, 126 for one that cannot be run.
  const isProgram = stage === 'search' || stage === 'program' || stage === 'interpreter'
  const exitCode = isProgram ? (errno === constants.errno.ENOENT ? 127 : 126) : 1
  return new LeetError({
    code: 'LEET_E_RANK_START',
    what: `rank ${start.rank} cannot be started: ${what}`,
    where,
    why: getSystemErrorMap().get(-errno)?.[1] ?? `error ${errno}`,
    hint,
    exitCode,
  })
}
