// The image store below the user's cache directory: files that are complete or not there at all, named by their
// content, shared by all jobs and removed by nobody but the user. Writers may race: the first to finish wins.
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmSync, type Stats, statSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm, utimes } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import {
  identify,
  isRunning,
  isSystemError,
  LeetError,
  systemReason,
  usageError,
} from '../../common/index.ts'
import { thisPlace } from '../journal/journal.ts'
import type { Environment } from './inspect.ts'

/** `$XDG_CACHE_HOME/leet`, else `~/.cache/leet`. Without either in `env` it is a usage error. */
export function cacheDirectory(env: Environment): string {
  // The specification says that relative paths are to be ignored.
  const given = env.XDG_CACHE_HOME
  if (given && isAbsolute(given)) return join(given, 'leet')
  if (env.HOME && isAbsolute(env.HOME)) return join(env.HOME, '.cache', 'leet')
  throw usageError('there is no place for images', 'set XDG_CACHE_HOME or HOME', 'HOME')
}

/** Where things of one kind are kept and made. */
export class ImageStore {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  path(...names: string[]): string {
    return join(this.root, ...names)
  }

  /**
   * Makes a directory in one step: `build` fills a temporary one and says which name it gets. When that name is there
   * already, what was built is dropped. Gives the name.
   */
  async place(kind: string, build: (directory: string) => Promise<string>): Promise<string> {
    const temporary = await this.#prepare(kind)
    try {
      const name = await build(temporary)
      const target = this.path(kind, name)
      if (!existsSync(target)) {
        await rename(temporary, target).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
        })
      }
      return name
    } catch (error) {
      throw this.#explained(error)
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  /** Remembers a short text under a name; of two writers the last wins. */
  async remember(kind: string, name: string, text: string): Promise<void> {
    const temporary = await this.#prepare(kind)
    try {
      const file = join(temporary, 'text')
      await writeDurably(file, text)
      await rename(file, this.path(kind, name))
    } catch (error) {
      throw this.#explained(error)
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  /** What was remembered, if anything. */
  async recall(kind: string, name: string): Promise<string | undefined> {
    return readFile(this.path(kind, name), 'utf8').catch(() => undefined)
  }

  /** All names of a kind. */
  names(kind: string): string[] {
    try {
      return readdirSync(this.path(kind))
    } catch {
      return [] // nothing of the kind yet
    }
  }

  /** Forgets what was remembered under a name, if anything. */
  async forget(kind: string, name: string): Promise<void> {
    await rm(this.path(kind, name), { force: true })
  }

  /**
   * Removes a directory, which is gone for others in one step: nobody finds half of it. Gives the bytes that its files had; 0
   * when it was not there, or another was faster.
   */
  async discard(kind: string, name: string): Promise<number> {
    const aside = this.#temporary()
    try {
      await mkdir(this.path(TEMPORARY), { recursive: true, mode: 0o700 })
      await rename(this.path(kind, name), aside)
      const size = bytesIn(aside)
      await rm(aside, { recursive: true, force: true })
      return size
    } catch (error) {
      if (isSystemError(error) && error.code === 'ENOENT') return 0
      throw this.#explained(error)
    }
  }

  /** Says by the time of a file that something was used just now. Where that cannot be written, it is not known later. */
  async touch(kind: string, name: string): Promise<void> {
    try {
      await mkdir(this.path(kind), { recursive: true, mode: 0o700 })
      const path = this.path(kind, name)
      await (await open(path, 'a', 0o600)).close()
      const now = new Date()
      await utimes(path, now, now)
    } catch {
      // A disk that is full, or the store of somebody else: no job fails because of that.
    }
  }

  /** When it was touched last. */
  touched(kind: string, name: string): Date | undefined {
    return statsOf(this.path(kind, name))?.mtime
  }

  #temporary(): string {
    const self = identify(process.pid)
    const random = randomBytes(8).toString('hex')
    return this.path(TEMPORARY, [placeName(), process.pid, self?.startTime ?? 0, random].join('.'))
  }

  // The directory for a kind, and a temporary one.
  async #prepare(kind: string): Promise<string> {
    try {
      await mkdir(this.path(kind), { recursive: true, mode: 0o700 })
      removeStaleImages(this.root)
      const path = this.#temporary()
      await mkdir(path, { recursive: true, mode: 0o700 })
      return path
    } catch (error) {
      throw this.#explained(error)
    }
  }

  // A home directory that is full or cannot be written is no bug. A write does not say its path.
  #explained(error: unknown): unknown {
    if (!isSystemError(error)) return error
    const { path = this.root } = error
    if (!path.startsWith(this.root) && !this.root.startsWith(path)) return error
    return new LeetError({
      code: 'LEET_E_IMAGE_STORE',
      what: 'images cannot be kept here',
      where: this.root,
      why: systemReason(error),
      hint: '`leet image prune` makes room; XDG_CACHE_HOME names another directory',
      cause: error,
    })
  }
}

/** Kinds that images of all guests have: their names, what is remembered of them, and when one was used last. */
export const NAMES = 'by-name'
export const ABOUT = 'about'
export const USED = 'used'

/** What the system says of a path; undefined where nothing is, or is any more. */
export function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined // not to be seen by this user
  }
}

/** Bytes of all files in a directory. */
export function bytesIn(directory: string): number {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
      const stats = statsOf(join(directory, name))
      return sum + (stats?.isFile() ? stats.size : 0)
    }, 0)
  } catch {
    return 0 // it went while it was looked at
  }
}

const TEMPORARY = 'unfinished'
/** Nobody composes as long as this, wherever. */
const ABANDONED_MS = 86_400_000

/**
 * Removes what composers that no longer run left half made below `root`; part of every compose, and for the reaper.
 * Home directories are shared by nodes: of a process elsewhere only its age can be known.
 */
export function removeStaleImages(root: string): void {
  const directory = join(root, TEMPORARY)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(directory)) {
    const [place, pid, startTime] = name.split('.')
    const path = join(directory, name)
    const inUse =
      place === placeName()
        ? isRunning({ pid: Number(pid), startTime: Number(startTime) })
        : Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < ABANDONED_MS
    if (!inUse) rmSync(path, { recursive: true, force: true })
  }
}

/** The host, boot and pid namespace in which pids of this process mean something. */
function placeName(): string {
  return createHash('sha256').update(JSON.stringify(thisPlace())).digest('hex').slice(0, 16)
}

/** Writes a new file and waits until it is on the disk: a name in the store must never lead to half a file. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}
