// The "new ASCII" cpio format (newc), which the Linux kernel unpacks into its first root file system
// (Documentation/driver-api/early-userspace/buffer-format.rst). Written in memory: an initramfs of ours is a few MiB.

/** One entry of an archive, owned by root. */
export type CpioEntry =
  | { readonly path: string; readonly kind: 'directory'; readonly mode: number }
  | { readonly path: string; readonly kind: 'file'; readonly mode: number; readonly content: Uint8Array }
  | { readonly path: string; readonly kind: 'symlink'; readonly target: string }
  | {
      readonly path: string
      readonly kind: 'character'
      readonly mode: number
      readonly major: number
      readonly minor: number
    }

const TYPE_BITS = { directory: 0o040000, file: 0o100000, symlink: 0o120000, character: 0o020000 } as const
const TRAILER = 'TRAILER!!!'
/** Archives are padded to this, as cpio(1) does; the kernel does not mind. */
const BLOCK = 512

/**
 * An archive of these entries, in their order (parents first). Paths are without a leading slash. Times are zero,
 * inode numbers count from 1: the same entries give the same bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  let length = 0
  const push = (part: Buffer) => {
    const padding = (4 - (part.length % 4)) % 4
    parts.push(part, Buffer.alloc(padding))
    length += part.length + padding
  }
  const entry = (
    name: string,
    inode: number,
    mode: number,
    body: Buffer,
    device: readonly [number, number],
  ) => {
    const bytes = Buffer.from(`${name}\0`)
    const fields = [
      inode,
      mode,
      0, // uid
      0, // gid
      1, // nlink
      0, // mtime
      body.length,
      0, // device of the file system: major
      0, // minor
      device[0],
      device[1],
      bytes.length,
      0, // checksum, unused in this format
    ]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    push(Buffer.concat([Buffer.from(header), bytes]))
    push(body)
  }
  entries.forEach((item, i) => {
    const mode = TYPE_BITS[item.kind] | (item.kind === 'symlink' ? 0o777 : item.mode)
    const body =
      item.kind === 'file'
        ? Buffer.from(item.content.buffer, item.content.byteOffset, item.content.byteLength)
        : Buffer.from(item.kind === 'symlink' ? item.target : '')
    entry(item.path, i + 1, mode, body, item.kind === 'character' ? [item.major, item.minor] : [0, 0])
  })
  entry(TRAILER, 0, 0, Buffer.alloc(0), [0, 0])
  parts.push(Buffer.alloc((BLOCK - (length % BLOCK)) % BLOCK))
  return Buffer.concat(parts)
}
