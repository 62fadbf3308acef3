// ELF as the loader sees it: what a 64-bit little-endian program or library needs and offers at run time (System V
// gABI chapters 4 and 5, and the GNU extensions in glibc's elf.h). Only program headers and the dynamic section are
// read, as ld.so does; section headers may be missing. Input is untrusted: every offset is checked before it is used.
import { LeetError } from '../../../common/index.ts'
import type { ByteSource } from './byte-source.ts'

/** e_machine of x86-64, the one kind of guest so far. */
export const MACHINE_X86_64 = 62

interface Segment {
  readonly address: number
  readonly offset: number
  /** Bytes in the file; what lies behind them in memory is zero. */
  readonly size: number
}

/** What the dynamic loader reads of an object. Search paths are split at colons, tokens such as $ORIGIN unexpanded. */
export interface Elf {
  readonly machine: number
  /** PT_INTERP: the loader that runs this program. Libraries and static programs have none. */
  readonly interpreter?: string
  /** Whether there is a dynamic section; without one a program is static. */
  readonly dynamic: boolean
  readonly soname?: string
  readonly needed: readonly string[]
  readonly rpath: readonly string[]
  readonly runpath: readonly string[]
  /** DF_1_NODEFLIB: neither ld.so.cache nor the default directories are searched for its libraries. */
  readonly noDefaultDirectories: boolean
  /** Where segments are, and tables by their tags in `DT`: their addresses and sizes. */
  readonly segments: readonly Segment[]
  readonly tables: ReadonlyMap<number, number>
}

/** One entry of the dynamic symbol table. */
export interface ElfSymbol {
  readonly name: string
  readonly defined: boolean
  /** STB_WEAK: an undefined one may stay unresolved. */
  readonly weak: boolean
  readonly address: number
  readonly size: number
}

const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
/** Tags of the dynamic section. */
export const DT = {
  NULL: 0,
  NEEDED: 1,
  HASH: 4,
  STRTAB: 5,
  SYMTAB: 6,
  RELA: 7,
  RELASZ: 8,
  STRSZ: 10,
  SONAME: 14,
  RPATH: 15,
  INIT_ARRAY: 25,
  INIT_ARRAYSZ: 27,
  RUNPATH: 29,
  GNU_HASH: 0x6ffffef5,
  FLAGS_1: 0x6ffffffb,
} as const
const DF_1_NODEFLIB = 0x800
/** More than any real object has; a bound against nonsense. */
const MAX_PROGRAM_HEADERS = 4096
const MAX_DYNAMIC_ENTRIES = 65_536
const MAX_SYMBOLS = 1 << 22
const MAX_STRING = 65_536
const SYMBOL_SIZE = 24

/** Whether these bytes begin an ELF file of any kind. */
export function isElf(head: Uint8Array): boolean {
  return head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46
}

/** Reads headers and dynamic section. What cannot be read is `LEET_E_ELF`; `where` is the file's name in it. */
export function readElf(source: ByteSource, where: string): Elf {
  const header = bytesAt(source, 0, 64, where)
  if (!isElf(header)) throw elfError(where, 'not an ELF file')
  if (header[4] !== 2 || header[5] !== 1) {
    throw elfError(where, 'neither 64-bit nor little-endian: guests are 64-bit only')
  }
  const type = header.readUInt16LE(16)
  if (type !== 2 && type !== 3) throw elfError(where, 'neither a program nor a shared library')
  const headerSize = header.readUInt16LE(54)
  const headerCount = header.readUInt16LE(56)
  if (headerCount > 0 && headerSize < 56) throw elfError(where, 'its program headers are too small')
  if (headerCount > MAX_PROGRAM_HEADERS) throw elfError(where, 'it has too many program headers')
  const headers = bytesAt(source, offsetOf(header, 32, where), headerCount * headerSize, where)
  const segments: Segment[] = []
  let interpreter: string | undefined
  let dynamic: { offset: number; size: number } | undefined
  for (let i = 0; i < headerCount; i++) {
    const at = i * headerSize
    const kind = headers.readUInt32LE(at)
    if (kind !== PT_LOAD && kind !== PT_DYNAMIC && kind !== PT_INTERP) continue
    const offset = offsetOf(headers, at + 8, where)
    const size = offsetOf(headers, at + 32, where)
    if (kind === PT_LOAD) segments.push({ address: offsetOf(headers, at + 16, where), offset, size })
    else if (kind === PT_DYNAMIC) dynamic = { offset, size }
    else interpreter = text(bytesAt(source, offset, Math.min(size, 4096), where), where)
  }
  const base = { machine: header.readUInt16LE(18), interpreter, segments }
  const none = { needed: [], rpath: [], runpath: [], noDefaultDirectories: false, tables: new Map() }
  if (!dynamic) return { ...base, ...none, dynamic: false }
  if (dynamic.size > MAX_DYNAMIC_ENTRIES * 16) throw elfError(where, 'its dynamic section is too large')
  const section = bytesAt(source, dynamic.offset, dynamic.size - (dynamic.size % 16), where)
  const tables = new Map<number, number>()
  const names: { readonly tag: number; readonly offset: number }[] = []
  let flags1 = 0n
  for (let at = 0; at < section.length; at += 16) {
    const tag = Number(section.readBigUInt64LE(at))
    if (tag === DT.NULL) break
    if (tag === DT.FLAGS_1) flags1 = section.readBigUInt64LE(at + 8)
    else if (tag === DT.NEEDED || tag === DT.SONAME || tag === DT.RPATH || tag === DT.RUNPATH) {
      names.push({ tag, offset: offsetOf(section, at + 8, where) })
    } else if (Object.values<number>(DT).includes(tag)) tables.set(tag, offsetOf(section, at + 8, where))
  }
  const elf = { ...base, ...none, dynamic: true, tables }
  const stringsOf = (tag: number) =>
    names.filter((name) => name.tag === tag).map(({ offset }) => dynamicString(source, elf, offset, where))
  const pathOf = (tag: number) => stringsOf(tag).flatMap((path) => path.split(':'))
  return {
    ...elf,
    soname: stringsOf(DT.SONAME)[0],
    needed: stringsOf(DT.NEEDED),
    rpath: pathOf(DT.RPATH),
    runpath: pathOf(DT.RUNPATH),
    noDefaultDirectories: (flags1 & BigInt(DF_1_NODEFLIB)) !== 0n,
  }
}

/** All dynamic symbols, in the order of the table, without the nameless. Read only when asked for: there may be many. */
export function dynamicSymbols(source: ByteSource, elf: Elf, where: string): ElfSymbol[] {
  return symbolTable(source, elf, where).filter((symbol) => symbol.name !== '')
}

/**
 * The NUL-terminated text a defined data symbol stands for, such as a version string; undefined when the object
 * does not define it. Found through DT_GNU_HASH (or by looking at all symbols), so it is cheap in large libraries.
 */
export function textOfSymbol(source: ByteSource, elf: Elf, name: string, where: string): string | undefined {
  const symbol = findSymbol(source, elf, name, where)
  if (!symbol?.defined) return undefined
  const length = Math.min(symbol.size || 256, 4096)
  const bytes = source.read(fileOffset(elf, symbol.address, where), length)
  return text(bytes, where)
}

/** Whether the object defines this dynamic symbol. */
export function definesSymbol(source: ByteSource, elf: Elf, name: string, where: string): boolean {
  return findSymbol(source, elf, name, where)?.defined ?? false
}

function findSymbol(source: ByteSource, elf: Elf, name: string, where: string): ElfSymbol | undefined {
  const address = elf.tables.get(DT.GNU_HASH)
  if (address === undefined) {
    return dynamicSymbols(source, elf, where).find((symbol) => symbol.name === name)
  }
  // GNU hash table: nbuckets, symoffset, bloom size in 64-bit words, bloom shift; bloom words; buckets; chains.
  const start = fileOffset(elf, address, where)
  const header = bytesAt(source, start, 16, where)
  const buckets = header.readUInt32LE(0)
  const firstSymbol = header.readUInt32LE(4)
  if (buckets === 0) return undefined
  let hash = 5381
  for (const byte of Buffer.from(name)) hash = (Math.imul(hash, 33) + byte) >>> 0
  const bucketsAt = start + 16 + header.readUInt32LE(8) * 8
  const chainsAt = bucketsAt + buckets * 4
  let index = bytesAt(source, bucketsAt + (hash % buckets) * 4, 4, where).readUInt32LE(0)
  if (index < firstSymbol) return undefined
  for (let steps = 0; steps < MAX_SYMBOLS; steps++, index++) {
    const chain = bytesAt(source, chainsAt + (index - firstSymbol) * 4, 4, where).readUInt32LE(0)
    if (chain >>> 1 === hash >>> 1) {
      const table = fileOffset(elf, tableOf(elf, DT.SYMTAB, where), where)
      const entry = bytesAt(source, table + index * SYMBOL_SIZE, SYMBOL_SIZE, where)
      const symbol = symbolOf(entry, 0, (offset) => dynamicString(source, elf, offset, where))
      if (symbol.name === name) return symbol
    }
    if (chain & 1) return undefined
  }
  throw elfError(where, 'its symbol hash table has no end')
}

function symbolTable(source: ByteSource, elf: Elf, where: string): ElfSymbol[] {
  const address = elf.tables.get(DT.SYMTAB)
  if (address === undefined) return []
  const count = symbolCount(source, elf, where)
  if (count > MAX_SYMBOLS) throw elfError(where, 'it has too many symbols')
  const table = bytesAt(source, fileOffset(elf, address, where), count * SYMBOL_SIZE, where)
  const stringsAt = fileOffset(elf, tableOf(elf, DT.STRTAB, where), where)
  const strings = bytesAt(source, stringsAt, tableOf(elf, DT.STRSZ, where), where)
  const nameAt = (offset: number) => {
    const end = offset < strings.length ? strings.indexOf(0, offset) : -1
    if (end < 0) throw elfError(where, 'a name lies outside its string table')
    return strings.toString('latin1', offset, end)
  }
  return Array.from({ length: count }, (_, i) => symbolOf(table, i * SYMBOL_SIZE, nameAt))
}

function symbolOf(table: Buffer, at: number, nameAt: (offset: number) => string): ElfSymbol {
  const info = table.readUInt8(at + 4)
  return {
    name: nameAt(table.readUInt32LE(at)),
    defined: table.readUInt16LE(at + 6) !== 0,
    weak: info >> 4 === 2,
    address: Number(table.readBigUInt64LE(at + 8)),
    size: Number(table.readBigUInt64LE(at + 16)),
  }
}

/** The dynamic section does not say how many symbols there are; the hash tables do. */
function symbolCount(source: ByteSource, elf: Elf, where: string): number {
  const sysv = elf.tables.get(DT.HASH)
  if (sysv !== undefined) return bytesAt(source, fileOffset(elf, sysv, where) + 4, 4, where).readUInt32LE(0)
  const gnu = elf.tables.get(DT.GNU_HASH)
  if (gnu === undefined) return 0
  const start = fileOffset(elf, gnu, where)
  const header = bytesAt(source, start, 16, where)
  const firstSymbol = header.readUInt32LE(4)
  const bucketsAt = start + 16 + header.readUInt32LE(8) * 8
  const buckets = bytesAt(source, bucketsAt, header.readUInt32LE(0) * 4, where)
  let last = 0
  for (let at = 0; at < buckets.length; at += 4) last = Math.max(last, buckets.readUInt32LE(at))
  if (last < firstSymbol) return firstSymbol
  const chainsAt = bucketsAt + buckets.length
  for (; last < MAX_SYMBOLS; last++) {
    if (bytesAt(source, chainsAt + (last - firstSymbol) * 4, 4, where).readUInt32LE(0) & 1) return last + 1
  }
  throw elfError(where, 'its symbol hash table has no end')
}

function dynamicString(source: ByteSource, elf: Elf, offset: number, where: string): string {
  const size = elf.tables.get(DT.STRSZ) ?? MAX_STRING
  if (offset >= size) throw elfError(where, 'a name lies outside its string table')
  const start = fileOffset(elf, tableOf(elf, DT.STRTAB, where) + offset, where)
  for (let length = 128; ; length *= 8) {
    const bytes = source.read(start, Math.min(length, size - offset))
    if (bytes.includes(0)) return text(bytes, where)
    if (length >= size - offset || length >= MAX_STRING) throw elfError(where, 'a name has no end')
  }
}

function tableOf(elf: Pick<Elf, 'tables'>, tag: number, where: string): number {
  const address = elf.tables.get(tag)
  if (address === undefined) throw elfError(where, 'a table is missing from its dynamic section')
  return address
}

/** Where in the file the byte with this address is. */
export function fileOffset(elf: Pick<Elf, 'segments'>, address: number, where: string): number {
  const segment = elf.segments.find((s) => address >= s.address && address - s.address < s.size)
  if (!segment) throw elfError(where, 'an address lies outside its segments')
  return segment.offset + (address - segment.address)
}

/** A 64-bit offset or size, refused when no file can be that large. */
function offsetOf(bytes: Buffer, at: number, where: string): number {
  const value = bytes.readBigUInt64LE(at)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw elfError(where, 'an offset is out of range')
  return Number(value)
}

function bytesAt(source: ByteSource, offset: number, length: number, where: string): Buffer {
  if (offset + length > source.size) throw elfError(where, 'it is cut short')
  const bytes = source.read(offset, length)
  if (bytes.length !== length) throw elfError(where, 'it is cut short')
  return bytes
}

/** Names are bytes in ELF; latin1 would keep them, but file names are UTF-8 in practice. */
function text(bytes: Buffer, where: string): string {
  const end = bytes.indexOf(0)
  if (end < 0) throw elfError(where, 'a name has no end')
  return bytes.toString('utf8', 0, end)
}

function elfError(where: string, why: string): LeetError {
  return new LeetError({ code: 'LEET_E_ELF', what: 'cannot be read as a program or library', where, why })
}
