// File formats, which know nothing of images or guests: each file has one, read or written as its specification says. The
// folder's only door.
export { type ByteSource, withFile } from './byte-source.ts'
export { type CpioEntry, writeCpio } from './cpio.ts'
export {
  DT,
  definesSymbol,
  dynamicSymbols,
  type Elf,
  fileOffset,
  isElf,
  MACHINE_X86_64,
  readElf,
  textOfSymbol,
} from './elf.ts'
export { writeErofs } from './erofs.ts'
export {
  layoutRofs,
  type RofsEntry,
  writeRofsDisk,
} from './rofs.ts'
export { type FileContent, stampOf, type TreeEntry } from './tree-entry.ts'
