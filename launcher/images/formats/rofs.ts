// ROFS, the read-only file system that OSv boots from: laid out by a pure function, streamed to a file.
// Format (OSv v0.57.0-398-g0e34e4dc, fs/rofs/rofs.hh; little-endian, blocks of 512 bytes): block 0 is the superblock,
// eight u64 (magic, version, block size, first block and length in blocks of the structure area, number of directory
// entries, of symlinks, of inodes); file data from block 1, each file padded to a block; then the structure area with
// three tables without padding: directory entries (u64 inode, u16 length, name), symlinks (u16 length, target), inodes
// (u64 mode, number, offset, count). Inode numbers are index + 1 and the root is inode 1. Lengths count bytes of
// UTF-8: both of OSv's and Capstan's writers count characters and garble other names.
import { closeSync, fdatasync, openSync, read, readSync, write, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { LeetError } from '../../../common/index.ts'
import { changedFile } from './tree-entry.ts'

/** What stands at one path of a file system. Paths are absolute and normal; parent directories need not be given. */
export type RofsEntry =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | { readonly kind: 'file'; readonly path: string; readonly content: RofsContent }

/** Bytes of a file: given, or read from a file of this machine when the image is written. */
export type RofsContent = { readonly bytes: Uint8Array } | { readonly host: string; readonly size: number }

/** Where everything goes: computed before anything is written. */
export interface RofsLayout {
  /** File data in the order of the image, with the block each begins at. */
  readonly files: readonly { readonly path: string; readonly block: number; readonly content: RofsContent }[]
  readonly superblock: Buffer
  /** The three tables, padded to a block. */
  readonly structure: Buffer
  readonly structureBlock: number
  /** Length of the file system in blocks. */
  readonly blocks: number
}

const BLOCK = 512
const MAGIC = 0xdeadbeadn
const MODE = { directory: 0x4000, file: 0x8000, symlink: 0xa000 } as const
const INODE_SIZE = 32
/** Names and targets have a u16 length. */
const MAX_NAME = 65_535

interface Node {
  readonly entry: RofsEntry
  readonly children: Map<string, Node>
}

/** Lays out a file system. The same entries in any order give the same bytes. Two things at one path are refused. */
export function layoutRofs(entries: readonly RofsEntry[]): RofsLayout {
  const root = treeOf(entries)
  const names: Buffer[] = []
  const targets: Buffer[] = []
  const inodes: Buffer[] = []
  const files: { path: string; block: number; content: RofsContent }[] = []
  let nextBlock = 1
  let entryCount = 0
  // Breadth first: the entries of one directory are contiguous, and the numbers of its children are known in advance.
  const queue: Node[] = [root]
  for (let index = 0; index < queue.length; index++) {
    const { entry, children } = queue[index] as Node
    let offset: number
    let count: number
    if (entry.kind === 'file') {
      offset = nextBlock
      count = sizeOf(entry.content)
      files.push({ path: entry.path, block: nextBlock, content: entry.content })
      nextBlock += Math.ceil(count / BLOCK)
    } else if (entry.kind === 'symlink') {
      offset = targets.length
      count = 1
      targets.push(lengthPrefixed(entry.target, entry.path))
    } else {
      offset = entryCount
      count = children.size
      const sorted = [...children].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      for (const [name, child] of sorted) {
        const number = Buffer.alloc(8)
        number.writeBigUInt64LE(BigInt(queue.length + 1))
        names.push(number, lengthPrefixed(name, entry.path))
        entryCount++
        queue.push(child)
      }
    }
    const inode = Buffer.alloc(INODE_SIZE)
    for (const [i, value] of [MODE[entry.kind], index + 1, offset, count].entries()) {
      inode.writeBigUInt64LE(BigInt(value), i * 8)
    }
    inodes.push(inode)
  }
  const tables = Buffer.concat([...names, ...targets, ...inodes])
  const structureBlocks = Math.ceil(tables.length / BLOCK)
  const superblock = Buffer.alloc(BLOCK)
  const numbers = [1, BLOCK, nextBlock, structureBlocks, entryCount, targets.length, inodes.length]
  superblock.writeBigUInt64LE(MAGIC, 0)
  for (const [i, value] of numbers.entries()) superblock.writeBigUInt64LE(BigInt(value), 8 + i * 8)
  return {
    files,
    superblock,
    structure: Buffer.concat([tables, Buffer.alloc(structureBlocks * BLOCK - tables.length)]),
    structureBlock: nextBlock,
    blocks: nextBlock + structureBlocks,
  }
}

/** First sector of the partition in a disk that `writeRofsDisk` makes: 4 KiB, so that host pages are not straddled. */
const ROFS_PARTITION_SECTOR = 8

/**
 * Writes a disk with the file system as its second partition, which OSv mounts as /dev/vblk0.1 (loader.cc), to a new file
 * of mode 0600, and brings it to the disk. A partition is recognised by the signature 0x55AA, a type and a starting
 * sector other than 0 (fs/devfs/device.cc).
 */
export async function writeRofsDisk(path: string, layout: RofsLayout): Promise<void> {
  const fd = openSync(path, 'wx', 0o600)
  const disk = new DiskWriter(fd)
  try {
    const start = ROFS_PARTITION_SECTOR * BLOCK
    disk.write(masterBootRecord(layout.blocks), 0)
    disk.write(layout.superblock, start)
    const files = layout.files[Symbol.iterator]()
    const copying = async () => {
      const buffer = Buffer.allocUnsafe(COPY_BYTES)
      for (const { block, content } of files) {
        const position = start + block * BLOCK
        if ('bytes' in content) disk.write(content.bytes, position)
        else await disk.copy(content, position, buffer)
      }
    }
    const copies = await Promise.allSettled([copying(), copying()])
    const failed = copies.find((copy) => copy.status === 'rejected')
    if (failed) throw failed.reason
    disk.write(layout.structure, start + layout.structureBlock * BLOCK)
  } finally {
    await disk.flush().finally(() => closeSync(fd))
  }
}

function masterBootRecord(blocks: number): Buffer {
  const record = Buffer.alloc(BLOCK)
  const entry = 0x1be + 16
  record[entry + 2] = 1
  record[entry + 4] = 0x83
  record.writeUInt32LE(ROFS_PARTITION_SECTOR, entry + 8)
  record.writeUInt32LE(blocks, entry + 12)
  record[510] = 0x55
  record[511] = 0xaa
  return record
}

function treeOf(entries: readonly RofsEntry[]): Node {
  const root: Node = { entry: { kind: 'directory', path: '/' }, children: new Map() }
  for (const entry of entries) {
    if (entry.path === '/' && entry.kind === 'directory') continue
    const names = entry.path.split('/').slice(1)
    if (
      !entry.path.startsWith('/') ||
      names.some((n) => n === '' || n === '.' || n === '..' || n.includes('\0'))
    ) {
      throw rofsError(entry.path, 'is not an absolute, normal path')
    }
    let parent = root
    for (const [depth, name] of names.entries()) {
      if (parent.entry.kind !== 'directory') {
        throw rofsError(entry.path, `lies below a ${parent.entry.kind}, ${parent.entry.path}`)
      }
      const known = parent.children.get(name)
      const last = depth === names.length - 1
      if (last && known && !(known.entry.kind === 'directory' && entry.kind === 'directory')) {
        throw rofsError(entry.path, 'is there twice')
      }
      const next: Node = known ?? {
        entry: last ? entry : { kind: 'directory', path: `/${names.slice(0, depth + 1).join('/')}` },
        children: new Map(),
      }
      parent.children.set(name, next)
      parent = next
    }
  }
  return root
}

function lengthPrefixed(text: string, where: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length > MAX_NAME) throw rofsError(where, `has a name of more than ${MAX_NAME} bytes`)
  const length = Buffer.alloc(2)
  length.writeUInt16LE(bytes.length)
  return Buffer.concat([length, bytes])
}

function sizeOf(content: RofsContent): number {
  return 'bytes' in content ? content.bytes.length : content.size
}

/** Small enough for the processor's cache. */
const COPY_BYTES = 512 << 10
/** After so many bytes what has been written is sent to the disk, while more is written. */
const FLUSH_BYTES = 32 << 20

const readAsync = promisify(read)
const writeAsync = promisify(write)
const flushAsync = promisify(fdatasync)

/** A file that is written in parts, in any order; what is left out between them reads as zeros. */
class DiskWriter {
  readonly #fd: number
  #unflushed = 0
  #flushing: Promise<void> | undefined

  constructor(fd: number) {
    this.#fd = fd
  }

  write(bytes: Uint8Array, position: number): void {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(this.#fd, bytes, at, bytes.length - at, position + at)
    }
    this.#count(bytes.length)
  }

  /** A file of this machine; a large one by other threads, so that two can be copied at once. */
  async copy(
    { host, size }: { readonly host: string; readonly size: number },
    position: number,
    buffer: Buffer,
  ): Promise<void> {
    const fd = openSync(host, 'r')
    try {
      for (let at = 0; at < size; ) {
        const wanted = Math.min(size - at, buffer.length)
        const isSmall = size <= buffer.length
        const length = isSmall
          ? readSync(fd, buffer, 0, wanted, at)
          : (await readAsync(fd, buffer, 0, wanted, at)).bytesRead
        if (length === 0) throw changedFile(host)
        if (isSmall) this.write(buffer.subarray(0, length), position + at)
        else await this.#writeLater(buffer.subarray(0, length), position + at)
        at += length
      }
    } finally {
      closeSync(fd)
    }
  }

  /** Brings everything to the disk. */
  async flush(): Promise<void> {
    await this.#flushing
    await flushAsync(this.#fd)
  }

  async #writeLater(bytes: Uint8Array, position: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      at += (await writeAsync(this.#fd, bytes, at, bytes.length - at, position + at)).bytesWritten
    }
    this.#count(bytes.length)
  }

  #count(length: number): void {
    this.#unflushed += length
    if (this.#unflushed < FLUSH_BYTES || this.#flushing) return
    this.#unflushed = 0
    // An error of the disk need not be told here: the last flush meets it, too.
    const over = () => {
      this.#flushing = undefined
    }
    this.#flushing = flushAsync(this.#fd).then(over, over)
  }
}

function rofsError(where: string, what: string): LeetError {
  return new LeetError({ code: 'LEET_E_IMAGE_FILE', where, what })
}
