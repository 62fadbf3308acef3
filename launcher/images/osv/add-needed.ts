// A copy of a program or library that needs one library more: how the compatibility library gets into programs, since
// OSv has no LD_PRELOAD. The new string table and dynamic section are appended in a segment of their own (System V gABI
// chapter 5); nothing that was in the file moves. The segment takes the place of a program header that no loader needs,
// so the header table does not grow, and stands behind the last PT_LOAD, because those must be in ascending order.
import { LeetError } from '../../../common/index.ts'

const HEADER_SIZE = 56
const DYNAMIC_ENTRY = 16
const PAGE = 4096
const PT = { LOAD: 1, DYNAMIC: 2, NOTE: 4, GNU_PROPERTY: 0x6474e553 } as const
const DT = { NULL: 0n, NEEDED: 1n, STRTAB: 5n, STRSZ: 10n } as const
const PF_READ_WRITE = 6

/** Program headers that may go: notes such as the build id are for tools. */
const DISPENSABLE: readonly number[] = [PT.GNU_PROPERTY, PT.NOTE]

/**
 * `file` with `library` as the last that it needs. OSv loads needed libraries in order, so the last is searched last and
 * initialised first (core/elf.cc, init_library). What already needs it is returned as it is; an ELF file that has no
 * dynamic section or no room is `LEET_E_ELF`. `where` names the file in the message.
 */
export function addNeeded(file: Buffer, library: string, where: string): Buffer {
  const fail = (why: string): never => {
    throw new LeetError({ code: 'LEET_E_ELF', what: `cannot be made to need ${library}`, where, why })
  }
  const number = (at: number) => {
    if (at + 8 > file.length) return fail('it is cut short')
    const value = file.readBigUInt64LE(at)
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? fail('an offset is out of range') : Number(value)
  }
  const slice = (offset: number, length: number) =>
    offset + length > file.length ? fail('it is cut short') : file.subarray(offset, offset + length)

  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    return fail('not a 64-bit little-endian ELF file')
  }
  const count = file.readUInt16LE(56)
  if (file.readUInt16LE(54) !== HEADER_SIZE) return fail('its program headers have another size')
  const tableAt = number(32)
  slice(tableAt, count * HEADER_SIZE)
  const headers = Array.from({ length: count }, (_, i) => {
    const at = tableAt + i * HEADER_SIZE
    return {
      type: file.readUInt32LE(at),
      offset: number(at + 8),
      address: number(at + 16),
      fileSize: number(at + 32),
      memorySize: number(at + 40),
      bytes: Buffer.from(slice(at, HEADER_SIZE)),
    }
  })
  const loads = headers.filter((header) => header.type === PT.LOAD)
  const lastLoad = loads.at(-1)
  const dynamic = headers.find((header) => header.type === PT.DYNAMIC)
  if (!dynamic || !lastLoad) return fail('it is static')

  const section = slice(dynamic.offset, dynamic.fileSize - (dynamic.fileSize % DYNAMIC_ENTRY))
  const entries: { tag: bigint; value: bigint }[] = []
  for (let at = 0; ; at += DYNAMIC_ENTRY) {
    if (at >= section.length) return fail('its dynamic section has no end')
    const tag = section.readBigUInt64LE(at)
    if (tag === DT.NULL) break
    entries.push({ tag, value: section.readBigUInt64LE(at + 8) })
  }
  const numberOf = (tag: bigint) =>
    Number(entries.find((entry) => entry.tag === tag)?.value ?? fail('no names'))
  const stringsAddress = numberOf(DT.STRTAB)
  const home = loads.find((l) => stringsAddress >= l.address && stringsAddress - l.address < l.fileSize)
  if (!home) return fail('its names lie outside its segments')
  const strings = slice(home.offset + stringsAddress - home.address, numberOf(DT.STRSZ))
  const needs = (value: bigint) => {
    const start = Number(value)
    const end = start < strings.length ? strings.indexOf(0, start) : -1
    return end < 0 ? fail('a name lies outside its table') : strings.toString('utf8', start, end)
  }
  if (entries.some(({ tag, value }) => tag === DT.NEEDED && needs(value) === library)) return file

  // The new segment: names, then the dynamic section, at the same place within a page in the file and in memory.
  const start = alignUp(file.length, PAGE)
  const address = alignUp(Math.max(...loads.map((load) => load.address + load.memorySize)), PAGE)
  const newStrings = Buffer.concat([strings, Buffer.from(`${library}\0`)])
  const dynamicAt = alignUp(newStrings.length, DYNAMIC_ENTRY)
  const afterLast = entries.findLastIndex((entry) => entry.tag === DT.NEEDED) + 1
  entries.splice(afterLast, 0, { tag: DT.NEEDED, value: BigInt(strings.length) })
  const newDynamic = Buffer.alloc((entries.length + 1) * DYNAMIC_ENTRY)
  for (const [i, { tag, value }] of entries.entries()) {
    newDynamic.writeBigUInt64LE(tag, i * DYNAMIC_ENTRY)
    const changed = tag === DT.STRTAB ? BigInt(address) : tag === DT.STRSZ ? BigInt(newStrings.length) : value
    newDynamic.writeBigUInt64LE(changed, i * DYNAMIC_ENTRY + 8)
  }
  const size = dynamicAt + newDynamic.length

  const place = (bytes: Buffer, offset: number, at: number, length: number) => {
    for (const [field, value] of [
      [8, offset],
      [16, at],
      [24, at],
      [32, length],
      [40, length],
    ] as const) {
      bytes.writeBigUInt64LE(BigInt(value), field)
    }
  }
  place(dynamic.bytes, start + dynamicAt, address + dynamicAt, newDynamic.length)
  const load = Buffer.alloc(HEADER_SIZE)
  load.writeUInt32LE(PT.LOAD, 0)
  load.writeUInt32LE(PF_READ_WRITE, 4)
  place(load, start, address, size)
  load.writeBigUInt64LE(BigInt(PAGE), 48)
  const victim =
    DISPENSABLE.map((type) => headers.findLast((header) => header.type === type)).find(Boolean) ??
    fail('it has no program header to spare')
  const table = headers
    .filter((header) => header !== victim)
    .flatMap((header) => (header === lastLoad ? [header.bytes, load] : [header.bytes]))

  const result = Buffer.alloc(start + size)
  file.copy(result)
  Buffer.concat(table).copy(result, tableAt)
  newStrings.copy(result, start)
  newDynamic.copy(result, start + dynamicAt)
  tellSections(result, {
    strings: { address, offset: start, size: newStrings.length },
    dynamic: { address: address + dynamicAt, offset: start + dynamicAt, size: newDynamic.length },
  })
  return result
}

interface Place {
  readonly address: number
  readonly offset: number
  readonly size: number
}

/** Section headers are for tools such as readelf; where there are some, they tell what the loader sees. */
function tellSections(file: Buffer, moved: { readonly strings: Place; readonly dynamic: Place }): void {
  const tableAt = Number(file.readBigUInt64LE(40))
  const count = file.readUInt16LE(60)
  if (tableAt === 0 || file.readUInt16LE(58) !== SECTION_SIZE || tableAt + count * SECTION_SIZE > file.length)
    return
  const tell = (index: number, { address, offset, size }: Place) => {
    const at = tableAt + index * SECTION_SIZE
    file.writeBigUInt64LE(BigInt(address), at + 16)
    file.writeBigUInt64LE(BigInt(offset), at + 24)
    file.writeBigUInt64LE(BigInt(size), at + 32)
  }
  for (let index = 0; index < count; index++) {
    const at = tableAt + index * SECTION_SIZE
    if (file.readUInt32LE(at + 4) !== SHT_DYNAMIC) continue
    tell(index, moved.dynamic)
    const names = file.readUInt32LE(at + 40)
    if (names > 0 && names < count) tell(names, moved.strings)
  }
}
const SECTION_SIZE = 64
const SHT_DYNAMIC = 6

function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
