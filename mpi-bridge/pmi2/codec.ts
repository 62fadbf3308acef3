// The words of PMI-2 on the wire, as MPICH 3.2 to 4.3 send them: a length of six characters, then that many bytes
// `cmd=NAME;key=value;…`, where `;;` stands for a semicolon within a value. README.md describes the format.
import type { SpawnCommand } from '../spawn.ts'

/** Digits and padding before each message. */
const LENGTH_SIZE = 6
/** Longest message: MPICH's clients and hydra keep to 64 KiB, spawn requests with their arguments may be longer. */
export const MAX_MESSAGE = 512 * 1024

/** Key and value of a message, `cmd` first, in the order of the wire; a key may come again (spawn). */
export type Pair = readonly [key: string, value: string]

const NOTHING = Buffer.alloc(0)

/** Cuts a stream of chunks into messages. Holds at most one unfinished message and the last chunk. */
export class MessageBuffer {
  #held: Buffer = NOTHING

  push(chunk: Buffer): void {
    this.#held = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk
  }

  /** The text of the next message; `more` when it is not complete yet, `malformed` when it can never be. */
  next(): { readonly text: string } | 'more' | 'malformed' {
    if (this.#held.length < LENGTH_SIZE) return this.#more()
    const digits = this.#held.toString('latin1', 0, LENGTH_SIZE)
    const length = /^ *\d+$/.test(digits) ? Number(digits) : Number.NaN
    if (!(length >= 1 && length <= MAX_MESSAGE)) return 'malformed'
    if (this.#held.length < LENGTH_SIZE + length) return this.#more()
    const text = this.#held.toString('latin1', LENGTH_SIZE, LENGTH_SIZE + length)
    this.#held = this.#held.subarray(LENGTH_SIZE + length)
    return { text }
  }

  #more(): 'more' {
    // A copy, so that a few bytes do not hold a whole chunk.
    if (this.#held.length > 0 && this.#held.length < this.#held.buffer.byteLength) {
      this.#held = Buffer.from(this.#held)
    }
    return 'more'
  }
}

/** The pairs of a message; undefined when it is malformed. A last pair without its semicolon is taken too. */
export function parseMessage(text: string): Pair[] | undefined {
  // NUL ends a string of the clients, and separates strings between nodes.
  if (text.includes('\0')) return undefined
  const pairs: Pair[] = []
  let at = 0
  while (at < text.length) {
    const split = text.indexOf('=', at)
    if (split <= at) return undefined
    let end = split + 1
    let doubled = false
    for (;;) {
      end = text.indexOf(';', end)
      if (end < 0) end = text.length
      if (text[end + 1] !== ';') break
      doubled = true
      end += 2
    }
    const value = text.slice(split + 1, end)
    pairs.push([text.slice(at, split), doubled ? value.replaceAll(';;', ';') : value])
    at = end + 1
  }
  return pairs[0]?.[0] === 'cmd' ? pairs : undefined
}

/** The bytes of a message, one a character. */
export function formatMessage(pairs: readonly Pair[]): string {
  let text = ''
  for (const [key, value] of pairs) {
    text += `${key}=${value.includes(';') ? value.replaceAll(';', ';;') : value};`
  }
  return `${String(text.length).padStart(LENGTH_SIZE)}${text}`
}

/** The first value of a key. */
export function valueFor(pairs: readonly Pair[], key: string): string | undefined {
  for (const pair of pairs) if (pair[0] === key) return pair[1]
  return undefined
}

/** A spawn request. */
export interface SpawnMessage {
  readonly commands: readonly SpawnCommand[]
  readonly preput: readonly { readonly key: string; readonly value: string }[]
}

/**
 * Reads `spawn;ncmds=…;preputcount=…;ppkey0=…;ppval0=…;…;subcmd=…;maxprocs=…;argc=…;argv0=…;…;infokeycount=…;…`, one
 * `subcmd` a command. Undefined when it makes no sense.
 */
export function parseSpawn(
  pairs: readonly Pair[],
  command: (
    argv: readonly string[],
    maxprocs: number,
    info: readonly (readonly [string, string])[],
  ) => SpawnCommand,
): SpawnMessage | undefined {
  const starts = pairs.flatMap(([key], index) => (key === 'subcmd' ? [index] : []))
  const head = new Map(pairs.slice(0, starts[0] ?? pairs.length))
  const preput = numbered(head, 'preputcount', 'ppkey', 'ppval')
  if (starts.length === 0 || Number(head.get('ncmds')) !== starts.length || !preput) return undefined
  const commands: SpawnCommand[] = []
  for (const [nth, start] of starts.entries()) {
    const fields = new Map(pairs.slice(start, starts[nth + 1] ?? pairs.length))
    const maxprocs = Number(fields.get('maxprocs'))
    const argc = Number(fields.get('argc') ?? 0)
    const info = numbered(fields, 'infokeycount', 'infokey', 'infoval')
    // Counts are believed only as far as there are pairs.
    if (!(Number.isSafeInteger(maxprocs) && maxprocs >= 1 && argc >= 0 && argc < fields.size && info)) {
      return undefined
    }
    // MPICH counts arguments from 0 in its clients and from 1 in its description: both are read.
    const first = fields.has('argv0') ? 0 : 1
    const args = Array.from({ length: argc }, (_, n) => fields.get(`argv${first + n}`))
    if (!args.every((arg) => arg !== undefined)) return undefined
    commands.push(command([fields.get('subcmd') as string, ...args], maxprocs, info))
  }
  return { commands, preput: preput.map(([key, value]) => ({ key, value })) }
}

function numbered(
  fields: ReadonlyMap<string, string>,
  count: string,
  key: string,
  value: string,
): Pair[] | undefined {
  const length = Number(fields.get(count) ?? 0)
  if (!(length >= 0 && length <= fields.size)) return undefined
  const pairs: Pair[] = []
  for (let n = 0; n < length; n++) {
    const name = fields.get(`${key}${n}`)
    const text = fields.get(`${value}${n}`)
    if (name === undefined || text === undefined) return undefined
    pairs.push([name, text])
  }
  return pairs
}
