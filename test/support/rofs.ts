// Reads ROFS back, the file system that OSv boots from, as the kernel would (fs/rofs/rofs.hh; the format is told beside the
// writer, launcher/images/formats/rofs.ts).

const BLOCK = 512
const MAGIC = 0xdeadbeadn
const MODE = { directory: 0x4000, file: 0x8000, symlink: 0xa000 } as const
const INODE_SIZE = 32
/** Where the partition with the file system begins. */
const START = 8 * BLOCK

/** One file or directory of a file system that was read back. */
export type RofsNode =
  | { readonly kind: 'directory' }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'file'; readonly size: number; read(): Buffer }

/** Reads the file system of a disk that `writeRofsDisk` made; throws when it makes no sense. Keys are absolute paths, `/` first. */
export function readRofs(disk: Buffer): Map<string, RofsNode> {
  const bytes = (offset: number, length: number) => {
    const end = START + offset + length
    if (!Number.isSafeInteger(end) || end > disk.length) throw new Error('it is cut short')
    return disk.subarray(START + offset, START + offset + length)
  }
  const superblock = bytes(0, BLOCK)
  if (superblock.readBigUInt64LE(0) !== MAGIC) throw new Error('it has another magic number')
  const field = (index: number) => numberAt(superblock, index * 8)
  const [firstBlock, blockCount, entryCount, linkCount, inodeCount] = [3, 4, 5, 6, 7].map(field) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const tables = bytes(firstBlock * BLOCK, blockCount * BLOCK)
  let at = 0
  const take = (length: number) => {
    if (at + length > tables.length) throw new Error('its tables are cut short')
    at += length
    return tables.subarray(at - length, at)
  }
  const entries: { inode: number; name: string }[] = []
  for (let i = 0; i < entryCount; i++) {
    const inode = numberAt(take(8), 0)
    entries.push({ inode, name: take(take(2).readUInt16LE(0)).toString('utf8') })
  }
  const links: string[] = []
  for (let i = 0; i < linkCount; i++) links.push(take(take(2).readUInt16LE(0)).toString('utf8'))
  const inodesAt = at
  const nodes = new Map<string, RofsNode>()
  const seen = new Set<number>()
  // A stack, not recursion: an image may nest deeper than the machine's stack.
  const pending: { readonly number: number; readonly path: string }[] = [{ number: 1, path: '/' }]
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { number, path } = next
    if (number < 1 || number > inodeCount || seen.has(number)) throw new Error('its inodes are not a tree')
    seen.add(number)
    at = inodesAt + (number - 1) * INODE_SIZE
    const inode = take(INODE_SIZE)
    const [mode, offset, count] = [numberAt(inode, 0), numberAt(inode, 16), numberAt(inode, 24)] as const
    if (mode === MODE.file) {
      nodes.set(path, { kind: 'file', size: count, read: () => bytes(offset * BLOCK, count) })
    } else if (mode === MODE.symlink) {
      const target = links[offset]
      if (target === undefined) throw new Error('a symlink has no target')
      nodes.set(path, { kind: 'symlink', target })
    } else if (mode === MODE.directory) {
      nodes.set(path, { kind: 'directory' })
      if (offset + count > entries.length) throw new Error('a directory lies outside its table')
      for (const { inode: child, name } of entries.slice(offset, offset + count).reverse()) {
        pending.push({ number: child, path: `${path === '/' ? '' : path}/${name}` })
      }
    } else throw new Error('an inode has an unknown mode')
  }
  return nodes
}

function numberAt(bytes: Buffer, offset: number): number {
  const value = bytes.readBigUInt64LE(offset)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error('a number is out of range')
  return Number(value)
}
