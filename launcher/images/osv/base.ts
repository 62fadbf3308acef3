// The OSv base: a kernel and the files that every OSv image has (REST server, cloud-init, NFS), taken once from what OSv's
// own build leaves and kept in the image store under the hash of its content.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { EXIT_USAGE, LeetError } from '../../../common/index.ts'
import { stampOf } from '../formats/index.ts'
import type { Environment } from '../inspect.ts'
import { cacheDirectory, ImageStore, writeDurably } from '../store.ts'
import { type BaseAbilities, type CheckedBase, type Content, checkBase, LIBEXT } from './base-check.ts'
import { type OsvKernel, readOsvKernel } from './kernel.ts'
import { expandVariables, type ManifestEntry, parseManifest } from './manifest.ts'
import { withOwnInitializers } from './own-initializers.ts'

/** What stands at one path of a base. */
export type BaseEntry =
  | { readonly guest: string; readonly kind: 'directory' }
  | { readonly guest: string; readonly kind: 'symlink'; readonly target: string }
  /** `file` is a name in the base's directory `files`. */
  | { readonly guest: string; readonly kind: 'file'; readonly file: string }

/** A base in the store. */
export interface OsvBase extends BaseAbilities {
  /** SHA-256 of the content, hexadecimal. */
  readonly id: string
  /** Path of the kernel, for QEMU's `-kernel`. */
  readonly kernel: string
  /** Such as `v0.57.0-398-g0e34e4dc`. */
  readonly version?: string
  readonly entries: readonly BaseEntry[]
  /** Path of the directory with the contents. */
  readonly files: string
}

/** What an import gives: the base, what it lacks, and how that is brought into it. */
export interface ImportedBase extends Pick<CheckedBase, 'lacks' | 'remedies'> {
  readonly base: OsvBase
}

/** Whether guests of a base read and write ext4 file systems. */
export function readsExt4({ entries }: Pick<OsvBase, 'entries'>): boolean {
  return entries.some(({ guest }) => guest === LIBEXT)
}

/** Which of these arguments the NFS client of a base does not know: its library has the name of each that it does. */
export function unknownToNfs({ entries, files }: OsvBase, names: readonly string[]): string[] {
  const library = entries.find((entry) => entry.kind === 'file' && /\/libnfs\.so[^/]*$/.test(entry.guest))
  const bytes = library?.kind === 'file' ? readFileSync(join(files, library.file)) : Buffer.alloc(0)
  return names.filter((name) => !bytes.includes(`\0${name}\0`))
}

/** Options of `importOsvBase`. */
export interface ImportOptions {
  /** From `osvStore`. */
  readonly store: ImageStore
  /** Values of the manifest's variables, such as `libgcc_s_dir`. */
  readonly variables?: Readonly<Record<string, string>>
}

/** The store of OSv bases and images. */
export function osvStore(env: Environment): ImageStore {
  return new ImageStore(join(cacheDirectory(env), 'osv'))
}

const KERNELS = ['loader-stripped.elf', 'loader.elf']
/** Builds a base that lacks nothing, after what its `remedies` are. */
export const OSV_BUILD =
  'scripts/build --append-manifest fs=rofs image=httpserver-api.fg,cloud-init,nfs,libext'

/** Where files of the build machine are looked for whose directory is a variable that nobody gave. */
const LIBRARY_DIRECTORIES = [
  '/usr/lib/x86_64-linux-gnu',
  '/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/lib64',
  '/usr/lib',
]

/**
 * Takes a base from the directory that OSv's build wrote (`build/release.x64`, or `build` above it): kernel, usr.manifest
 * and the files it names. Refused, with `LEET_E_OSV_BASE` and all reasons at once, when it could not run a program at all.
 * The base becomes the store's default. Importing the same content again changes nothing, and a build of which no file has
 * changed since is not read again: jobs may name it instead of a base.
 */
export async function importOsvBase(
  directory: string,
  { store, variables = {} }: ImportOptions,
): Promise<ImportedBase> {
  const build = findBuild(resolve(directory))
  const kernelPath = kernelOf(build)
  const manifest = join(build, 'usr.manifest')
  const { contents, missing } = gather(
    parseManifest(readFileSync(manifest, 'utf8'), manifest),
    build,
    variables,
  )
  const stamp = stampOfBuild(kernelPath, contents, missing)
  const known = await recallImport(store, build, stamp)
  if (known) return known
  const kernel = readOsvKernel(kernelPath)
  const checked = checkBase(contents, kernel)
  const fatal = [...missing.map((line) => `usr.manifest names ${line}`), ...checked.fatal]
  if (fatal.length > 0) {
    throw new LeetError({
      code: 'LEET_E_OSV_BASE',
      exitCode: EXIT_USAGE,
      where: build,
      what: 'cannot be a base for OSv guests',
      why: fatal.join('; '),
      hint: `in OSv’s source tree: ${OSV_BUILD}`,
    })
  }
  const id = await store.place(BASES, (folder) =>
    copyBase(folder, kernelPath, contents, { ...checked.abilities, ...versionOf(kernel) }),
  )
  await store.remember(DEFAULT, 'base', id)
  const { lacks, remedies } = checked
  const remembered: Import = { stamp, id, lacks, remedies }
  await store.remember(BUILDS, nameOfBuild(build), JSON.stringify(remembered))
  return { base: await openOsvBase(store, id), lacks, remedies }
}

/** Whether the REST server of a build, in the directory that OSv's build wrote, can speak TLS; nothing is imported. */
export function osvBuildHasTls(directory: string): boolean {
  const build = findBuild(directory)
  const manifest = join(build, 'usr.manifest')
  const { contents } = gather(parseManifest(readFileSync(manifest, 'utf8'), manifest), build, {})
  return checkBase(contents, readOsvKernel(kernelOf(build))).abilities.tls
}

/** What is remembered of an import, by the path of its build. */
interface Import extends Pick<CheckedBase, 'lacks' | 'remedies'> {
  /** From `stampOfBuild`. */
  readonly stamp: string
  readonly id: string
}

const BUILDS = 'builds'

function nameOfBuild(build: string): string {
  return createHash('sha256').update(build).digest('hex')
}

/** Tells whether files of a build have changed, without reading them. */
function stampOfBuild(
  kernel: string,
  contents: ReadonlyMap<string, Content>,
  missing: readonly string[],
): string {
  const hash = createHash('sha256')
  const tell = (...words: readonly string[]) => hash.update(`${JSON.stringify(words)}\n`)
  tell(`${FORMAT}`, stampOf(statSync(kernel)), ...missing)
  for (const [guest, content] of contents) {
    if (content.kind === 'directory') tell(guest)
    else if (content.kind === 'symlink') tell(guest, content.target)
    else tell(guest, content.host, stampOf(statSync(content.host)))
  }
  return hash.digest('hex')
}

async function recallImport(
  store: ImageStore,
  build: string,
  stamp: string,
): Promise<ImportedBase | undefined> {
  const text = await store.recall(BUILDS, nameOfBuild(build))
  if (text === undefined) return undefined
  const known: Import = JSON.parse(text)
  if (known.stamp !== stamp) return undefined
  const base = await openOsvBase(store, known.id).catch(() => undefined)
  if (!base) return undefined
  if ((await store.recall(DEFAULT, 'base')) !== base.id) await store.remember(DEFAULT, 'base', base.id)
  return { base, lacks: known.lacks, remedies: known.remedies }
}

/** A base of the store: the one whose id begins so, or the one imported last. Without one, `LEET_E_OSV_BASE`. */
export async function openOsvBase(store: ImageStore, id?: string): Promise<OsvBase> {
  const name = id === undefined ? await store.recall(DEFAULT, 'base') : fullId(store, id)
  const text =
    name !== undefined && /^[0-9a-f]{64}$/.test(name)
      ? await readFile(store.path(BASES, name, 'base.json'), 'utf8').catch(() => undefined)
      : undefined
  if (name === undefined || text === undefined) {
    throw new LeetError({
      code: 'LEET_E_OSV_BASE',
      exitCode: EXIT_USAGE,
      what: id === undefined ? 'there is no OSv base yet' : `there is no OSv base ${id}`,
      hint: 'leet image import osv DIR, with the directory that OSv’s build wrote',
    })
  }
  const { format, ...base }: StoredBase = JSON.parse(text)
  if (format !== FORMAT) {
    throw new LeetError({
      code: 'LEET_E_OSV_BASE',
      exitCode: EXIT_USAGE,
      where: store.path(BASES, name),
      what: 'was imported by another version of leet',
      hint: 'leet image import osv DIR again',
    })
  }
  return {
    ...base,
    id: name,
    kernel: store.path(BASES, name, 'kernel.elf'),
    files: store.path(BASES, name, 'files'),
  }
}

function fullId(store: ImageStore, word: string): string {
  if (!/^[0-9a-f]{6,63}$/.test(word)) return word
  const matching = store.names(BASES).filter((id) => id.startsWith(word))
  if (matching.length < 2) return matching[0] ?? word
  throw new LeetError({
    code: 'LEET_E_OSV_BASE',
    exitCode: EXIT_USAGE,
    what: `${matching.length} OSv bases begin with ${word}`,
    hint: 'more of its id; leet image list shows all',
  })
}

/** Kind of the store's entries that are bases. */
export const BASES = 'bases'
/** Which base is used where none is named. */
export const DEFAULT = 'default'
/** Changes when an import makes something else of the same build. */
const FORMAT = 2
type StoredBase = Omit<OsvBase, 'id' | 'kernel' | 'files'> & { readonly format: number }

function findBuild(directory: string): string {
  const candidates = [directory, ...['last', 'release.x64', 'release'].map((name) => join(directory, name))]
  const build = candidates.find(
    (path) => existsSync(join(path, 'usr.manifest')) && KERNELS.some((name) => existsSync(join(path, name))),
  )
  if (build) return realpathSync(build)
  throw new LeetError({
    code: 'LEET_E_OSV_BASE',
    exitCode: EXIT_USAGE,
    where: directory,
    what: 'is not what OSv’s build leaves',
    why: `${KERNELS.join(' or ')} and usr.manifest are not together in it`,
    hint: 'give the directory build/release.x64 of the OSv source tree',
  })
}

function kernelOf(build: string): string {
  return KERNELS.map((name) => join(build, name)).find((path) => existsSync(path)) as string
}

function gather(
  entries: readonly ManifestEntry[],
  build: string,
  variables: Readonly<Record<string, string>>,
): { contents: Map<string, Content>; missing: string[] } {
  const contents = new Map<string, Content>()
  const missing: string[] = []
  for (const entry of entries) {
    if (entry.kind === 'symlink') {
      contents.set(entry.guest, { kind: 'symlink', target: entry.target })
      continue
    }
    const host = hostPath(entry.host, build, variables)
    const stats = statOf(host)
    if (!stats) missing.push(`${entry.host} for ${entry.guest}, which is not there`)
    else if (entry.kind === 'tree') {
      for (const name of readdirSync(host, { recursive: true, encoding: 'utf8' })) {
        const path = join(host, name)
        if (statOf(path)?.isFile()) contents.set(join(entry.guest, name), { kind: 'file', host: path })
      }
    } else if (stats.isDirectory()) contents.set(entry.guest, { kind: 'directory' })
    else contents.set(entry.guest, { kind: 'file', host: strippedOf(host, stats) })
  }
  return { contents, missing }
}

/** The path on this machine. A file whose directory is an unknown variable is looked for where libraries are. */
function hostPath(path: string, build: string, variables: Readonly<Record<string, string>>): string {
  const expanded = expandVariables(path, variables)
  if (expanded !== undefined) return resolve(build, expanded)
  const name = basename(path)
  return LIBRARY_DIRECTORIES.map((folder) => join(folder, name)).find((file) => existsSync(file)) ?? path
}

/** OSv's build strips its own libraries into a file beside them, and puts that into images (strip_file). */
function strippedOf(host: string, { mtimeMs }: Stats): string {
  if (!host.endsWith('.so')) return host
  const stripped = `${host.slice(0, -3)}-stripped.so`
  const stats = statOf(stripped)
  return stats?.isFile() && stats.mtimeMs >= mtimeMs ? stripped : host
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false })
}

function versionOf({ version }: OsvKernel): { readonly version?: string } {
  return version === undefined ? {} : { version }
}

/** The kernel loads all of these at boot. */
const FILE_SYSTEM = /^\/usr\/lib\/fs\/[^/]*\.so$/

/** Copies a base into `folder`. Gives the hash of the content. */
async function copyBase(
  folder: string,
  kernelPath: string,
  contents: ReadonlyMap<string, Content>,
  known: BaseAbilities & { readonly version?: string },
): Promise<string> {
  const files = join(folder, 'files')
  mkdirSync(files, { mode: 0o700 })
  const hash = createHash('sha256')
  const copy = (from: string, to: string, change = (bytes: Buffer) => bytes) => {
    copyFileSync(from, to)
    chmodSync(to, 0o600)
    const bytes = readFileSync(to)
    const changed = change(bytes)
    if (changed !== bytes) writeFileSync(to, changed)
    const sum = createHash('sha256').update(changed).digest('hex')
    hash.update(`${sum}\0`)
    return sum
  }
  copy(kernelPath, join(folder, 'kernel.elf'))
  const sorted = [...contents].sort(([a], [b]) => (a < b ? -1 : 1))
  const entries = sorted.map(([guest, content]): BaseEntry => {
    hash.update(`${guest}\0${content.kind}\0${content.kind === 'symlink' ? content.target : ''}\0`)
    if (content.kind === 'directory') return { guest, kind: 'directory' }
    if (content.kind === 'symlink') return { guest, kind: 'symlink', target: content.target }
    const incoming = join(files, '.incoming')
    const file = FILE_SYSTEM.test(guest)
      ? copy(content.host, incoming, (bytes) => withOwnInitializers(bytes, content.host))
      : copy(content.host, incoming)
    renameSync(incoming, join(files, file))
    return { guest, kind: 'file', file }
  })
  const stored: StoredBase = { format: FORMAT, ...known, entries }
  await writeDurably(join(folder, 'base.json'), `${JSON.stringify(stored, null, 1)}\n`)
  return hash.digest('hex')
}
