// An ISO 9660 writer with Rock Ridge, in memory: equal input gives equal bytes.
// Formats: ECMA-119 (4th edition) for the volume, IEEE P1281 (SUSP) and P1282 (Rock Ridge, as RRIP_1991A) for names and modes.
import { LeetError } from '../common/index.ts'

/** A file of the image. */
export interface IsoFile {
  /** Relative path with `/` between names; directories are made as needed, at most eight levels. */
  readonly path: string
  readonly content: string | Uint8Array
  /** Permission bits; 0o644 unless told. */
  readonly mode?: number
}

/** What `writeIso` takes. */
export interface IsoOptions {
  /** Volume identifier, at most 32 printable ASCII characters. */
  readonly label: string
  readonly files: readonly IsoFile[]
  /** Date of the volume and all files; 1980-01-01 unless told, whole seconds, years 1900 to 2155. */
  readonly date?: Date
}

const SECTOR = 2048
/**
 * Empty sectors at the end, as mkisofs has them: OSv (v0.57.0-398-g0e34e4dc) cannot open a disk of 128 KiB or less
 * (`error reading PVD sector`), one of 200 KiB it can.
 */
const PADDING = 150
/** Directory depth of ECMA-119 section 6.8.2.1, the root included. */
const LEVELS = 8
/**
 * Bytes of a name: a directory record has one byte for its length, and the name's Rock Ridge entry stands in it
 * beside the record (48 bytes with an 8.3 name), PX (36) and NM's head (5).
 */
const NAME_LIMIT = 160
/** Bytes of a whole image: seeds are small, and the image is built in memory. */
const IMAGE_LIMIT = 64 << 20

interface Folder {
  readonly kind: 'folder'
  readonly name: string
  readonly children: Map<string, Folder | Leaf>
  sector: number
  /** Bytes of its extent, whole sectors. */
  size: number
  /** Number in the path table, from 1. */
  number: number
}

interface Leaf {
  readonly kind: 'file'
  readonly name: string
  readonly content: Uint8Array
  readonly mode: number
  sector: number
}

/** The image as bytes, a whole number of sectors. Throws `LEET_E_ISO` for what the format cannot hold. */
export function writeIso({ label, files, date = new Date(Date.UTC(1980, 0, 1)) }: IsoOptions): Uint8Array {
  if (!/^[ -~]{1,32}$/.test(label))
    throw refusal(`the label ${JSON.stringify(label.slice(0, 40))}`, 'not 1 to 32 ASCII characters')
  const root = buildTree(files)
  const identifiers = new Map<Folder | Leaf, string>()
  const folders = nameFolders(root, identifiers)

  // Layout: 16 unused sectors, two descriptors, both path tables, directories, contents.
  const pathTable = folders.map((folder) => pathTableSize(identifiers.get(folder)))
  const pathTableBytes = pathTable.reduce((sum, size) => sum + size, 0)
  const tableSectors = sectors(pathTableBytes)
  const littleTable = 18
  const bigTable = littleTable + tableSectors
  let next = bigTable + tableSectors
  for (const [i, folder] of folders.entries()) {
    folder.number = i + 1
    folder.size = folderSize(folder, identifiers)
    folder.sector = next
    next += folder.size / SECTOR
  }
  const leaves = folders.flatMap((folder) =>
    sorted(folder, identifiers).filter((child) => child.kind === 'file'),
  )
  for (const leaf of leaves) {
    leaf.sector = next
    next += sectors(leaf.content.length)
  }
  next += PADDING
  if (next * SECTOR > IMAGE_LIMIT)
    throw refusal('the image', `it would have ${next * SECTOR} bytes, at most ${IMAGE_LIMIT}`)

  const image = Buffer.alloc(next * SECTOR)
  writeDescriptors(image, { label, date, sectors: next, pathTableBytes, littleTable, bigTable, root })
  const parents = new Map<Folder, Folder>([[root, root]])
  for (const folder of folders) {
    for (const child of folder.children.values()) if (child.kind === 'folder') parents.set(child, folder)
  }
  let tableAt = 0
  for (const [i, folder] of folders.entries()) {
    const parent = parents.get(folder) as Folder
    writePathTableEntries(image, tableAt, { littleTable, bigTable }, folder, parent, identifiers.get(folder))
    tableAt += pathTable[i] as number
    writeFolder(image, folder, parent, identifiers, date)
  }
  for (const { content, sector } of leaves) image.set(content, sector * SECTOR)
  return new Uint8Array(image.buffer, image.byteOffset, image.length)
}

function buildTree(files: readonly IsoFile[]): Folder {
  const newFolder = (name: string): Folder => ({
    kind: 'folder',
    name,
    children: new Map(),
    sector: 0,
    size: 0,
    number: 0,
  })
  const root = newFolder('')
  for (const file of files) {
    const parts = file.path.split('/')
    const where = `the file ${JSON.stringify(file.path.slice(0, 80))}`
    for (const part of parts) {
      // NUL and `/` cannot be in a POSIX name; `.` and `..` have records of their own.
      if (part === '' || part === '.' || part === '..' || part.includes('\0') || !part.isWellFormed()) {
        throw refusal(where, 'its path is not made of plain names')
      }
      if (Buffer.byteLength(part) > NAME_LIMIT)
        throw refusal(where, `a name has more than ${NAME_LIMIT} bytes`)
    }
    if (parts.length > LEVELS) throw refusal(where, `it lies deeper than ${LEVELS} levels`)
    const mode = file.mode ?? 0o644
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777)
      throw refusal(where, 'its mode is not made of permission bits')
    let folder = root
    for (const part of parts.slice(0, -1)) {
      const child = folder.children.get(part) ?? newFolder(part)
      if (child.kind === 'file') throw refusal(where, `${JSON.stringify(part)} is a file as well`)
      folder.children.set(part, child)
      folder = child
    }
    const name = parts.at(-1) as string
    if (folder.children.has(name)) throw refusal(where, 'it is there twice')
    const content = typeof file.content === 'string' ? Buffer.from(file.content) : file.content
    folder.children.set(name, { kind: 'file', name, content, mode, sector: 0 })
  }
  return root
}

/**
 * ECMA-119 identifiers for the children of a folder: 8.3 names of d-characters, made unique by a number.
 * They are seen only by readers without Rock Ridge.
 */
function nameChildren(folder: Folder, identifiers: Map<Folder | Leaf, string>): void {
  const taken = new Set<string>()
  // In the order of names, so that the order in which files were given does not show.
  for (const child of [...folder.children.values()].sort((a, b) => compareText(a.name, b.name))) {
    const upper = child.name.toUpperCase().replace(/[^A-Z0-9_.]/g, '_')
    const dot = child.kind === 'file' ? upper.lastIndexOf('.') : -1
    const stem = (dot > 0 ? upper.slice(0, dot) : upper).replaceAll('.', '_')
    const extension = dot > 0 ? upper.slice(dot + 1, dot + 4) : ''
    for (let n = 0; ; n++) {
      const short = n === 0 ? stem.slice(0, 8) : stem.slice(0, 8 - String(n).length) + n
      const identifier = child.kind === 'file' ? `${short}.${extension};1` : short
      if (taken.has(identifier)) continue
      taken.add(identifier)
      identifiers.set(child, identifier)
      break
    }
  }
}

/** ECMA-119 section 9.3: records stand in the order of their identifiers, padded with blanks as if of one length. */
function sorted(folder: Folder, identifiers: Map<Folder | Leaf, string>): (Folder | Leaf)[] {
  const key = (child: Folder | Leaf) => {
    const [stem, extension = ''] = (identifiers.get(child) as string).replace(/;1$/, '').split('.')
    return `${(stem as string).padEnd(8)}.${extension.padEnd(3)}`
  }
  return [...folder.children.values()].sort((a, b) => compareText(key(a), key(b)))
}

/** Names everything below the root; the folders in the order of ECMA-119 section 6.9.1: level, parent, identifier. */
function nameFolders(root: Folder, identifiers: Map<Folder | Leaf, string>): Folder[] {
  const order: Folder[] = [root]
  for (const folder of order) {
    nameChildren(folder, identifiers)
    for (const child of sorted(folder, identifiers)) if (child.kind === 'folder') order.push(child)
  }
  return order
}

function folderSize(folder: Folder, identifiers: Map<Folder | Leaf, string>): number {
  let at = selfRecord(folder, 0).length + parentRecord(folder, 0).length
  for (const child of sorted(folder, identifiers)) {
    at = placeRecord(at, childRecord(child, identifiers.get(child) as string, 0).length).end
  }
  return sectors(at) * SECTOR
}

function writeFolder(
  image: Buffer,
  folder: Folder,
  parent: Folder,
  identifiers: Map<Folder | Leaf, string>,
  date: Date,
): void {
  const seconds = date.getTime()
  const base = folder.sector * SECTOR
  let at = 0
  const put = (record: Buffer) => {
    const { start, end } = placeRecord(at, record.length)
    image.set(record, base + start)
    at = end
  }
  put(selfRecord(folder, seconds))
  put(parentRecord(parent, seconds))
  for (const child of sorted(folder, identifiers)) {
    put(childRecord(child, identifiers.get(child) as string, seconds))
  }
}

/** A record does not cross a sector's end (ECMA-119 section 6.8.1.1). */
function placeRecord(at: number, length: number): { start: number; end: number } {
  const start = (at % SECTOR) + length > SECTOR ? sectors(at) * SECTOR : at
  return { start, end: start + length }
}

function selfRecord(folder: Folder, time: number): Buffer {
  const isRoot = folder.name === ''
  // SUSP 5.3: the root's own record begins with SP; ER tells which extension is in use.
  const extra = isRoot ? [Buffer.from([0x53, 0x50, 7, 1, 0xbe, 0xef, 0]), px(folder), er()] : [px(folder)]
  return record(Buffer.from([0]), folder, time, extra)
}

function parentRecord(parent: Folder, time: number): Buffer {
  return record(Buffer.from([1]), parent, time, [px(parent)])
}

function childRecord(child: Folder | Leaf, identifier: string, time: number): Buffer {
  return record(Buffer.from(identifier), child, time, [px(child), nm(child.name)])
}

/** A directory record (ECMA-119 section 9.1). */
function record(
  identifier: Buffer,
  entry: Folder | Leaf,
  time: number,
  systemUse: readonly Buffer[],
): Buffer {
  const head = 33 + identifier.length
  const fixed = head + (head % 2)
  const used = systemUse.reduce((sum, part) => sum + part.length, fixed)
  const buffer = Buffer.alloc(used + (used % 2))
  buffer[0] = buffer.length
  bothEndian32(buffer, 2, entry.sector)
  bothEndian32(buffer, 10, entry.kind === 'folder' ? entry.size : entry.content.length)
  shortDate(time).copy(buffer, 18)
  buffer[25] = entry.kind === 'folder' ? 2 : 0
  bothEndian16(buffer, 28, 1)
  buffer[32] = identifier.length
  identifier.copy(buffer, 33)
  let at = fixed
  for (const part of systemUse) {
    part.copy(buffer, at)
    at += part.length
  }
  return buffer
}

/** PX (P1282 section 4.1.1, 1991 form): mode, links, uid and gid of root. */
function px(entry: Folder | Leaf): Buffer {
  const buffer = Buffer.alloc(36)
  buffer.write('PX', 'latin1')
  buffer[2] = buffer.length
  buffer[3] = 1
  const folders =
    entry.kind === 'folder' ? [...entry.children.values()].filter((c) => c.kind === 'folder').length : 0
  bothEndian32(buffer, 4, entry.kind === 'folder' ? 0o040755 : 0o100000 | entry.mode)
  bothEndian32(buffer, 12, entry.kind === 'folder' ? 2 + folders : 1)
  return buffer
}

/** NM (P1282 section 4.1.4): the real name. */
function nm(name: string): Buffer {
  const bytes = Buffer.from(name)
  return Buffer.concat([Buffer.from([0x4e, 0x4d, 5 + bytes.length, 1, 0]), bytes])
}

/** ER (SUSP 5.5) for Rock Ridge; its description and source texts may be empty. */
function er(): Buffer {
  const id = Buffer.from('RRIP_1991A')
  return Buffer.concat([Buffer.from([0x45, 0x52, 8 + id.length, 1, id.length, 0, 0, 1]), id])
}

interface VolumeFacts {
  readonly label: string
  readonly date: Date
  readonly sectors: number
  readonly pathTableBytes: number
  readonly littleTable: number
  readonly bigTable: number
  readonly root: Folder
}

/** Primary volume descriptor (ECMA-119 section 8.4) and the terminator of the set (8.3). */
function writeDescriptors(image: Buffer, volume: VolumeFacts): void {
  const pvd = image.subarray(16 * SECTOR, 17 * SECTOR)
  pvd[0] = 1
  pvd.write('CD001', 1, 'latin1')
  pvd[6] = 1
  pvd.fill(' ', 8, 72)
  pvd.write(volume.label, 40, 'latin1')
  bothEndian32(pvd, 80, volume.sectors)
  bothEndian16(pvd, 120, 1)
  bothEndian16(pvd, 124, 1)
  bothEndian16(pvd, 128, SECTOR)
  bothEndian32(pvd, 132, volume.pathTableBytes)
  pvd.writeUInt32LE(volume.littleTable, 140)
  pvd.writeUInt32BE(volume.bigTable, 148)
  // The root's record here is the plain one of 34 bytes, without system use.
  record(Buffer.from([0]), volume.root, volume.date.getTime(), []).copy(pvd, 156)
  pvd.fill(' ', 190, 813)
  longDate(volume.date).copy(pvd, 813)
  longDate(volume.date).copy(pvd, 830)
  longDate(undefined).copy(pvd, 847)
  longDate(undefined).copy(pvd, 864)
  pvd[881] = 1
  const terminator = image.subarray(17 * SECTOR, 18 * SECTOR)
  terminator[0] = 255
  terminator.write('CD001', 1, 'latin1')
  terminator[6] = 1
}

function pathTableSize(identifier: string | undefined): number {
  const length = identifier?.length ?? 1
  return 8 + length + (length % 2)
}

/** One record in each path table (ECMA-119 section 9.4); the root's identifier is one zero byte. */
function writePathTableEntries(
  image: Buffer,
  at: number,
  tables: { littleTable: number; bigTable: number },
  folder: Folder,
  parent: Folder,
  identifier = '\0',
): void {
  const little = tables.littleTable * SECTOR + at
  const big = tables.bigTable * SECTOR + at
  for (const start of [little, big]) {
    image[start] = identifier.length
    image.write(identifier, start + 8, 'latin1')
  }
  image.writeUInt32LE(folder.sector, little + 2)
  image.writeUInt16LE(parent.number, little + 6)
  image.writeUInt32BE(folder.sector, big + 2)
  image.writeUInt16BE(parent.number, big + 6)
}

/** Seven bytes of ECMA-119 section 9.1.5, in UTC. */
function shortDate(time: number): Buffer {
  const date = new Date(time)
  return Buffer.from([
    date.getUTCFullYear() - 1900,
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    0,
  ])
}

/** Seventeen bytes of ECMA-119 section 8.4.26.1, in UTC; zeros as digits mean "not told". */
function longDate(date: Date | undefined): Buffer {
  const digits = date ? date.toISOString().replace(/\D/g, '').slice(0, 14).padEnd(16, '0') : '0'.repeat(16)
  return Buffer.concat([Buffer.from(digits, 'latin1'), Buffer.from([0])])
}

function bothEndian16(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt16LE(value, at)
  buffer.writeUInt16BE(value, at + 2)
}

function bothEndian32(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value >>> 0, at)
  buffer.writeUInt32BE(value >>> 0, at + 4)
}

function sectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function refusal(what: string, why: string): LeetError {
  return new LeetError({ code: 'LEET_E_ISO', what: `${what} does not fit into an ISO 9660 image`, why })
}
