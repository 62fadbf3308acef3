// The serial console of a guest: read from QEMU, told line by line, and written to a file. Guests write what they like:
// lines are cut to a length, stripped of terminal control sequences, only the last ones are kept, and so is the file.
// QEMU waits while nobody reads, so nothing is lost.
import { closeSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { type Log, messageOf } from '../../common/index.ts'

/** Longest console line in characters; the rest of a longer one is dropped. */
export const LINE_LIMIT = 4096
/** How many lines are kept for error messages. */
export const LINES_KEPT = 200

/** Cuts a stream of bytes into clean lines. Pure but for its own buffer, which holds at most one line. */
export class LineDecoder {
  readonly #utf8 = new StringDecoder('utf8')
  #partial = ''

  /** Lines completed by these bytes. */
  push(bytes: Uint8Array): string[] {
    const parts = this.#utf8.write(bytes as Buffer).split('\n')
    const last = parts.pop() as string
    const lines = parts.map((part) => {
      const line = this.#partial + part.slice(0, LINE_LIMIT)
      this.#partial = ''
      return cleanLine(line)
    })
    this.#partial = (this.#partial + last.slice(0, LINE_LIMIT)).slice(0, LINE_LIMIT)
    return lines
  }

  /** The line begun but not ended, clean. */
  get partial(): string {
    return cleanLine(this.#partial)
  }
}

/**
 * A console line that is safe to show: without control sequences of terminals (ECMA-48), with other control characters
 * as `\xNN`, at most `LINE_LIMIT` characters.
 */
export function cleanLine(line: string): string {
  return line
    .slice(0, LINE_LIMIT)
    .replace(CONTROL_SEQUENCE, '')
    .replaceAll('\r', '')
    .replace(CONTROL_CHARACTER, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .slice(0, LINE_LIMIT)
}

// CSI … final byte; OSC, DCS, PM, APC … BEL or ST; ESC with one more character; a lone ESC at the end.
const CONTROL_SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is about
  /\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same
const CONTROL_CHARACTER = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

/** What a console needs besides its stream. */
export interface ConsoleOptions {
  /** Everything the guest writes is appended here, byte for byte (mode 0600). */
  readonly file: string
  /** The file is renamed to `FILE.old` when it has this many bytes, 16 MiB by default. */
  readonly fileLimit?: number
  /** Sees every line once, in order, clean and without its newline. */
  readonly onLine?: (line: string) => void
  readonly log: Log
}

/** A guest's console, read until its stream ends. */
export class GuestConsole {
  readonly file: string
  readonly #options: ConsoleOptions
  readonly #decoder = new LineDecoder()
  readonly #kept: string[] = []
  readonly #watchers = new Set<(bytes: Uint8Array) => void>()
  #fd: number | undefined
  #written = 0
  /** Bytes that were written before those of the present file, and how many of them are in the one before it. */
  #before = 0
  #old = 0

  constructor(stream: Readable, options: ConsoleOptions) {
    this.file = options.file
    this.#options = options
    this.#fd = openSync(options.file, 'a', 0o600)
    stream.on('data', (bytes: Buffer) => this.#take(bytes))
    // The end of QEMU is told elsewhere.
    stream.on('error', () => {})
    stream.on('close', () => this.#closeFile())
  }

  /** What the guest writes from here on, to somebody who watches; gives how to end that. */
  watch(watcher: (bytes: Uint8Array) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** How many bytes are in the file, and were in those before it. */
  get length(): number {
    return this.#before + this.#written
  }

  /** What the guest wrote from a position on, in one piece: what is not kept any more is passed over. `next` follows it. */
  read(from: number): { readonly bytes: Uint8Array; readonly next: number } {
    const at = Math.max(from, this.#before - this.#old)
    const inOld = at < this.#before
    const [path, start, end] = inOld
      ? [`${this.file}.old`, this.#before - this.#old, this.#before]
      : [this.file, this.#before, this.length]
    const bytes = Buffer.alloc(Math.max(0, Math.min(PIECE, end - at)))
    const fd = openSync(path, 'r')
    try {
      const size = readSync(fd, bytes, 0, bytes.length, at - start)
      return { bytes: bytes.subarray(0, size), next: at + size }
    } finally {
      closeSync(fd)
    }
  }

  /** The last lines, the unfinished one included. */
  tail(count: number = LINES_KEPT): string[] {
    const { partial } = this.#decoder
    const lines = partial === '' ? this.#kept : [...this.#kept, partial]
    return lines.slice(-count)
  }

  #take(bytes: Buffer): void {
    this.#append(bytes)
    for (const watcher of this.#watchers) watcher(bytes)
    for (const line of this.#decoder.push(bytes)) {
      this.#kept.push(line)
      if (this.#kept.length > LINES_KEPT) this.#kept.shift()
      this.#options.onLine?.(line)
    }
  }

  #append(bytes: Buffer): void {
    if (this.#fd === undefined) return
    try {
      writeSync(this.#fd, bytes)
      this.#written += bytes.length
      if (this.#written < (this.#options.fileLimit ?? FILE_LIMIT)) return
      this.#closeFile()
      renameSync(this.file, `${this.file}.old`)
      this.#before += this.#written
      this.#old = this.#written
      this.#written = 0
      this.#fd = openSync(this.file, 'ax', 0o600)
    } catch (error) {
      // A full disk is no reason to end a job.
      this.#closeFile()
      this.#options.log.warn(
        `the console of a guest is no longer written to ${this.file}: ${messageOf(error)}`,
      )
    }
  }

  #closeFile(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }
}

const FILE_LIMIT = 16 << 20
const PIECE = 64 << 10
