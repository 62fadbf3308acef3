// The working directory carried into an OSv guest and back over /file, for guests that cannot share it: OSv's NFS aborts
// a guest in which more than one rank uses it. What the ranks changed or made comes back, and nothing else.
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { LeetError, type WaitLimits } from '../../common/index.ts'
import type { OsvFileStatus, OsvRest } from './rest.ts'

/** A file or directory below a directory, by its path relative to that. */
export interface StagedEntry {
  readonly path: string
  readonly kind: 'file' | 'directory'
  /** Bytes. */
  readonly size: number
}

/** What is to be carried into a guest. */
export interface StagePlan {
  /** Of this host. */
  readonly directory: string
  /** Directories before what is in them. */
  readonly entries: readonly StagedEntry[]
  /** Bytes of all files. */
  readonly size: number
}

/** What a guest had after staging in, so that staging out knows what has changed. */
export interface StagedIn {
  readonly guestDirectory: string
  /** The guest's own statuses, by relative path. */
  readonly files: ReadonlyMap<string, Pick<OsvFileStatus, 'length' | 'modified'>>
  /** The guest's clock after the last upload, in seconds: what was changed later may be new. */
  readonly at: number
}

/** Says whether a relative path takes part. */
export type PathFilter = (path: string) => boolean

/** More than any case that one would carry by hand; a home directory named by mistake ends here. */
const MAX_ENTRIES = 200_000
const MAX_DEPTH = 64
/** Requests at a time to one guest. */
const PARALLEL = 4

/** Where in a guest a directory of this host is staged: below /tmp, the only place that can be written. */
export function stagedPath(directory: string): string {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 12)
  return `/tmp/leet/${name}`
}

/**
 * Lists what is below `directory`. Symbolic links are followed, as the ranks would; what is neither file nor directory,
 * and links that lead nowhere, stay behind. Too much is `LEET_E_STAGING`.
 */
export async function planStageIn(
  directory: string,
  wanted: PathFilter,
  { signal }: WaitLimits,
): Promise<StagePlan> {
  const entries: StagedEntry[] = []
  let size = 0
  const visit = async (path: string, depth: number): Promise<void> => {
    signal?.throwIfAborted()
    if (depth > MAX_DEPTH) throw stagingError(join(directory, path), 'is nested too deeply to be staged')
    for (const name of (await readdir(join(directory, path))).sort()) {
      const inner = path === '' ? name : `${path}/${name}`
      const stats = await stat(join(directory, inner)).catch(() => undefined)
      if (!stats) continue
      if (entries.length >= MAX_ENTRIES) {
        throw stagingError(directory, `has more than ${MAX_ENTRIES} files`, 'narrow it with --stage-in')
      }
      if (stats.isDirectory()) {
        const before = entries.length
        entries.push({ path: inner, kind: 'directory', size: 0 })
        await visit(inner, depth + 1)
        if (entries.length === before + 1 && !wanted(inner)) entries.pop()
      } else if (stats.isFile() && wanted(inner)) {
        entries.push({ path: inner, kind: 'file', size: stats.size })
        size += stats.size
      }
    }
  }
  await visit('', 0)
  return { directory, entries, size }
}

/** Carries the plan's files into `guestDirectory`. */
export async function stageIn(
  rest: OsvRest,
  plan: StagePlan,
  guestDirectory: string,
  limits: WaitLimits,
): Promise<StagedIn> {
  await rest.makeDirectory(guestDirectory, limits)
  for (const { path, kind } of plan.entries) {
    if (kind === 'directory') await rest.makeDirectory(`${guestDirectory}/${path}`, limits)
  }
  const uploads = plan.entries.filter(({ kind }) => kind === 'file')
  await inParallel(uploads, ({ path }) =>
    rest.uploadFile(`${guestDirectory}/${path}`, { host: join(plan.directory, path) }, limits),
  )
  const files = new Map<string, OsvFileStatus>()
  for await (const [path, status] of walk(rest, guestDirectory, '', limits)) {
    if (status.type === 'FILE') files.set(path, status)
  }
  const at = Math.max(0, ...[...files.values()].map(({ modified }) => modified))
  return { guestDirectory, files, at }
}

/**
 * Brings back what is new or changed since `stageIn` into `directory`. A file becomes visible when it is whole. Gives the
 * relative paths of the files that came back, in order.
 */
export async function stageOut(
  rest: OsvRest,
  before: StagedIn,
  directory: string,
  wanted: PathFilter,
  limits: WaitLimits,
): Promise<string[]> {
  const changed: { path: string; status: OsvFileStatus }[] = []
  for await (const [path, status] of walk(rest, before.guestDirectory, '', limits)) {
    if (!wanted(path)) continue
    if (status.type === 'DIRECTORY') await mkdir(join(directory, path), { recursive: true })
    else if (isChanged(before, path, status)) changed.push({ path, status })
  }
  const brought: string[] = []
  await inParallel(changed, async ({ path, status }) => {
    const target = join(directory, path)
    // Several guests may bring the same file.
    const temporary = `${target}.${rest.endpoint.guest}-${process.pid}`
    await mkdir(dirname(target), { recursive: true })
    try {
      const body = await rest.downloadFile(`${before.guestDirectory}/${path}`, limits)
      await pipeline(body, createWriteStream(temporary, { flags: 'wx' }))
      const old = await stat(target).catch(() => undefined)
      if (old?.size === status.length && (await sameBytes(target, temporary))) return
      // The guest knows nothing of permissions: what was executable stays so.
      if (old) await chmod(temporary, old.mode & 0o7777)
      await utimes(temporary, status.modified, status.modified)
      await rename(temporary, target)
      brought.push(path)
    } finally {
      await rm(temporary, { force: true })
    }
  })
  return brought.sort()
}

async function sameBytes(one: string, other: string): Promise<boolean> {
  const digest = async (path: string) => {
    const hash = createHash('sha256')
    await pipeline(createReadStream(path), hash)
    return hash.digest('hex')
  }
  return (await digest(one)) === (await digest(other))
}

/** Times of the guest have seconds only: what was written in the second of the last upload counts as changed. */
function isChanged(before: StagedIn, path: string, { length, modified }: OsvFileStatus): boolean {
  const known = before.files.get(path)
  return !known || known.length !== length || known.modified !== modified || modified >= before.at
}

async function* walk(
  rest: OsvRest,
  root: string,
  path: string,
  limits: WaitLimits,
  depth = 0,
): AsyncGenerator<[string, OsvFileStatus]> {
  if (depth > MAX_DEPTH) throw stagingError(root, 'is nested too deeply in the guest')
  const entries = await rest.listDirectory(path === '' ? root : `${root}/${path}`, limits)
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    // What a guest says is not trusted: a name must not lead out of the directory.
    if (entry.name === '' || entry.name.includes('/') || entry.name.includes('\0')) {
      throw stagingError(root, `has an impossible name ${JSON.stringify(entry.name)} in the guest`)
    }
    const inner = path === '' ? entry.name : `${path}/${entry.name}`
    yield [inner, entry]
    if (entry.type === 'DIRECTORY') yield* walk(rest, root, inner, limits, depth + 1)
  }
}

/** A few at a time; the first error ends all. */
async function inParallel<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  const queue = items[Symbol.iterator]()
  const worker = async () => {
    for (const item of queue) await task(item)
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
}

function stagingError(where: string, what: string, hint?: string): LeetError {
  return new LeetError({ code: 'LEET_E_STAGING', where, what, hint })
}
