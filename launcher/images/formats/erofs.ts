// EROFS, the kernel's read-only file system for images (fs/erofs/erofs_fs.h, Documentation/filesystems/erofs.rst),
// written directly: no helper program, no root, the same bytes for the same tree. Nothing is compressed, because an
// emulated guest decompresses at a hundredth of the speed at which its host reads; each file's data is one run of blocks.
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { abortReason, LeetError, type WaitLimits } from '../../../common/index.ts'
import { changedFile, type FileContent, stampOf, type TreeEntry } from './tree-entry.ts'

const BLOCK = 4096
const MAGIC = 0xe0f5e1e2
const SUPERBLOCK_OFFSET = 1024
/** Inodes begin in this block, at multiples of SLOT; an inode's number (nid) is its slot. */
const META_BLOCK = 1
const SLOT = 32
/** Extended inodes: 64-bit sizes, 32-bit link counts, a time of their own. */
const INODE_SIZE = 64
const LAYOUT_PLAIN = 0
const LAYOUT_INLINE = 2
const DIRENT_SIZE = 12
const MODE_BITS = { directory: 0o040000, file: 0o100000, symlink: 0o120000 } as const
const DIRENT_TYPE = { file: 1, directory: 2, symlink: 7 } as const

/** By this name in the superblock the guest's init knows the disk. At most 16 bytes. */
const DISK_LABEL = 'leet-root'

interface Node {
  readonly path: string
  readonly entry: TreeEntry
  readonly children: Node[]
  readonly parent?: Node
  slot: number
  /** First block of its data, when it has blocks. */
  block: number
}

/** Size of the image in bytes and the SHA-256 of its bytes. */
export interface WrittenImage {
  readonly size: number
  readonly sha256: string
}

/**
 * Writes the tree to `path`, a new file, and waits until it is on the disk. A file that changed since it was added to
 * the tree is `LEET_E_IMAGE_CHANGED`. Memory: a few hundred bytes per entry and one buffer.
 */
export async function writeErofs(
  path: string,
  entries: ReadonlyMap<string, TreeEntry>,
  limits: WaitLimits,
): Promise<WrittenImage> {
  const nodes = nodesOf(entries)
  const slots = placeInodes(nodes)
  const directories = nodes
    .filter((node) => node.entry.kind === 'directory')
    .map((node) => ({ node, bytes: directoryBlocks(node) }))
  let next = META_BLOCK + Math.ceil((slots * SLOT) / BLOCK)
  for (const { node, bytes } of directories) {
    node.block = next
    next += Math.ceil(bytes.length / BLOCK)
  }
  const files = nodes.filter((node) => node.entry.kind === 'file' && node.entry.size > 0)
  for (const node of files) {
    node.block = next
    if (node.entry.kind === 'file') next += Math.ceil(node.entry.size / BLOCK)
  }
  if (next > 0xffff_fffe) throw new LeetError({ code: 'LEET_E_IMAGE_FILE', what: 'the image is too large' })
  const sizes = new Map(directories.map(({ node, bytes }) => [node, bytes.length]))
  const file = await open(path, 'wx', 0o600)
  try {
    const out = new BlockWriter(file, limits)
    await out.write(superblock(nodes[0] as Node, nodes.length, next))
    await out.write(inodeTable(nodes, slots, sizes))
    for (const { bytes } of directories) {
      await out.write(bytes)
      await out.align()
    }
    for (const { entry } of files) {
      if (entry.kind !== 'file') continue
      await out.content(entry.content, entry.size)
      await out.align()
    }
    const written = await out.end()
    await file.sync()
    return written
  } finally {
    await file.close()
  }
}

/** The root and all entries as nodes, in the order of their paths' bytes; the root first. */
function nodesOf(entries: ReadonlyMap<string, TreeEntry>): Node[] {
  const root: Node = { path: '/', entry: { kind: 'directory', mode: 0o755 }, children: [], slot: 0, block: 0 }
  const byPath = new Map([['/', root]])
  const nodes = [root]
  for (const path of [...entries.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    const parent = byPath.get(dirname(path)) as Node
    const node: Node = {
      path,
      entry: entries.get(path) as TreeEntry,
      children: [],
      parent,
      slot: 0,
      block: 0,
    }
    parent.children.push(node)
    byPath.set(path, node)
    nodes.push(node)
  }
  return nodes
}

/** Gives every inode its place: neither an inode nor the target of a symbolic link behind it crosses a block. */
function placeInodes(nodes: readonly Node[]): number {
  let offset = 0
  for (const node of nodes) {
    const size = INODE_SIZE + inlineData(node).length
    if (size > BLOCK) {
      throw new LeetError({
        code: 'LEET_E_IMAGE_FILE',
        where: node.path,
        what: 'its link target is too long',
      })
    }
    if ((offset % BLOCK) + size > BLOCK) offset = Math.ceil(offset / BLOCK) * BLOCK
    node.slot = offset / SLOT
    offset = Math.ceil((offset + size) / SLOT) * SLOT
  }
  return offset / SLOT
}

function inlineData({ entry }: Node): Buffer {
  return Buffer.from(entry.kind === 'symlink' ? entry.target : '')
}

/** Blocks of entries sorted by name, `.` and `..` among them: entries first, then their names. */
function directoryBlocks(node: Node): Buffer {
  const entries = [
    { name: Buffer.from('.'), to: node },
    { name: Buffer.from('..'), to: node.parent ?? node },
    ...node.children.map((child) => ({ name: Buffer.from(basename(child.path)), to: child })),
  ].sort((a, b) => Buffer.compare(a.name, b.name))
  const blocks: Buffer[] = []
  for (let first = 0; first < entries.length; ) {
    let last = first
    let size = 0
    for (; last < entries.length; last++) {
      const more = DIRENT_SIZE + (entries[last]?.name.length ?? 0)
      if (size + more > BLOCK) break
      size += more
    }
    const block = Buffer.alloc(last < entries.length ? BLOCK : size)
    let nameAt = (last - first) * DIRENT_SIZE
    entries.slice(first, last).forEach(({ name, to }, i) => {
      block.writeBigUInt64LE(BigInt(to.slot), i * DIRENT_SIZE)
      block.writeUInt16LE(nameAt, i * DIRENT_SIZE + 8)
      block.writeUInt8(DIRENT_TYPE[to.entry.kind], i * DIRENT_SIZE + 10)
      name.copy(block, nameAt)
      nameAt += name.length
    })
    blocks.push(block)
    first = last
  }
  return Buffer.concat(blocks)
}

function superblock(root: Node, inodes: number, blocks: number): Buffer {
  const block = Buffer.alloc(META_BLOCK * BLOCK)
  const at = (offset: number) => SUPERBLOCK_OFFSET + offset
  block.writeUInt32LE(MAGIC, at(0))
  block.writeUInt8(Math.log2(BLOCK), at(12))
  block.writeUInt16LE(root.slot, at(14))
  block.writeBigUInt64LE(BigInt(inodes), at(16))
  block.writeUInt32LE(blocks, at(36))
  block.writeUInt32LE(META_BLOCK, at(40))
  block.write(DISK_LABEL, at(64), 16, 'latin1')
  return block
}

function inodeTable(
  nodes: readonly Node[],
  slots: number,
  directorySizes: ReadonlyMap<Node, number>,
): Buffer {
  const table = Buffer.alloc(Math.ceil((slots * SLOT) / BLOCK) * BLOCK)
  nodes.forEach((node, index) => {
    const at = node.slot * SLOT
    const { entry } = node
    const inline = inlineData(node)
    const layout = entry.kind === 'symlink' ? LAYOUT_INLINE : LAYOUT_PLAIN
    const size =
      entry.kind === 'file'
        ? entry.size
        : entry.kind === 'symlink'
          ? inline.length
          : (directorySizes.get(node) as number)
    const links =
      entry.kind === 'directory' ? 2 + node.children.filter((c) => c.entry.kind === 'directory').length : 1
    table.writeUInt16LE(1 | (layout << 1), at) // extended inode
    table.writeUInt16LE(MODE_BITS[entry.kind] | (entry.kind === 'symlink' ? 0o777 : entry.mode), at + 4)
    table.writeBigUInt64LE(BigInt(size), at + 8)
    table.writeUInt32LE(node.block, at + 16)
    table.writeUInt32LE(index + 1, at + 20) // the number stat(2) shows
    table.writeBigUInt64LE(BigInt(entry.kind === 'file' ? entry.mtime : 0), at + 32)
    table.writeUInt32LE(links, at + 44)
    inline.copy(table, at + INODE_SIZE)
  })
  return table
}

/** Writes one stream of bytes, padded to blocks where asked, and hashes it. */
class BlockWriter {
  private readonly file: FileHandle
  private readonly limits: WaitLimits
  private readonly hash = createHash('sha256')
  private readonly buffer = Buffer.allocUnsafe(1 << 20)
  private fill = 0
  private size = 0

  constructor(file: FileHandle, limits: WaitLimits) {
    this.file = file
    this.limits = limits
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.fill === this.buffer.length) await this.flush()
      const part = bytes.subarray(at, at + this.buffer.length - this.fill)
      this.buffer.set(part, this.fill)
      this.fill += part.length
      at += part.length
    }
    this.size += bytes.length
  }

  async align(): Promise<void> {
    await this.write(Buffer.alloc((BLOCK - (this.size % BLOCK)) % BLOCK))
  }

  /** The bytes of a file, read straight into the buffer. */
  async content(content: FileContent, size: number): Promise<void> {
    if (content.kind === 'bytes') return this.write(content.bytes)
    const source = await open(content.path, 'r')
    try {
      if (stampOf(await source.stat()) !== content.stamp) throw changedFile(content.path)
      for (let left = size; left > 0; ) {
        if (this.fill === this.buffer.length) await this.flush()
        const room = Math.min(left, this.buffer.length - this.fill)
        const { bytesRead } = await source.read(this.buffer, this.fill, room, size - left)
        if (bytesRead === 0) throw changedFile(content.path)
        this.fill += bytesRead
        this.size += bytesRead
        left -= bytesRead
      }
      if (stampOf(await source.stat()) !== content.stamp) throw changedFile(content.path)
    } finally {
      await source.close()
    }
  }

  async end(): Promise<WrittenImage> {
    await this.flush()
    return { size: this.size, sha256: this.hash.digest('hex') }
  }

  private async flush(): Promise<void> {
    const { signal, deadline } = this.limits
    if (signal?.aborted) throw abortReason(signal)
    if (deadline.expired) {
      throw new LeetError({ code: 'LEET_E_DEADLINE', what: 'the image was not written in time' })
    }
    const bytes = this.buffer.subarray(0, this.fill)
    this.hash.update(bytes)
    for (let at = 0; at < bytes.length; ) {
      at += (await this.file.write(bytes, at)).bytesWritten
    }
    this.fill = 0
  }
}
