// The serial console of a guest, followed while QEMU appends to its file. Guests write what they like: lines are cut to
// a length, stripped of terminal control sequences, and only the last ones are kept.
import { closeSync, type FSWatcher, openSync, readSync, watch } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'

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

/** A file being followed. */
export class ConsoleFollower {
  readonly file: string
  readonly #onLine: ((line: string) => void) | undefined
  readonly #decoder = new LineDecoder()
  readonly #kept: string[] = []
  readonly #buffer = Buffer.allocUnsafe(CHUNK)
  readonly #fd: number
  readonly #stopWatching: () => void
  #closed = false

  /** Follows `file`, which must exist, from its beginning; `onLine` sees every line once, in order. */
  constructor(file: string, onLine?: (line: string) => void) {
    this.file = file
    this.#onLine = onLine
    this.#fd = openSync(file, 'r')
    this.#stopWatching = onChange(file, () => this.#read())
    setImmediate(() => this.#read())
  }

  #read(): void {
    // After a chunk others get their turn: a guest that writes without end must not stop the event loop.
    if (!this.#closed && this.#readChunk()) setImmediate(() => this.#read())
  }

  /** The last lines, the unfinished one included. */
  tail(count: number = LINES_KEPT): string[] {
    const { partial } = this.#decoder
    const lines = partial === '' ? this.#kept : [...this.#kept, partial]
    return lines.slice(-count)
  }

  /** Reads the rest, up to a bound, and lets go of the file. */
  close(): void {
    if (this.#closed) return
    for (let chunk = 0; chunk < CHUNKS_AT_END && this.#readChunk(); chunk++);
    this.#closed = true
    this.#stopWatching()
    closeSync(this.#fd)
  }

  // True when there may be more.
  #readChunk(): boolean {
    const length = readSync(this.#fd, this.#buffer, 0, CHUNK, null)
    for (const line of this.#decoder.push(this.#buffer.subarray(0, length))) {
      this.#kept.push(line)
      if (this.#kept.length > LINES_KEPT) this.#kept.shift()
      this.#onLine?.(line)
    }
    return length === CHUNK
  }
}

const CHUNK = 64 << 10
const CHUNKS_AT_END = 64

// inotify tells at once; where the user's watches are used up, looking every 20 ms does.
function onChange(file: string, changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const poll = () => {
    timer ??= setInterval(changed, 20)
  }
  let watcher: FSWatcher | undefined
  try {
    watcher = watch(file, changed)
    watcher.on('error', poll)
  } catch {
    poll()
  }
  return () => {
    watcher?.close()
    clearInterval(timer)
  }
}
