// A disk image that the user names, such as a distribution's cloud image: what it is, by its first bytes, before any
// program opens it. A qcow2 file may name other files of this machine to be read as the guest's disk, and what QEMU and
// qemu-img do with such a name is more than reading (CVE-2024-4467): whatever names another file is refused.
import { LeetError } from '../../common/index.ts'
import type { DiskFormat } from '../machines/spec.ts'
import { withFile } from './formats/index.ts'

/** A disk image that refers to no other file. */
export interface DiskImage {
  readonly path: string
  readonly format: DiskFormat
  /** Bytes of the disk that the guest sees. */
  readonly size: number
}

/** Reads the head of a disk image; `LEET_E_IMAGE` when guests cannot, or must not, be given it. */
export function openDiskImage(path: string): DiskImage {
  return withFile(path, (source) => {
    const head = source.read(0, Math.min(HEAD, source.size))
    return { path, ...readDiskHead(head, source.size, path) }
  })
}

/** What is read of a file: a boot sector, or a qcow2 header. */
const HEAD = 512

/** What a disk image is by its first 512 bytes and the file's size. Pure. */
export function readDiskHead(head: Buffer, fileSize: number, where: string): Omit<DiskImage, 'path'> {
  const foreign = FOREIGN.find(({ magic }) => head.toString('latin1', 0, magic.length) === magic)
  if (foreign) {
    throw imageError(
      where,
      `is a disk image of ${foreign.product}`,
      `qemu-img convert -O qcow2 ${where} NEW.qcow2`,
    )
  }
  if (head.toString('latin1', 0, 4) === QCOW_MAGIC) return readQcow2(head, where)
  // With its boot sector a BIOS takes a disk; one with a GUID partition table has such a sector too.
  if (head.length < HEAD || head.readUInt16LE(HEAD - 2) !== BOOT_SIGNATURE) {
    throw imageError(
      where,
      'is no disk image that can boot',
      'a qcow2 or raw image of a whole disk, such as the cloud images of distributions',
    )
  }
  return { format: 'raw', size: fileSize }
}

const BOOT_SIGNATURE = 0xaa55
const QCOW_MAGIC = 'QFI\xfb'

const FOREIGN = [
  { magic: 'KDMV', product: 'VMware (VMDK)' },
  { magic: '# Disk DescriptorFile', product: 'VMware (VMDK)' },
  { magic: '<<< ', product: 'VirtualBox (VDI)' },
  { magic: 'vhdxfile', product: 'Hyper-V (VHDX)' },
  { magic: 'conectix', product: 'Hyper-V (VHD)' },
] as const

// QEMU's docs/interop/qcow2.txt; all numbers are big endian.
function readQcow2(head: Buffer, where: string): Omit<DiskImage, 'path'> {
  const version = head.length >= V2_HEADER ? head.readUInt32BE(4) : 0
  if (version !== 2 && version !== 3) {
    throw imageError(
      where,
      `is a qcow file of version ${version}`,
      `qemu-img convert -O qcow2 ${where} NEW.qcow2`,
    )
  }
  if (version === 3 && head.length < V3_HEADER) throw imageError(where, 'ends within its header')
  const features = version === 3 ? head.readBigUInt64BE(72) : 0n
  const refuse = (what: string): never => {
    throw imageError(
      where,
      what,
      `an image that is complete in itself: \`qemu-img info ${where}\` shows what it refers to, and if you trust that, \`qemu-img convert -O qcow2 ${where} NEW.qcow2\` makes it complete`,
    )
  }
  if (head.readBigUInt64BE(8) !== 0n || head.readUInt32BE(16) !== 0) refuse('has a backing file')
  // QEMU opens the named file only with this bit (qcow2_do_open).
  if (features & EXTERNAL_DATA) refuse('keeps its data in another file')
  if (head.readUInt32BE(32) !== 0) throw imageError(where, 'is encrypted')
  if (features & CORRUPT) throw imageError(where, 'is marked as corrupt', `qemu-img check ${where}`)
  const size = head.readBigUInt64BE(24)
  if (size === 0n || size > MOST_BYTES) throw imageError(where, `says that its disk has ${size} bytes`)
  return { format: 'qcow2', size: Number(size) }
}

const V2_HEADER = 72
const V3_HEADER = 104
const CORRUPT = 1n << 1n
const EXTERNAL_DATA = 1n << 2n
const MOST_BYTES = 1n << 53n

function imageError(where: string, what: string, hint?: string): LeetError {
  return new LeetError({ code: 'LEET_E_IMAGE', where, what, ...(hint ? { hint } : {}) })
}
