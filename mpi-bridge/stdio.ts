// Standard streams of many ranks and the one user: whole lines of output, tagged if wanted, never more in memory than
// the user takes; the user's input for the ranks that read it.
import { readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { atMost, LeetError, setTimer, type Timer } from '../common/index.ts'

type StreamName = 'stdout' | 'stderr'

/** Who wrote. */
export interface OutputSource {
  /** 0, or the number of the spawned job. */
  readonly job: number
  readonly rank: number
  /** The guest that it is in. */
  readonly guest: number
}

/** What `RankOutput` needs. */
export interface RankOutputOptions {
  readonly stdout: Writable
  readonly stderr: Writable
  /** What begins each line; undefined: nothing does. */
  readonly prefix: ((source: OutputSource, stream: StreamName) => string) | undefined
  /** Ranks of the job. What a single rank writes is passed on as it comes, byte for byte, as long as it is alone. */
  readonly ranks: number
  /** Has the channels hold output back while the user's streams are full, and let it come again. */
  readonly hold: (hold: boolean) => void
  /** A stream of the user cannot be written any more (`LEET_E_OUTPUT`); what comes for it is dropped. Told once each. */
  readonly onBroken: (stream: StreamName, error: LeetError) => void
}

/** A line that grows beyond this, in bytes, is passed on in parts. */
const LINE_MAX = 64 * 1024
/** How long the reader of a job that is being ended may take nothing, in milliseconds. */
const UNREAD_MS = 2_000
/** On a terminal, the beginning of a line that is still after so long is shown: it may be a prompt. */
const PROMPT_MS = 100
const NEWLINE = 0x0a

/** The output of all ranks on its way to the user's standard output and standard error. */
export class RankOutput {
  readonly #streams: Readonly<Record<StreamName, UserStream>>
  readonly #hold: (hold: boolean) => void
  #held = false

  constructor(options: RankOutputOptions) {
    this.#hold = options.hold
    const open = (name: StreamName) => new UserStream(options[name], name, options, () => this.#holdIfFull())
    this.#streams = { stdout: open('stdout'), stderr: open('stderr') }
  }

  /** Takes what a rank wrote. Lines of different ranks are never mixed; the bytes may be kept, not copied. */
  write(source: OutputSource, stream: StreamName, data: Uint8Array): void {
    if (data.length > 0) this.#streams[stream].take(source, data)
  }

  /** The rank has written all: a last line without an end is passed on. */
  end(source: OutputSource): void {
    this.#streams.stdout.end(source)
    this.#streams.stderr.end(source)
  }

  /**
   * Resolves with true when the user's streams have taken everything, also lines that have not ended; after `leaveStalled`
   * with false when a reader has stopped to read.
   */
  async flush(): Promise<boolean> {
    const taken = await Promise.all([this.#streams.stdout.flush(), this.#streams.stderr.flush()])
    return taken.every(Boolean)
  }

  /**
   * The job is being ended: a reader that takes nothing for two seconds cannot keep it, and what comes for that one is dropped.
   * One that is only slow has everything.
   */
  leaveStalled(): void {
    this.#streams.stdout.leaveStalled()
    this.#streams.stderr.leaveStalled()
  }

  #holdIfFull(): void {
    const hold = this.#streams.stdout.full || this.#streams.stderr.full
    if (hold === this.#held) return
    this.#held = hold
    this.#hold(hold)
  }
}

/** A line of one rank that has not ended yet. */
interface OpenLine {
  readonly source: OutputSource
  chunks: Uint8Array[]
  size: number
  prompt?: NodeJS.Timeout
}

class UserStream {
  full = false
  readonly #stream: Writable
  readonly #name: StreamName
  readonly #prefix: RankOutputOptions['prefix']
  /** One rank alone writes; no longer once it has spawned others. */
  #raw: boolean
  /** Whether ranks are kept apart by a newline where one has left a line open: not if that changes plain output. */
  readonly #separates: boolean
  readonly #prompts: boolean
  readonly #onFullness: () => void
  readonly #lines = new Map<string, OpenLine>()
  /** Bytes for the stream: what comes in one turn of the event loop is written at once. */
  #queue: Uint8Array[] = []
  /** Whose line stands open on the stream. */
  #writer: OutputSource | undefined
  #broken = false
  #leaves = false
  /** Its reader was left alone. */
  #left = false
  #stall: Timer | undefined

  constructor(stream: Writable, name: StreamName, options: RankOutputOptions, onFullness: () => void) {
    const isTerminal = 'isTTY' in stream && stream.isTTY === true
    this.#stream = stream
    this.#name = name
    this.#prefix = options.prefix
    this.#raw = !options.prefix && options.ranks === 1
    this.#prompts = isTerminal
    this.#separates = options.prefix !== undefined || isTerminal
    this.#onFullness = onFullness
    stream.on('drain', () => this.#setFull(false))
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#broken) return
      this.#broken = true
      this.#queue = []
      this.#lines.clear()
      this.#setFull(false)
      options.onBroken(name, brokenError(name, error))
    })
  }

  leaveStalled(): void {
    this.#leaves = true
    if (this.full) this.#watchReader()
  }

  take(source: OutputSource, data: Uint8Array): void {
    if (this.#broken || this.#left) return
    if (source.job > 0) this.#raw = false
    if (this.#raw) {
      this.#put(data)
      return
    }
    const key = `${source.job},${source.rank}`
    const line = this.#lines.get(key)
    const ended = data.lastIndexOf(NEWLINE) + 1
    if (ended > 0) {
      this.#pass(source, line ? [...line.chunks, data.subarray(0, ended)] : [data.subarray(0, ended)])
      if (line) this.#forget(key, line)
    }
    if (ended < data.length) this.#keep(key, source, data.subarray(ended))
  }

  end(source: OutputSource): void {
    const key = `${source.job},${source.rank}`
    const line = this.#lines.get(key)
    if (line) this.#passOpen(key, line)
  }

  async flush(): Promise<boolean> {
    for (const [key, line] of this.#lines) this.#passOpen(key, line)
    this.#send()
    if (this.#broken) return true
    if (this.#left) return false
    const taken = new Promise<boolean>((resolve) => {
      this.#stream.write('', () => resolve(true))
    })
    if (!this.#leaves) return taken
    for (let left = Number.POSITIVE_INFINITY; this.#stream.writableLength < left; ) {
      left = this.#stream.writableLength
      if (await atMost(UNREAD_MS, taken, false)) return true
    }
    return false
  }

  #keep(key: string, source: OutputSource, data: Uint8Array): void {
    let line = this.#lines.get(key)
    if (!line) {
      line = { source, chunks: [], size: 0 }
      this.#lines.set(key, line)
    }
    const open = line
    // A copy: a view would keep the whole buffer of the read that it came with.
    open.chunks.push(Uint8Array.from(data))
    open.size += data.length
    // A rank that writes byte by byte must not cost an object for each.
    if (open.chunks.length >= 64) open.chunks = [Buffer.concat(open.chunks)]
    if (open.size > LINE_MAX) {
      this.#passOpen(key, open)
    } else if (this.#prompts) {
      open.prompt ??= setTimeout(() => this.#passOpen(key, open), PROMPT_MS)
    }
  }

  #forget(key: string, line: OpenLine): void {
    clearTimeout(line.prompt)
    this.#lines.delete(key)
  }

  #passOpen(key: string, line: OpenLine): void {
    this.#forget(key, line)
    this.#pass(line.source, line.chunks)
  }

  // Bytes of one rank, in one piece: none of another rank comes between them.
  #pass(source: OutputSource, chunks: readonly Uint8Array[]): void {
    const continues = this.#writer?.job === source.job && this.#writer.rank === source.rank
    if (this.#writer && !continues && this.#separates) this.#put(Buffer.of(NEWLINE))
    const tag = this.#prefix?.(source, this.#name)
    if (tag !== undefined) this.#putTagged(chunks, Buffer.from(tag), !continues)
    else for (const chunk of chunks) this.#put(chunk)
    const isEnded = chunks.at(-1)?.at(-1) === NEWLINE
    this.#writer = isEnded ? undefined : source
  }

  #putTagged(chunks: readonly Uint8Array[], tag: Buffer, tagFirst: boolean): void {
    let atStart = tagFirst
    for (const chunk of chunks) {
      for (let from = 0; from < chunk.length; ) {
        const newline = chunk.indexOf(NEWLINE, from)
        const to = newline < 0 ? chunk.length : newline + 1
        if (atStart) this.#put(tag)
        this.#put(chunk.subarray(from, to))
        atStart = newline >= 0
        from = to
      }
    }
  }

  #put(bytes: Uint8Array): void {
    if (this.#queue.length === 0) setImmediate(() => this.#send())
    this.#queue.push(bytes)
  }

  #send(): void {
    if (this.#queue.length === 0 || this.#broken || this.#left) return
    const bytes = this.#queue.length === 1 ? (this.#queue[0] as Uint8Array) : Buffer.concat(this.#queue)
    this.#queue = []
    if (!this.#stream.write(bytes)) this.#setFull(true)
  }

  #setFull(full: boolean): void {
    if (full === this.full) return
    this.full = full
    this.#stall?.cancel()
    if (full && this.#leaves) this.#watchReader()
    this.#onFullness()
  }

  #watchReader(): void {
    const waiting = this.#stream.writableLength
    this.#stall = setTimer(UNREAD_MS, () => {
      if (this.#stream.writableLength < waiting) {
        this.#watchReader()
        return
      }
      this.#left = true
      this.#queue = []
      this.#setFull(false)
    })
  }
}

function brokenError(stream: StreamName, error: NodeJS.ErrnoException): LeetError {
  const name = stream === 'stdout' ? 'standard output' : 'standard error'
  return new LeetError({
    code: 'LEET_E_OUTPUT',
    what: `${name} cannot be written`,
    why: error.code === 'EPIPE' ? 'its reader is gone' : error.message,
    cause: error,
  })
}

/** Where the user's input goes: the standard input of one rank. */
export interface InputSink {
  /** Resolves when more may be written. */
  write(data: Uint8Array): Promise<void>
  end(): void
}

/**
 * Passes the user's input on to ranks, as fast as the slowest of them reads, with its end. A terminal is read only
 * while the process is in its foreground: a read from the background would stop the whole job (SIGTTIN, tty(4)).
 */
export function forwardInput(input: Readable, sinks: readonly InputSink[]): { stop(): void } {
  let stopped = false
  let writing = false
  const isTerminal = 'isTTY' in input && input.isTTY === true
  const read = () => {
    if (stopped || writing) return
    if (isTerminal && !isForeground()) input.pause()
    else input.resume()
  }
  const onData = (data: Uint8Array) => {
    writing = true
    input.pause()
    Promise.all(sinks.map((sink) => sink.write(data))).then(() => {
      writing = false
      read()
    })
  }
  const onEnd = () => {
    if (stopped) return
    stop()
    for (const sink of sinks) sink.end()
  }
  const stop = () => {
    stopped = true
    input.off('data', onData).off('end', onEnd)
    input.pause()
    process.off('SIGCONT', read)
    // The rest of the input is nobody's; waiting for it must not keep the process alive.
    if ('unref' in input && typeof input.unref === 'function') input.unref()
  }
  input.on('data', onData).once('end', onEnd)
  // An input that cannot be read, such as a terminal that has hung up, has ended.
  input.on('error', onEnd)
  if (isTerminal) process.on('SIGCONT', read)
  read()
  return { stop }
}

/** Whether this process belongs to the foreground process group of its terminal: proc(5), fields pgrp and tpgid. */
function isForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return foreground === '-1' || group === foreground
}
