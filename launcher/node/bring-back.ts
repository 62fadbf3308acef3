// Results brought from a guest's copy of a directory back into the directory itself. No byte of the user's is ever lost: a file
// comes back only where the ranks changed it, it is whole when it appears, and what somebody else changed meanwhile, on the
// node or in another guest, is never overwritten: then both are kept.
import { createHash } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import {
  chmod,
  copyFile,
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  stat,
  symlink,
  unlink,
  utimes,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LeetError, messageOf } from '../../common/index.ts'

/** A file of the directory as it was when it was copied. */
export interface FileBefore {
  /** Bytes. */
  readonly size: number
  /** Of its last change, in milliseconds since 1970, with fractions. */
  readonly modified: number
  /** SHA-256 of its bytes, where the copy's time does not tell whether it was changed. */
  readonly digest?: string
}

/** What was copied. */
export interface CopiedDirectory {
  /** Files by their paths relative to the directory. */
  readonly files: ReadonlyMap<string, FileBefore>
}

/** What is to be brought back, and whose it is. */
export interface BringBackOptions {
  readonly before: CopiedDirectory
  /** Files, by relative path, that the guest has as it was given them: the copy may lack them. */
  readonly same?: ReadonlySet<string>
  /** The copy has nothing else but what was changed, whatever its times and sizes say. */
  readonly changedOnly?: boolean
  /** The guest's name: a file that cannot take its place is kept beside it as `NAME.GUEST`. */
  readonly guest: string
  /** Whether a file, by its relative path, is to come back. */
  readonly wants: (path: string) => boolean
  /** Ends it after the files that are on their way. */
  readonly signal: AbortSignal
}

/** What became of a directory's files; their paths are relative to it. */
export interface BroughtBack {
  readonly directory: string
  readonly brought: readonly string[]
  /** Somebody else changed `path`, too: what the guest has is at `kept`, an absolute path. */
  readonly conflicts: readonly { readonly path: string; readonly kept: string }[]
  /** The ranks removed them; they are still there. */
  readonly removed: readonly string[]
  /** Links that lead out of the directory: what a guest says is not trusted to name files elsewhere. */
  readonly left: readonly string[]
  /** What could not be brought back, with the reason: `path: reason`. */
  readonly failed: readonly string[]
}

/** Of file systems that know seconds only, and of clocks that differ. */
const YOUNG_MS = 2_000
const PIECE = 1 << 20
/** Files at a time. */
const PARALLEL = 8

/**
 * Brings what is new or changed in `copy` back into `directory`. Both are directories of this node. Rejects when `signal` fires:
 * what came until then has come.
 */
export async function bringBack(
  copy: string,
  directory: string,
  { before, same, changedOnly = false, guest, wants, signal }: BringBackOptions,
): Promise<BroughtBack> {
  const brought: string[] = []
  const conflicts: { path: string; kept: string }[] = []
  const left: string[] = []
  const failed: string[] = []
  const seen = new Set(same)
  const found: { from: string; path: string; now: Stats }[] = []
  /** What one file fails at is no reason to leave the others. */
  const tell = (path: string) => (error: unknown) => void failed.push(`${path}: ${messageOf(error)}`)

  async function visit(path: string): Promise<void> {
    for (const name of (await readdir(join(copy, path))).sort()) {
      signal.throwIfAborted()
      const inner = path === '' ? name : `${path}/${name}`
      const from = join(copy, inner)
      const now = await lstat(from)
      seen.add(inner)
      if (now.isDirectory()) {
        if (wants(inner)) await mkdir(join(directory, inner), { recursive: true }).catch(tell(inner))
        await visit(inner)
      } else if (wants(inner) && (now.isFile() || now.isSymbolicLink())) {
        found.push({ from, path: inner, now })
      }
    }
  }

  const inTurn = tasksInTurn()
  async function bring({ from, path, now }: (typeof found)[number]): Promise<void> {
    if (signal.aborted) return
    const outcome = now.isFile()
      ? await bringFile(from, path, now)
      : await bringLink(await readlink(from), path)
    if (outcome === 'brought') brought.push(path)
    else if (outcome === 'left') left.push(path)
    else if (outcome !== 'unchanged') conflicts.push({ path, kept: outcome.kept })
  }

  async function bringFile(from: string, path: string, now: Stats): Promise<Outcome> {
    const was = before.files.get(path)
    if (was && !changedOnly && (await isAsBefore(from, now, was))) return 'unchanged'
    // A link of the user's leads to the file that is meant.
    const target = await realpath(join(directory, path)).catch(() => join(directory, path))
    return inTurn(target, () => bringTo(target, from, now, was))
  }

  async function bringTo(
    target: string,
    from: string,
    now: Stats,
    was: FileBefore | undefined,
  ): Promise<Outcome> {
    const there = await stat(target).catch(() => undefined)
    if (there?.isFile() && there.size === now.size && (await sameBytes(from, target))) return 'unchanged'
    if (!there) await mkdir(dirname(target), { recursive: true })
    const temporary = `${target}.${guest}.part`
    await removeIfThere(temporary)
    try {
      await copyWhole(from, temporary, now.size)
      // Guests run as root and know nothing of the user's permissions.
      await chmod(temporary, there?.isFile() ? there.mode & 0o7777 : now.mode & 0o777 & ~process.umask())
      await utimes(temporary, now.atime, now.mtime)
      const mine = there?.isFile() && was?.size === there.size && was.modified === there.mtimeMs
      if (mine) {
        await rename(temporary, target)
        return 'brought'
      }
      if (!there && (await appear(temporary, target))) return 'brought'
      if (await sameBytes(from, target).catch(() => false)) return 'unchanged'
      return { kept: await keepBeside(temporary, target, from) }
    } finally {
      await removeIfThere(temporary)
    }
  }

  async function bringLink(to: string, path: string): Promise<Outcome> {
    if (!staysInside(path, to)) return 'left'
    const target = join(directory, path)
    await mkdir(dirname(target), { recursive: true })
    if (await makeLink(to, target)) return 'brought'
    if ((await readlink(target).catch(() => undefined)) === to) return 'unchanged'
    for (let number = 0; ; number++) {
      const kept = nameBeside(target, number)
      if (await makeLink(to, kept)) return { kept }
    }
  }

  /** The name under which a file is kept that cannot take its own. */
  async function keepBeside(temporary: string, target: string, from: string): Promise<string> {
    for (let number = 0; ; number++) {
      const kept = nameBeside(target, number)
      if (await appear(temporary, kept)) return kept
      if (await sameBytes(from, kept).catch(() => false)) return kept
    }
  }

  function nameBeside(target: string, number: number): string {
    return `${target}.${guest}${number === 0 ? '' : `.${number}`}`
  }

  await visit('')
  const { limitFunction } = await import('p-limit')
  const each = limitFunction(bring, { concurrency: PARALLEL })
  await Promise.all(found.map((one) => each(one).catch(tell(one.path))))
  signal.throwIfAborted()
  const removed = [...before.files.keys()].filter((path) => wants(path) && !seen.has(path))
  conflicts.sort((a, b) => (a.path < b.path ? -1 : 1))
  return { directory, brought: brought.sort(), conflicts, removed, left: left.sort(), failed: failed.sort() }
}

/** Runs tasks one after the other that have the same name: links may lead several names to one file. */
function tasksInTurn(): <T>(name: string, task: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>()
  return (name, task) => {
    const mine = (last.get(name) ?? Promise.resolve()).then(task)
    last.set(
      name,
      mine.catch(() => {}),
    )
    return mine
  }
}

type Outcome = 'brought' | 'unchanged' | 'left' | { readonly kept: string }

const isThere = (error: unknown) => (error as NodeJS.ErrnoException).code === 'EEXIST'

/**
 * Whether a link at `path`, relative to a directory, leads to something in that. Behind a name `..` may lead anywhere, since the
 * name may be a link itself.
 */
function staysInside(path: string, to: string): boolean {
  const names = to.split('/').filter((name) => name !== '' && name !== '.')
  const up = names.findIndex((name) => name !== '..')
  const rest = up < 0 ? [] : names.slice(up)
  const depth = path.split('/').length - 1
  return !to.startsWith('/') && names.length - rest.length <= depth && !rest.includes('..')
}

/** Makes a symbolic link unless something has its name: then false. */
async function makeLink(to: string, path: string): Promise<boolean> {
  try {
    await symlink(to, path)
    return true
  } catch (error) {
    if (isThere(error)) return false
    throw error
  }
}

async function isAsBefore(from: string, now: Stats, was: FileBefore): Promise<boolean> {
  if (was.size !== now.size) return false
  if (was.digest !== undefined) return was.digest === (await digestOf(from))
  return Math.floor(was.modified / 1000) === Math.floor(now.mtimeMs / 1000)
}

/** Gives a file its name unless something has it: then false. */
async function appear(temporary: string, target: string): Promise<boolean> {
  try {
    await link(temporary, target)
    return true
  } catch (error) {
    if (isThere(error)) return false
  }
  // File systems without hard links: nobody else is likely to make the same name in this moment.
  if (await lstat(target).catch(() => undefined)) return false
  await rename(temporary, target)
  return true
}

/** By one call, where rm() makes several for each of many files. */
async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** Gives a file a second name; false where it cannot have one, as in another file system. */
export async function nameToo(path: string, name: string): Promise<boolean> {
  return link(path, name).then(
    () => true,
    () => false,
  )
}

/** Whether a file was changed so shortly before `now` that another change may leave it with the same time. */
export function isYoung(modified: number, now: number): boolean {
  return modified > now - YOUNG_MS
}

/** SHA-256 of a file, hexadecimal. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path)
  try {
    const piece = Buffer.allocUnsafe(Math.min((await file.stat()).size + 1, PIECE))
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(piece.subarray(0, bytesRead))
    }
  } finally {
    await file.close()
  }
}

/** In one file system a second name is as good: what came from the guest is only read until it is removed. */
async function copyWhole(from: string, to: string, size: number): Promise<void> {
  if (await nameToo(from, to)) return
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  const made = await stat(to)
  if (made.size === size) return
  throw new LeetError({
    code: 'LEET_E_STAGING',
    where: to,
    what: `has ${made.size} of the ${size} bytes that the guest has`,
  })
}

/** Whether two files have the same bytes. */
async function sameBytes(one: string, other: string): Promise<boolean> {
  const files: FileHandle[] = []
  try {
    for (const path of [one, other]) files.push(await open(path))
    const [first, second] = files as [FileHandle, FileHandle]
    const { size } = await first.stat()
    if (size !== (await second.stat()).size) return false
    const piece = Math.min(size, PIECE)
    const [a, b] = [Buffer.allocUnsafe(piece), Buffer.allocUnsafe(piece)]
    for (;;) {
      const { bytesRead } = piece === 0 ? { bytesRead: 0 } : await first.read(a, 0, piece)
      if (bytesRead === 0) return true
      const read = await second.read(b, 0, bytesRead)
      if (read.bytesRead !== bytesRead || a.compare(b, 0, bytesRead, 0, bytesRead) !== 0) return false
    }
  } finally {
    for (const file of files) await file.close()
  }
}
