// The modex: what the ranks of one job have committed for others to read, kept as the bytes they sent and encoded
// anew only for a reader of another format. Reading waits here too: until a rank commits, until a key appears, or
// until that is hopeless. Each commit of a client repeats all that it has put so far (OpenPMIx 3.2 to 6.1).
import { setTimer, type Timer } from '../../common/index.ts'
import { Scope, Status } from './constants.ts'
import { readKeyValue, Type, UnknownTypeError, writeKeyValue } from './values.ts'
import { type Format, formats, malformed, Reader, Writer } from './wire.ts'

/** Bytes that a rank may have committed in each scope. */
const MAX_SCOPE_BYTES = 32 * 2 ** 20
/** Pieces of data that are kept apart before they become one. */
const MAX_PIECES = 64
/** How long a key may be missing from the data of a rank that has committed: as long as in OpenPMIx's own server. */
const MISSING_KEY_MS = 2000
/** Gets that may wait for one rank. */
const MAX_WAITING = 65_536

/** For whom data is meant: ranks in the same guest, or others. */
export type ReaderScope = 'local' | 'remote'

/** What a rank has committed in one scope: packs of KVALs. */
interface ScopeData {
  readonly format: Format
  readonly pieces: Buffer[]
  /** Undefined when a piece holds a type that cannot be read here: any key may be in it. */
  keys: Set<string> | undefined
  bytes: number
}

/** One scope's part of a commit. */
interface Part {
  readonly scope: number
  readonly format: Format
  readonly bytes: Uint8Array
}

interface Waiting {
  readonly want: Want
  readonly done: (status: number) => void
  timer?: Timer
}

interface RankData {
  local?: ScopeData
  remote?: ScopeData
  committed: boolean
  /** Counts the changes of `remote`. */
  version: number
  /** The version that all agents of the job have. */
  shared: number
  ended: boolean
  readonly waiting: Set<Waiting>
}

/** What a reader wants, and how long it waits. */
export interface Want {
  readonly rank: number
  readonly scope: ReaderScope
  /** Undefined: whatever there is. */
  readonly key: string | undefined
  /** Milliseconds after which the answer is TIMEOUT. */
  readonly timeoutMs: number | undefined
}

/** The modex of one job. */
export class Modex {
  private readonly ranks = new Map<number, RankData>()

  private of(rank: number): RankData {
    let data = this.ranks.get(rank)
    if (!data) {
      data = { committed: false, version: 0, shared: 0, ended: false, waiting: new Set() }
      this.ranks.set(rank, data)
    }
    return data
  }

  /**
   * Keeps a copy of what a rank of this agent commits and answers who waited for it. Gives the status for the reply.
   * Malformed data throws `LEET_E_PMIX_MESSAGE` and changes nothing.
   */
  commit(rank: number, parts: readonly Part[]): number {
    const data = this.of(rank)
    const added = parts.map((part) => ({ ...part, keys: keysOf(part.format, part.bytes) }))
    for (const { bytes } of added) if (bytes.length > MAX_SCOPE_BYTES) return Status.OUT_OF_RESOURCE
    let last: Buffer | undefined
    for (const { scope, format, bytes, keys } of added) {
      // Clients write data for everybody into both scopes: equal bytes are kept once.
      const kept = last && Buffer.compare(last, bytes) === 0 ? last : Buffer.from(bytes)
      last = kept
      if (scope === Scope.LOCAL || scope === Scope.GLOBAL) {
        const merged = merge(data.local, format, kept, keys)
        if (!merged) return Status.OUT_OF_RESOURCE
        data.local = merged
      }
      if (scope === Scope.REMOTE || scope === Scope.GLOBAL) {
        const merged = merge(data.remote, format, kept, keys)
        if (!merged) return Status.OUT_OF_RESOURCE
        if (merged !== data.remote) data.version++
        data.remote = merged
      }
    }
    data.committed = true
    for (const waiting of data.waiting) settle(data, waiting)
    return Status.SUCCESS
  }

  /** Whether a reader's wish can be answered now, and if not, whether it never will with what is here. */
  find({ rank, scope, key }: Pick<Want, 'rank' | 'scope' | 'key'>): Availability {
    const data = this.ranks.get(rank)
    return data ? availability(data, scope, key) : 'uncommitted'
  }

  /** Bytes that a reader of that scope and format can have of a rank as they are; 0 when there are none. */
  bytesIn(format: Format, rank: number, scope: ReaderScope): number {
    const data = this.ranks.get(rank)?.[scope]
    return data?.format === format ? data.bytes : 0
  }

  /** What a reader of that scope may see of a rank, in its format. UnknownTypeError when that cannot be written. */
  read(rank: number, scope: ReaderScope, format: Format): readonly Uint8Array[] {
    const data = this.ranks.get(rank)?.[scope]
    if (!data) return []
    return data.format === format
      ? data.pieces
      : data.pieces.map((piece) => translate(piece, data.format, format))
  }

  /**
   * Waits for data of a rank of this agent: gives SUCCESS or the status of a refusal at once, or else a function that
   * ends the wait; `done` is then called once with such a status, unless that function was called before.
   */
  wait(want: Want, done: (status: number) => void): number | (() => void) {
    const data = this.of(want.rank)
    const verdict = verdictOf(data, want)
    if (verdict !== undefined) return verdict
    if (data.waiting.size >= MAX_WAITING) return Status.RESOURCE_BUSY
    const waiting: Waiting = { want, done }
    data.waiting.add(waiting)
    if (want.timeoutMs !== undefined) expire(data, waiting, want.timeoutMs, Status.TIMEOUT)
    settle(data, waiting)
    return () => forget(data, waiting)
  }

  /** Whether the rank will commit no more: it has finalised or is lost. After finalising it may begin anew. */
  setEnded(rank: number, ended: boolean): void {
    const data = this.of(rank)
    data.ended = ended
    for (const waiting of data.waiting) settle(data, waiting)
  }

  /** Ends all waits. */
  close(): void {
    for (const data of this.ranks.values()) {
      for (const waiting of data.waiting) finish(data, waiting, Status.NOT_FOUND)
    }
  }

  /**
   * Writes what not all agents of the job have yet of these ranks, as `receive` reads it. Gives a function to call
   * when all of them have.
   */
  writeNews(writer: Writer, ranks: readonly number[]): () => void {
    const news = ranks
      .map((rank) => ({ rank, data: this.ranks.get(rank) }))
      .filter(({ data }) => data?.remote && data.shared < data.version) as { rank: number; data: RankData }[]
    writer.size(news.length)
    for (const { rank, data } of news) writeRank(writer, rank, data)
    const sent = news.map(({ data }) => ({ data, version: data.version }))
    return () => {
      for (const { data, version } of sent) data.shared = Math.max(data.shared, version)
    }
  }

  /** Writes everything of one rank that is meant for other guests, as `receive` reads it. */
  writeAll(writer: Writer, rank: number): void {
    const data = this.of(rank)
    writer.size(data.remote ? 1 : 0)
    if (data.remote) writeRank(writer, rank, data)
  }

  /** Reads what another agent wrote with `writeNews` or `writeAll` about its ranks. */
  receive(reader: Reader): void {
    for (let count = reader.counted(reader.size()); count > 0; count--) {
      const data = this.of(reader.u32())
      const version = reader.size()
      const format = formats[reader.u8()]
      const bytes = reader.sized()
      if (!format) throw malformed('format of another agent’s data')
      if (version <= data.version) continue
      data.version = version
      data.committed = true
      data.remote = { format, pieces: [Buffer.from(bytes)], keys: keysOf(format, bytes), bytes: bytes.length }
    }
  }
}

/** What is known of data that a reader wants. `missing`: the rank has committed, and this key in no scope. */
type Availability = 'found' | 'missing' | 'otherScope' | 'uncommitted'

function availability(data: RankData, scope: ReaderScope, key: string | undefined): Availability {
  if (!data.committed) return 'uncommitted'
  if (holds(data[scope], key)) return 'found'
  return holds(data[scope === 'local' ? 'remote' : 'local'], key) ? 'otherScope' : 'missing'
}

function holds(data: ScopeData | undefined, key: string | undefined): boolean {
  return data !== undefined && (key === undefined || !data.keys || data.keys.has(key))
}

/** Adds a piece to the data of a scope. Gives `data` itself when nothing changes, undefined when it gets too large. */
function merge(
  data: ScopeData | undefined,
  format: Format,
  piece: Buffer,
  keys: Set<string> | undefined,
): ScopeData | undefined {
  // A piece with all keys that were there replaces them. So does one in another format, which a new program has written.
  const replaces =
    data?.format !== format || (data.keys !== undefined && keys !== undefined && includesAll(keys, data.keys))
  if (!data || replaces) {
    const same = data?.format === format && data.pieces.length === 1 && data.pieces[0]?.equals(piece)
    return same ? data : { format, pieces: [piece], keys, bytes: piece.length }
  }
  const bytes = data.bytes + piece.length
  if (bytes > MAX_SCOPE_BYTES) return undefined
  const pieces = [...data.pieces, piece]
  return {
    format,
    pieces: pieces.length > MAX_PIECES ? [Buffer.concat(pieces)] : pieces,
    keys: data.keys && keys && new Set([...data.keys, ...keys]),
    bytes,
  }
}

function includesAll(set: ReadonlySet<string>, part: ReadonlySet<string>): boolean {
  for (const key of part) if (!set.has(key)) return false
  return true
}

function keysOf(format: Format, bytes: Uint8Array): Set<string> | undefined {
  const keys = new Set<string>()
  const reader = new Reader(format, bytes)
  try {
    while (reader.remaining > 0) {
      for (let count = reader.pack(Type.KVAL); count > 0; count--) keys.add(readKeyValue(reader).key)
    }
  } catch (error) {
    if (error instanceof UnknownTypeError) return undefined
    throw error
  }
  return keys
}

function translate(piece: Uint8Array, from: Format, to: Format): Uint8Array {
  const reader = new Reader(from, piece)
  const writer = new Writer(to, piece.length * 2)
  while (reader.remaining > 0) {
    for (let count = reader.pack(Type.KVAL); count > 0; count--) {
      writeKeyValue(writer.pack(Type.KVAL), readKeyValue(reader))
    }
  }
  return writer.result()
}

function writeRank(writer: Writer, rank: number, data: RankData): void {
  const { format, bytes, pieces } = data.remote as ScopeData
  writer.u32(rank).size(data.version).u8(format.id).size(bytes)
  for (const piece of pieces) writer.raw(piece)
}

/** The status with which a wait ends now, if it does. */
function verdictOf(data: RankData, { scope, key }: Want): number | undefined {
  const state = availability(data, scope, key)
  if (state === 'found') return Status.SUCCESS
  return state === 'otherScope' || data.ended ? Status.NOT_FOUND : undefined
}

function settle(data: RankData, waiting: Waiting): void {
  const verdict = verdictOf(data, waiting.want)
  if (verdict !== undefined) finish(data, waiting, verdict)
  else if (data.committed && !waiting.timer) expire(data, waiting, MISSING_KEY_MS, Status.NOT_FOUND)
}

function expire(data: RankData, waiting: Waiting, ms: number, status: number): void {
  waiting.timer = setTimer(ms, () => finish(data, waiting, status))
}

function finish(data: RankData, waiting: Waiting, status: number): void {
  forget(data, waiting)
  waiting.done(status)
}

function forget(data: RankData, waiting: Waiting): void {
  data.waiting.delete(waiting)
  waiting.timer?.cancel()
}
