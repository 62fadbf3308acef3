// A library's copy that runs its own initialisers. OSv's file systems (modules/nfs, modules/libext) each have a global function
// `initialize_vfsops()`, and the loader looks initialisers up by their names (arch/x64/arch-elf.cc, R_X86_64_64): of two file
// systems in an image the second runs the function of the first, and never mounts anything. In the copy such an entry of
// DT_INIT_ARRAY is the address in the library itself (R_X86_64_RELATIVE); nothing else changes.
import { LeetError } from '../../../common/index.ts'
import { type ByteSource, DT, fileOffset, readElf } from '../formats/index.ts'

const R_X86_64 = { 64: 1, RELATIVE: 8 } as const
const RELOCATION_SIZE = 24
const SYMBOL_SIZE = 24

/** `file` with initialisers that are its own. What cannot be read is `LEET_E_ELF`; `where` is the file's name in it. */
export function withOwnInitializers(file: Buffer, where: string): Buffer {
  const source: ByteSource = {
    size: file.length,
    read: (offset, length) => file.subarray(offset, offset + length),
  }
  const { tables, segments } = readElf(source, where)
  const initializers = tables.get(DT.INIT_ARRAY)
  const relocations = tables.get(DT.RELA)
  const symbols = tables.get(DT.SYMTAB)
  if (initializers === undefined || relocations === undefined || symbols === undefined) return file
  const size = tables.get(DT.INIT_ARRAYSZ) ?? 0
  const relocationsSize = tables.get(DT.RELASZ) ?? 0
  const within = (offset: number, length: number) => {
    if (offset + length <= file.length) return offset
    throw new LeetError({
      code: 'LEET_E_ELF',
      what: 'cannot be read as a library',
      where,
      why: 'it is cut short',
    })
  }
  const result = Buffer.from(file)
  const first = within(fileOffset({ segments }, relocations, where), relocationsSize)
  const table = fileOffset({ segments }, symbols, where)
  for (let at = first; at + RELOCATION_SIZE <= first + relocationsSize; at += RELOCATION_SIZE) {
    const place = Number(file.readBigUInt64LE(at))
    const isInitializer = place >= initializers && place < initializers + size
    if (!isInitializer || file.readUInt32LE(at + 8) !== R_X86_64[64]) continue
    const symbol = within(table + file.readUInt32LE(at + 12) * SYMBOL_SIZE, SYMBOL_SIZE)
    const isDefined = file.readUInt16LE(symbol + 6) !== 0
    if (!isDefined) continue
    const address = file.readBigUInt64LE(symbol + 8) + file.readBigUInt64LE(at + 16)
    result.writeBigUInt64LE(BigInt(R_X86_64.RELATIVE), at + 8)
    result.writeBigUInt64LE(BigInt.asUintN(64, address), at + 16)
  }
  return result
}
