// Directories on their way from one node of a job to another: first a list of what is in them, then the bytes of all files, one
// after the other as in a single stream, of which the receiver asks for pieces.
import {
  chmod,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  symlink,
  utimes,
} from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { LeetError, type WaitLimits } from '../../common/index.ts'

/** A file of a directory. */
export interface ParcelFile {
  /** Relative to the directory, as all paths of a parcel. */
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** Permissions, as in st_mode. */
  readonly mode: number
  /** Time of its last change, in milliseconds since 1970. */
  readonly modified: number
}

/** A symbolic link of a directory. */
export interface ParcelLink {
  readonly path: string
  readonly to: string
}

/** One directory: what of it is carried. */
export interface ParcelDirectory {
  /** By which both nodes know it, absolute. */
  readonly directory: string
  readonly folders: readonly string[]
  readonly files: readonly ParcelFile[]
  readonly links: readonly ParcelLink[]
}

/** Directories in the order in which their files stand in the stream. */
export type Parcel = readonly ParcelDirectory[]

/** A part of a file. */
export interface Span {
  /** Index of the file. */
  readonly file: number
  /** First byte, and how many. */
  readonly from: number
  readonly length: number
}

/** Bytes that are asked for at once, and questions at a time: enough to keep a link busy. */
const PIECE = 1 << 20
const AHEAD = 4

/** Of which files the bytes `offset` to `offset + length` of their stream are. */
export function spansOf(sizes: readonly number[], offset: number, length: number): Span[] {
  const spans: Span[] = []
  let begin = 0
  for (const [file, size] of sizes.entries()) {
    const from = Math.max(0, offset - begin)
    const to = Math.min(size, offset + length - begin)
    if (to > from) spans.push({ file, from, length: to - from })
    begin += size
    if (begin >= offset + length) break
  }
  return spans
}

/** Reads pieces of a parcel's stream; `placeOf` says where a directory lies on this node. */
export class ParcelReader {
  readonly #files: readonly string[]
  readonly #sizes: readonly number[]

  constructor(parcel: Parcel, placeOf: (directory: string) => string) {
    const all = parcel.flatMap(({ directory, files }) =>
      files.map(({ path, size }) => ({ path: join(placeOf(directory), path), size })),
    )
    this.#files = all.map(({ path }) => path)
    this.#sizes = all.map(({ size }) => size)
  }

  /** Answers a question of `receiveParcel`. `LEET_E_STAGING` when a file has become shorter. */
  async answer(question: Uint8Array): Promise<Uint8Array> {
    const { offset, length } = parsePiece(question)
    const parts: Buffer[] = []
    for (const { file, from, length: wanted } of spansOf(this.#sizes, offset, length)) {
      const path = this.#files[file] as string
      parts.push(await readSpan(path, from, wanted))
    }
    return Buffer.concat(parts)
  }
}

/**
 * Makes what a parcel lists below new directories of this node, with times and permissions. `ask` has the sender answer a
 * question about its stream. What becomes of the links is the caller's.
 */
export async function receiveParcel(
  parcel: Parcel,
  placeOf: (directory: string) => string,
  ask: (question: Uint8Array) => Promise<Uint8Array>,
  { signal }: WaitLimits,
): Promise<void> {
  const total = parcel.flatMap(({ files }) => files).reduce((sum, { size }) => sum + size, 0)
  const stream = new PieceStream(total, ask)
  for (const { directory, folders, files } of parcel) {
    const place = placeOf(directory)
    const inner = new Set([...folders, ...files.map(({ path }) => dirname(path))])
    for (const path of ['', ...inner]) await mkdir(join(place, path), { recursive: true, mode: 0o700 })
    for (const { path, size, mode, modified } of files) {
      signal?.throwIfAborted()
      const target = join(place, path)
      const file = await open(target, 'wx', 0o600)
      try {
        await stream.copyTo(file, size)
      } finally {
        await file.close()
      }
      await chmod(target, mode & 0o777)
      await utimes(target, modified / 1000, modified / 1000)
    }
  }
}

/** Makes the links of a parcel, after all files: none is to be written through one of them. */
export async function receiveLinks(parcel: Parcel, placeOf: (directory: string) => string): Promise<void> {
  for (const { directory, links } of parcel) {
    for (const { path, to } of links) {
      const target = join(placeOf(directory), path)
      await mkdir(dirname(target), { recursive: true, mode: 0o700 })
      await symlink(to, target)
    }
  }
}

/** All that is below a directory and can be carried: files, folders and links, none of them followed. */
export async function listDirectory(directory: string, place: string): Promise<ParcelDirectory> {
  const folders: string[] = []
  const files: ParcelFile[] = []
  const links: ParcelLink[] = []
  const visit = async (path: string): Promise<void> => {
    for (const name of (await readdir(join(place, path))).sort()) {
      const inner = path === '' ? name : `${path}/${name}`
      const stats = await lstat(join(place, inner))
      if (stats.isSymbolicLink()) links.push({ path: inner, to: await readlink(join(place, inner)) })
      else if (stats.isFile()) {
        files.push({ path: inner, size: stats.size, mode: stats.mode, modified: stats.mtimeMs })
      } else if (stats.isDirectory()) {
        folders.push(inner)
        await visit(inner)
      }
    }
  }
  await visit('')
  return { directory, folders, files, links }
}

/** A parcel, or other words between nodes, as bytes. */
export function encodeWords(words: object | string): Uint8Array {
  return Buffer.from(JSON.stringify(words))
}

/** What `encodeWords` made into bytes. */
export function decodeWords(data: Uint8Array): unknown {
  return JSON.parse(Buffer.from(data).toString('utf8'))
}

/** What another node says that it has. `LEET_E_STAGING` for what leads out of a directory, or is no parcel. */
export function parseParcel(words: unknown): Parcel {
  return listOf(words).map((one): ParcelDirectory => {
    const { directory, folders, files, links } = fieldsOf(one)
    if (typeof directory !== 'string' || !isAbsolute(directory)) throw notAParcel('a directory has no name')
    return {
      directory,
      folders: parsePaths(folders),
      files: listOf(files).map((file) => {
        const { path, size, mode, modified } = fieldsOf(file)
        return {
          path: innerPath(path),
          size: whole(size),
          mode: whole(mode),
          modified: typeof modified === 'number' ? modified : 0,
        }
      }),
      links: listOf(links).map((link) => {
        const { path, to } = fieldsOf(link)
        if (typeof to !== 'string' || to === '') throw notAParcel('a link leads nowhere')
        return { path: innerPath(path), to }
      }),
    }
  })
}

/** Paths that stay in their directory. `LEET_E_STAGING` for others. */
export function parsePaths(words: unknown): readonly string[] {
  return listOf(words).map(innerPath)
}

/** Asks for the pieces of a stream in their order, a few ahead. */
class PieceStream {
  readonly #total: number
  readonly #ask: (question: Uint8Array) => Promise<Uint8Array>
  readonly #coming: Promise<Uint8Array>[] = []
  #asked = 0
  #rest: Uint8Array = new Uint8Array()

  constructor(total: number, ask: (question: Uint8Array) => Promise<Uint8Array>) {
    this.#total = total
    this.#ask = ask
  }

  async copyTo(file: FileHandle, size: number): Promise<void> {
    for (let left = size; left > 0; ) {
      if (this.#rest.length === 0) this.#rest = await this.#next()
      const part = this.#rest.subarray(0, left)
      await writeAll(file, part)
      this.#rest = this.#rest.subarray(part.length)
      left -= part.length
    }
  }

  async #next(): Promise<Uint8Array> {
    while (this.#coming.length < AHEAD && this.#asked < this.#total) {
      const length = Math.min(PIECE, this.#total - this.#asked)
      const piece = this.#askFor(this.#asked, length)
      // It is waited for in its turn; until then its failure is nobody's.
      piece.catch(() => {})
      this.#coming.push(piece)
      this.#asked += length
    }
    return (await this.#coming.shift()) as Uint8Array
  }

  async #askFor(offset: number, length: number): Promise<Uint8Array> {
    const piece = await this.#ask(encodeWords({ offset, length }))
    if (piece.length === length) return piece
    throw notAParcel(`${piece.length} bytes came instead of ${length}`)
  }
}

async function writeAll(file: FileHandle, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done)
    done += bytesWritten
  }
}

async function readSpan(path: string, from: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  const file = await open(path)
  try {
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(buffer, done, length - done, from + done)
      if (bytesRead === 0) throw becameShorter(path)
      done += bytesRead
    }
    return buffer
  } finally {
    await file.close()
  }
}

function parsePiece(question: Uint8Array): { readonly offset: number; readonly length: number } {
  const { offset, length } = fieldsOf(decodeWords(question))
  if (whole(length) > PIECE) throw notAParcel('more was asked for than a piece')
  return { offset: whole(offset), length: whole(length) }
}

/** The fields of an object that came. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null) return { ...value }
  throw notAParcel('something in it has no fields')
}

/** A list that came. */
export function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw notAParcel('a list is missing')
}

function whole(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw notAParcel('a number is none')
}

/** A path that stays in its directory. */
function innerPath(value: unknown): string {
  const names = typeof value === 'string' ? value.split('/') : []
  const isInner = names.length > 0 && names.every((name) => name !== '' && name !== '.' && name !== '..')
  if (typeof value === 'string' && isInner && !value.includes('\0')) return value
  throw notAParcel(`${JSON.stringify(value)} leads out of its directory`)
}

function notAParcel(why: string): LeetError {
  return new LeetError({ code: 'LEET_E_STAGING', what: 'what another node sends cannot be used', why })
}

function becameShorter(where: string): LeetError {
  return new LeetError({
    code: 'LEET_E_STAGING',
    where,
    what: 'became shorter while it was carried to another node',
    hint: 'leave the files of a job alone until its ranks have begun',
  })
}
