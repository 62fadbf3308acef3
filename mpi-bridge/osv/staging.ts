// The working directory carried into an OSv guest and back over /file, for guests that cannot share it: OSv's NFS aborts
// a guest in which more than one rank uses it. What the ranks changed or made comes back, and nothing else.
import { isUtf8 } from 'node:buffer'
import { constants, createWriteStream } from 'node:fs'
import { access, mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { LeetError, messageOf, type WaitLimits } from '../../common/index.ts'
import { type OsvFileStatus, OsvRefusal, type OsvRest } from './rest.ts'
import type { StageFilter } from './stage-filter.ts'

/** A file or directory below a directory, by its path relative to that. */
export interface StagedEntry {
  readonly path: string
  readonly kind: 'file' | 'directory'
  /** Bytes. */
  readonly size: number
}

/** What is to be carried into a guest. */
export interface StagePlan {
  /** As ranks know it. */
  readonly directory: string
  /** Where it lies on this host. */
  readonly place: string
  /** Directories before what is in them. */
  readonly entries: readonly StagedEntry[]
  /** Bytes of all files. */
  readonly size: number
  /** What is there and cannot be carried. */
  readonly left: readonly string[]
}

/** The part of a plan that a guest gets with its seed, without any request: short texts, and directories. */
export interface SeededStage {
  /** Relative paths, '' for the directory itself: whatever else is carried finds its place. */
  readonly directories: readonly string[]
  /** By relative path. */
  readonly files: ReadonlyMap<string, string>
}

/** What a guest had after staging in, so that staging out knows what has changed. */
export interface StagedIn {
  readonly guestDirectory: string
  /** The guest's own statuses, by relative path. */
  readonly files: ReadonlyMap<string, Pick<OsvFileStatus, 'length' | 'modified'>>
  /** The guest's clock after the last file came, in seconds: what was changed later may be new. */
  readonly at: number
}

/** More than any case that one would carry by hand; a home directory named by mistake ends here. */
const MAX_ENTRIES = 200_000
const MAX_DEPTH = 64
/** A guest takes longer to read a long seed than to take a request; in bytes. */
const SEEDED_FILE = 8 << 10
const SEEDED_FILES = 64 << 10
const SEEDED_DIRECTORIES = 256
/** Requests at a time to one guest. */
const PARALLEL = 4

/** Where directories of this host are staged that are not below /tmp, the only place of a guest that can be written. */
export const STAGE_ROOT = '/tmp/leet'

/** Where in a guest a directory of this host is staged. */
export function stagedPath(directory: string): string {
  return directory.startsWith('/tmp/') ? directory : `${STAGE_ROOT}${directory}`
}

/**
 * Lists what is below `place`, a directory of this host that ranks know by the same name. Symbolic links are followed, as the ranks would; what is neither file nor directory,
 * what cannot be read, links that lead nowhere or back to where they are, and directories that OSv could not list, stay behind. Too much is `LEET_E_STAGING`.
 */
export async function planStageIn(
  place: string,
  filter: StageFilter,
  { signal }: WaitLimits,
): Promise<StagePlan> {
  const entries: StagedEntry[] = []
  const left: string[] = []
  let size = 0
  /** `above`: the directories on the way here, which a link may lead back to. */
  const visit = async (path: string, names: readonly string[], above: readonly string[]): Promise<void> => {
    signal?.throwIfAborted()
    for (const name of names.toSorted()) {
      const inner = path === '' ? name : `${path}/${name}`
      const host = join(place, inner)
      const stats = await stat(host).catch(() => undefined)
      if (stats?.isFile() ? !filter.wants(inner) : !filter.reaches(inner)) continue
      const below = stats?.isDirectory() ? await readdir(host).catch(() => undefined) : undefined
      const itself = `${stats?.dev}:${stats?.ino}`
      const readable = stats?.isFile() && (await isReadable(host))
      if (!stats || (below ? above.includes(itself) || !isListable(name) : !readable)) {
        left.push(inner)
        continue
      }
      if (entries.length >= MAX_ENTRIES) {
        throw stagingError(place, `has more than ${MAX_ENTRIES} files`, 'narrow it with --stage-only')
      }
      if (below) {
        if (above.length > MAX_DEPTH) throw stagingError(host, 'is nested too deeply to be staged')
        const before = entries.length
        entries.push({ path: inner, kind: 'directory', size: 0 })
        await visit(inner, below, [...above, itself])
        if (entries.length === before + 1 && !filter.wants(inner)) entries.pop()
      } else {
        entries.push({ path: inner, kind: 'file', size: stats.size })
        size += stats.size
      }
    }
  }
  const root = await stat(place)
  await visit('', await readdir(place), [`${root.dev}:${root.ino}`])
  return { directory: place, place, entries, size, left }
}

/** OSv takes `*` and `?` in what it is to list for patterns (api/file.cc). */
function isListable(name: string): boolean {
  return !/[*?]/.test(name)
}

async function isReadable(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  )
}

/** What of the plan can come with the seed. */
export async function seedStage({ place, entries }: StagePlan): Promise<SeededStage> {
  const files = new Map<string, string>()
  let left = SEEDED_FILES
  for (const { path, kind, size } of entries) {
    if (kind !== 'file' || size > Math.min(SEEDED_FILE, left) || !isPlain(path)) continue
    const bytes = await readFile(join(place, path))
    if (bytes.length > left || bytes.includes(0) || !isUtf8(bytes)) continue
    left -= bytes.length
    files.set(path, bytes.toString('utf8'))
  }
  const directories = directoriesOf(entries)
  const said = directories.length <= SEEDED_DIRECTORIES && directories.every(isPlain)
  return { directories: said ? directories : [], files }
}

/** The directories to make: making one makes its parents. '' is the staged directory itself. */
function directoriesOf(entries: readonly StagedEntry[]): readonly string[] {
  const all = entries.filter(({ kind }) => kind === 'directory').map(({ path }) => path)
  // A directory stands right before what is in it.
  return all.length === 0 ? [''] : all.filter((path, index) => !all[index + 1]?.startsWith(`${path}/`))
}

function isPlain(path: string): boolean {
  return path.isWellFormed() && !/\p{Cc}|\p{Zl}|\p{Zp}/u.test(path) && path.length < 512
}

/** Carries the plan's files into `guestDirectory`, less what came with the seed. */
export async function stageIn(
  rest: OsvRest,
  plan: StagePlan,
  guestDirectory: string,
  limits: WaitLimits,
  seeded?: SeededStage,
): Promise<StagedIn> {
  const directories = directoriesOf(plan.entries).map((path) => join(guestDirectory, path))
  if (!seeded || seeded.directories.length === 0) await rest.makeDirectories(directories, limits)
  const carried = plan.entries.filter(({ kind }) => kind === 'file')
  const uploads = carried.filter(({ path }) => !seeded?.files.has(path))
  await inParallel(uploads, ({ path }) =>
    rest.uploadFile(`${guestDirectory}/${path}`, { host: join(plan.place, path) }, limits),
  )
  const files = new Map<string, OsvFileStatus>()
  // Then all that is there later is new, and the guest, which may be slow, need not be asked.
  if (carried.length === 0) return { guestDirectory, files, at: 0 }
  const now = Date.parse(await rest.operatingSystem('date', limits)) / 1000
  for await (const [path, status] of walk(rest, guestDirectory, limits)) {
    if (status.type === 'FILE') files.set(path, status)
  }
  const last = Math.max(0, ...[...files.values()].map(({ modified }) => modified))
  return { guestDirectory, files, at: Number.isNaN(now) ? last : Math.max(now, last) }
}

/** What a guest has in the end of what was carried into it, and beside it; relative paths. */
export interface StagedOut {
  /** New or changed, perhaps: they were fetched. */
  readonly changed: readonly string[]
  /** As they were after `stageIn`. */
  readonly same: readonly string[]
  /** What could not be fetched: `path: reason`. */
  readonly failed: readonly string[]
}

/** Fetches what is new or may have been changed since `stageIn` into `copy`, a directory of this host, with its times. */
export async function stageOut(
  rest: OsvRest,
  before: StagedIn,
  copy: string,
  filter: StageFilter,
  limits: WaitLimits,
): Promise<StagedOut> {
  const fetched: { path: string; status: OsvFileStatus }[] = []
  const same: string[] = []
  for await (const [path, status] of walk(rest, before.guestDirectory, limits)) {
    if (status.type !== 'DIRECTORY' && !isChanged(before, path, status)) same.push(path)
    else if (!filter.wants(path)) continue
    else if (status.type === 'DIRECTORY') await mkdir(join(copy, path), { recursive: true })
    else fetched.push({ path, status })
  }
  const changed: string[] = []
  const failed: string[] = []
  await inParallel(fetched, async ({ path, status }) => {
    const target = join(copy, path)
    await mkdir(dirname(target), { recursive: true })
    try {
      const body = await rest.downloadFile(`${before.guestDirectory}/${path}`, limits)
      await pipeline(body, createWriteStream(target, { flags: 'wx' }))
      const { size } = await stat(target)
      if (size !== status.length) throw stagingError(path, `came with ${size} of ${status.length} bytes`)
      await utimes(target, status.modified, status.modified)
      changed.push(path)
    } catch (error) {
      await rm(target, { force: true })
      // What one file fails at is no reason to leave the others, while there are any to be had.
      if (limits.signal?.aborted || limits.deadline.expired) throw error
      failed.push(`${path}: ${messageOf(error)}`)
    }
  })
  return { changed: changed.sort(), same, failed }
}

/** Removes what was carried into a guest, and what ranks left there; also when there is nothing. */
export async function removeStaged(rest: OsvRest, guestDirectory: string, limits: WaitLimits): Promise<void> {
  const paths: string[] = []
  try {
    for await (const [path] of walk(rest, guestDirectory, limits)) paths.push(`${guestDirectory}/${path}`)
  } catch (error) {
    if (error instanceof OsvRefusal && error.status === 404) return
    throw error
  }
  await rest.deleteFiles([guestDirectory, ...paths].reverse(), limits)
}

/** Times of the guest have seconds only: what was written in the second in which all was there counts as changed. */
function isChanged(before: StagedIn, path: string, { length, modified }: OsvFileStatus): boolean {
  const known = before.files.get(path)
  return !known || known.length !== length || known.modified !== modified || modified >= before.at
}

/** All that is below `root`, level by level: each takes few requests, however many directories it has. */
async function* walk(
  rest: OsvRest,
  root: string,
  limits: WaitLimits,
): AsyncGenerator<[string, OsvFileStatus]> {
  let level = ['']
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw stagingError(root, 'is nested too deeply in the guest')
    const at = (path: string) => (path === '' ? root : `${root}/${path}`)
    const lists =
      level.length === 1
        ? [await rest.listDirectory(at(level[0] as string), limits)]
        : await rest.listDirectories(level.map(at), limits)
    const next: string[] = []
    for (const [index, list] of lists.entries()) {
      for (const entry of list.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        // What a guest says is not trusted: a name must not lead out of the directory.
        if (entry.name === '' || entry.name.includes('/') || entry.name.includes('\0')) {
          throw stagingError(root, `has an impossible name ${JSON.stringify(entry.name)} in the guest`)
        }
        const inner = level[index] === '' ? entry.name : `${level[index]}/${entry.name}`
        yield [inner, entry]
        if (entry.type === 'DIRECTORY' && isListable(entry.name)) next.push(inner)
      }
    }
    level = next
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
