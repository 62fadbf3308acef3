// The words of PMI-1 on the wire (RFC 13 of the Flux framework, and what MPICH 3.2 to 4.3 send): lines of
// `key=value` separated by single spaces, and multi-line spawn requests. README.md describes the format.
//
// Text is Latin-1 on both sides: one character a byte, so that any byte of a value comes back as it was.
import type { Preput } from '../job.ts'
import { printable, unicode } from '../pmix/strings.ts'
import type { SpawnCommand } from '../spawn.ts'

/** Longest line that is read, newline not included: MPICH sends at most 1,023, and longer abort messages. */
export const MAX_LINE = 64 * 1024
/** Most bytes of one MPI_Comm_spawn_multiple. */
export const MAX_SPAWN = 4 * 2 ** 20

const NOTHING = Buffer.alloc(0)

/** Cuts a stream of chunks into lines. Holds at most one unfinished line and the last chunk. */
export class LineBuffer {
  #held: Buffer = NOTHING
  #at = 0

  push(chunk: Buffer): void {
    this.#held = this.#at < this.#held.length ? Buffer.concat([this.#held.subarray(this.#at), chunk]) : chunk
    this.#at = 0
  }

  /** The next line without its newline; undefined when there is none yet. A string of its own, not a piece of one. */
  next(): string | undefined {
    const end = this.#held.indexOf(10, this.#at)
    if (end < 0) {
      this.#settle()
      return undefined
    }
    const line = this.#held.toString('latin1', this.#at, end)
    this.#at = end + 1
    return line
  }

  /** Everything not yet read as lines; the buffer is empty afterwards. */
  takeRest(): Buffer {
    const rest = this.#held.subarray(this.#at)
    this.#held = NOTHING
    this.#at = 0
    return rest
  }

  /** Bytes held. */
  get length(): number {
    return this.#held.length - this.#at
  }

  /** Keeps a copy of the unfinished line, so that a few bytes do not hold a whole chunk. */
  #settle(): void {
    if (this.#at === this.#held.length) this.#held = NOTHING
    else if (this.#at > 0) this.#held = Buffer.from(this.#held.subarray(this.#at))
    this.#at = 0
  }
}

/** The command of `cmd=NAME …`, or undefined when the line is not of that form. */
export function commandOf(line: string): string | undefined {
  if (!line.startsWith('cmd=')) return undefined
  const end = line.indexOf(' ')
  const name = end < 0 ? line.slice(4) : line.slice(4, end)
  return name === '' ? undefined : name
}

/** The value of a key; values end at a space. Undefined when the key is not there. */
export function fieldOf(line: string, key: string): string | undefined {
  const start = line.indexOf(` ${key}=`)
  if (start < 0) return undefined
  const from = start + key.length + 2
  const end = line.indexOf(' ', from)
  return end < 0 ? line.slice(from) : line.slice(from, end)
}

/** A value that is a decimal integer of 32 bits, as `atoi` reads it; undefined for anything else. */
export function integerOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^-?\d{1,10}$/.test(text)) return undefined
  const value = Number(text)
  return value === (value | 0) ? value : undefined
}

/**
 * `cmd=abort exitcode=N message=free text`: the message runs to the end of the line (MPICH 4.2). It becomes text that
 * may go to a terminal.
 */
export function parseAbort(line: string): { readonly status: number; readonly message: string } {
  const at = line.indexOf(' message=')
  const head = at < 0 ? line : line.slice(0, at)
  return {
    status: integerOf(fieldOf(head, 'exitcode')) ?? 1,
    message: at < 0 ? '' : printable(line.slice(at + ' message='.length)),
  }
}

/** Whether a text can be a value: not empty, no space, newline or NUL. */
export function isValue(text: string): boolean {
  return text.length > 0 && !/[ \n\0]/.test(text)
}

/** One `mcmd=spawn` … `endcmd`: one command of MPI_Comm_spawn_multiple. */
export interface SpawnPart {
  readonly command: SpawnCommand
  readonly preput: readonly Preput[]
  /** Commands in the whole request. */
  readonly total: number
  /** Which of them this is, from 1. */
  readonly nth: number
}

/**
 * Reads the lines between `mcmd=spawn` and `endcmd`; values run to the end of the line. Undefined when it is not a
 * spawn request that makes sense.
 */
export function parseSpawn(lines: readonly string[]): SpawnPart | undefined {
  const fields = new Map<string, string>()
  for (const line of lines) {
    const split = line.indexOf('=')
    if (split > 0) fields.set(line.slice(0, split), line.slice(split + 1))
  }
  const count = (key: string) => {
    const value = fields.get(key)
    return value === undefined ? 0 : (integerOf(value) ?? -1)
  }
  // Counts are believed only as far as there are lines: nothing is allocated for a number that somebody wrote.
  const sequence = (length: number, first: number, read: (n: number) => string | undefined) => {
    if (length < 0 || length > lines.length) return undefined
    const values: string[] = []
    for (let n = first; n < first + length; n++) {
      const value = read(n)
      if (value === undefined) return undefined
      values.push(value)
    }
    return values
  }
  const pairs = (length: number, key: string, value: string) => {
    const keys = sequence(length, 0, (n) => fields.get(`${key}${n}`))
    const values = sequence(length, 0, (n) => fields.get(`${value}${n}`))
    return keys && values ? keys.map((each, n) => [each, values[n] as string] as const) : undefined
  }
  const program = fields.get('execname')
  const maxprocs = count('nprocs')
  const total = count('totspawns')
  const nth = count('spawnssofar')
  const args = sequence(count('argcnt'), 1, (n) => fields.get(`arg${n}`))
  const preput = pairs(count('preput_num'), 'preput_key_', 'preput_val_')
  const info = pairs(count('info_num'), 'info_key_', 'info_val_')
  if (!program || maxprocs < 1 || nth < 1 || nth > total || !args || !preput || !info) return undefined
  return {
    command: spawnCommand([program, ...args], maxprocs, info),
    preput: preput.map(([key, value]) => ({ key, value })),
    total,
    nth,
  }
}

/** A command of PMI's spawn, of strings of the wire: the MPI_Info key `wdir` is the working directory (MPI 4.0, section 11.8.4). */
export function spawnCommand(
  argv: readonly string[],
  maxprocs: number,
  info: readonly (readonly [string, string])[],
): SpawnCommand {
  const words = Object.fromEntries(info.map(([key, value]) => [unicode(key), unicode(value)]))
  return {
    argv: argv.map(unicode),
    maxprocs,
    ...(words.wdir === undefined ? {} : { cwd: words.wdir }),
    env: {},
    info: words,
  }
}
