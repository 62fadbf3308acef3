// The file tree of an image before it is written: directories, files and symbolic links by absolute path, all of them
// root's. Host files keep their paths, with every symbolic link on the way, so that the loader in the guest finds what it
// finds here. Nothing is read but metadata; contents are read when the image is written.
import { lstatSync, readdirSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { LeetError } from '../../common/index.ts'
import { stampOf, type TreeEntry } from './formats/index.ts'

const MAX_LINKS = 40
const MAX_ENTRIES = 1_000_000

/** A tree that only grows: an entry that is there already stays as it is. */
export class ImageTree {
  /** By absolute path, without the root itself. Parents are there before what lies in them. */
  readonly entries = new Map<string, TreeEntry>()
  /** Paths of the host of which something is in the tree, or which led there. */
  readonly sources = new Set<string>()
  private readonly leftOut: readonly string[]

  /** What lies below a directory of `leftOut` is not added by `host`; the directory itself is, as a mount point. */
  constructor(leftOut: readonly string[] = []) {
    this.leftOut = leftOut.map((path) => normalize(path).replace(/\/$/, ''))
  }

  /** Whether the guest has this path by a mount, so that the image need not have it. */
  isLeftOut(path: string): boolean {
    return this.leftOut.some((directory) => path.startsWith(`${directory}/`))
  }

  /** Makes a directory and its parents, through the tree's symbolic links. Gives its real path in the tree. */
  directory(path: string, mode = 0o755): string {
    const real = this.follow(path)
    if (real === '/') return real
    const entry = this.entries.get(real)
    if (entry?.kind === 'directory') return real
    if (entry) throw treeError(path, 'is a file already')
    this.directory(dirname(real))
    this.put(real, { kind: 'directory', mode })
    return real
  }

  /** A file made here. */
  file(path: string, bytes: string | Uint8Array, mode = 0o644): void {
    const content = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    this.place(path, {
      kind: 'file',
      mode,
      size: content.length,
      mtime: 0,
      content: { kind: 'bytes', bytes: content },
    })
  }

  symlink(path: string, target: string): void {
    this.place(path, { kind: 'symlink', target })
  }

  /** Whether the path leads to a file or directory of the tree. */
  has(path: string): boolean {
    const real = this.follow(path)
    return real === '/' || this.entries.has(real)
  }

  /**
   * Adds a path of the host under the same path, with every symbolic link that leads to it. A directory comes with
   * all that is in it. What does not exist is `LEET_E_IMAGE_FILE`.
   */
  host(path: string): void {
    let rest = normalize(path).split('/').filter(Boolean)
    let at = '/'
    for (let links = 0; rest.length > 0; ) {
      const next = join(at, rest[0] as string)
      if (this.isLeftOut(next)) {
        this.directory(dirname(next))
        return
      }
      const stats = statOf(next)
      if (!stats.isSymbolicLink()) {
        at = next
        rest = rest.slice(1)
        if (rest.length > 0) this.directory(at)
        else this.add(at, at, stats)
        continue
      }
      if (++links > MAX_LINKS) throw treeError(path, 'leads through too many symbolic links')
      const target = readlinkSync(next)
      this.put(next, { kind: 'symlink', target })
      this.sources.add(next)
      rest = [
        ...join(target.startsWith('/') ? '/' : at, target)
          .split('/')
          .filter(Boolean),
        ...rest.slice(1),
      ]
      at = '/'
    }
  }

  /** Adds a file or directory of the host under another path; symbolic links inside are kept as they are. */
  copy(source: string, destination: string): void {
    const stats = statOf(source, true)
    this.add(source, this.follow(destination), stats)
  }

  /** Adds what `stats` says is at `source`. `path` has no symbolic links of the tree in it. */
  private add(source: string, path: string, stats: Stats): void {
    this.sources.add(source)
    if (stats.isSymbolicLink()) this.place(path, { kind: 'symlink', target: readlinkSync(source) })
    else if (stats.isDirectory()) {
      this.directory(path)
      for (const name of readdirSync(source).sort()) {
        const inner = join(source, name)
        if (!this.isLeftOut(join(path, name))) this.add(inner, join(path, name), statOf(inner))
      }
    } else if (stats.isFile()) {
      this.place(path, {
        kind: 'file',
        // All is root's in the image, and the guest is the user's alone: what the user can read here can be read there.
        mode: stats.mode & 0o111 ? 0o755 : 0o644,
        size: stats.size,
        mtime: Math.max(0, Math.floor(stats.mtimeMs / 1000)),
        content: { kind: 'host', path: source, stamp: stampOf(stats) },
      })
    }
    // Sockets, pipes and devices have no content that an image could keep.
  }

  private place(path: string, entry: TreeEntry): void {
    const real = join(this.directory(dirname(normalize(path))), normalize(path).split('/').at(-1) as string)
    this.put(real, entry)
  }

  private put(path: string, entry: TreeEntry): void {
    if (this.entries.has(path)) return
    if (this.entries.size >= MAX_ENTRIES) throw treeError(path, `is one file too many (${MAX_ENTRIES})`)
    const parent = dirname(path)
    if (parent !== '/' && !this.entries.has(parent)) this.directory(parent)
    this.entries.set(path, entry)
  }

  /** The path with the tree's symbolic links followed; parts that are not in the tree stay as they are. */
  private follow(path: string): string {
    let rest = normalize(path).split('/').filter(Boolean)
    let at = '/'
    for (let links = 0; rest.length > 0; ) {
      const next = join(at, rest[0] as string)
      const entry = this.entries.get(next)
      if (entry?.kind !== 'symlink') {
        at = next
        rest = rest.slice(1)
        continue
      }
      if (++links > MAX_LINKS) throw treeError(path, 'leads through too many symbolic links')
      rest = [
        ...join(entry.target.startsWith('/') ? '/' : at, entry.target)
          .split('/')
          .filter(Boolean),
        ...rest.slice(1),
      ]
      at = '/'
    }
    return at
  }
}

function statOf(path: string, follow = false): Stats {
  try {
    return follow ? statSync(path) : lstatSync(path)
  } catch (error) {
    throw treeError(path, 'cannot be found', error)
  }
}

function treeError(where: string, what: string, cause?: unknown): LeetError {
  return new LeetError({ code: 'LEET_E_IMAGE_FILE', where, what, cause })
}
