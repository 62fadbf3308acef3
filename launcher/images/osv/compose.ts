// Composes the image of an OSv guest: the base's kernel, and one read-only disk with the base's files and everything
// that the programs need, the same closure as for a Linux guest less what the OSv kernel supplies. Booted with `-kernel`.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { Deadline, LeetError, type Log, messageOf, usageError } from '../../../common/index.ts'
import { STAGE_ROOT } from '../../../mpi-bridge/index.ts'
import { compiled } from '../compiled.ts'
import { layoutRofs, type RofsEntry, stampOf, writeRofsDisk } from '../formats/index.ts'
import type { ImageFile, ImageProgram } from '../image.ts'
import {
  type Environment,
  factsOf,
  findProgram,
  missingOf,
  type OpenedProgram,
  openProgram,
  refuseMissingLibraries,
} from '../inspect.ts'
import { hostLoaderSettings, type LoadedObject } from '../loader.ts'
import { failsInOsv, type MpiFacts, mpiOfAll } from '../mpi.ts'
import { loadPlugins } from '../plugins.ts'
import { type ImageStore, writeDurably } from '../store.ts'
import { ImageTree } from '../tree.ts'
import { addNeeded } from './add-needed.ts'
import { type OsvBase, readsExt4 } from './base.ts'
import { type GuestObjects, guestObjects } from './guest-objects.ts'
import { readOsvKernel } from './kernel.ts'
import { OSV_IMAGES, programStamp, rememberOsvImage } from './remembered.ts'
import { leadsToDisk, type StageLink, stageLinks, WORK_MOUNT } from './stage-links.ts'

/** What an OSv image is to be made of. */
export interface OsvImageRequest {
  /** Programs as the user names them: paths, or names on PATH. */
  readonly programs: readonly string[]
  /** Further files and directories, such as OpenFOAM's etc tree. */
  readonly files?: readonly ImageFile[]
  /** PATH, LD_LIBRARY_PATH and what MPI libraries take their directories from are read of it. */
  readonly env: Environment
  /** Working directory of the job: what relative names start from. */
  readonly directory: string
  readonly base: OsvBase
  /**
   * Directories on which something will be mounted in the guest, besides /tmp, /dev, /proc and /sys. Programs and libraries
   * that lie below one on this host would be hidden by the mount and are kept in `/leet/hidden` instead.
   */
  readonly mountPoints?: readonly string[]
  /** Directories of this host that are carried into the guest, and are to be found under their own paths. */
  readonly staged?: readonly string[]
  /**
   * Top directories of this host, of its own unless told: working directories may lie in any, and to find them there is part of
   * every image, so that one does for all of them.
   */
  readonly tops?: readonly string[]
  /** Whether they may come on a disk of the guest's own, if the base can read it; else they come into its memory. */
  readonly workDisk?: boolean
  /**
   * Components of Open MPI: all that can work in OSv, or the smallest set that ran everything in the trials (no MPI-IO,
   * no topologies), which starts faster.
   */
  readonly components?: 'complete' | 'smallest'
  /** Path of the compatibility library; `compatLibrary()` unless told. `false` leaves it out (`--no-osv-compat`). */
  readonly compat?: string | false
}

/** An OSv image on this node; never changed once it is there. */
export interface OsvImage {
  /** Names what it was made of: names, sizes and times of all inputs, and the base. */
  readonly id: string
  /** For QEMU's `-kernel`. */
  readonly kernel: string
  /** Read-only disk with a ROFS partition, for the first virtio-blk device of any number of guests. */
  readonly disk: string
  readonly base: OsvBase
  /** `path` is the path in the guest. */
  readonly programs: readonly ImageProgram[]
  readonly mpi: MpiFacts
  /** Whether programs run with the compatibility library: an exit status is told, and an environment can be packed. */
  readonly compat: boolean
  /** How staged directories are found under their own paths. */
  readonly links: readonly StageLink[]
  /** What cannot work in OSv, in whole sentences. */
  readonly warnings: readonly string[]
  /** Whether the image was made just now (false: it was there already). */
  readonly composed: boolean
}

/** Where the images are kept and who is told. */
export interface OsvComposeContext {
  readonly store: ImageStore
  readonly log: Log
}

const COMPAT_NAME = 'libleet-osv.so.1'
const BUILD_MS = 120_000
const HIDDEN = '/leet/hidden'
/** Changes when this module makes something else of the same input. */
const FORMAT = 3

/** Path of the compatibility library. Neither there nor to be built: `LEET_E_OSV_COMPAT`. */
export async function compatLibrary(): Promise<string> {
  const folder = join(import.meta.dirname, '..', '..', 'osv-compat')
  const result = await compiled(folder, COMPAT_NAME, { deadline: Deadline.after(BUILD_MS) })
  if ('path' in result) return result.path
  throw new LeetError({
    code: 'LEET_E_OSV_COMPAT',
    what: 'the compatibility library for OSv is missing and cannot be built',
    where: folder,
    why: result.why,
    hint: 'install gcc and libc6-dev (Debian), or compose with --no-osv-compat',
  })
}

/**
 * The image for a request: found in the store, or made and kept there. Needs no root and no virtual machine. What stands
 * in the way of the programs' start is refused before anything is made: `LEET_E_PROGRAM`, `LEET_E_LIBRARY`,
 * `LEET_E_IMAGE_FILE`, `LEET_E_OSV_COMPAT`.
 */
export async function composeOsvImage(
  request: OsvImageRequest,
  { store, log }: OsvComposeContext,
): Promise<OsvImage> {
  const compat = request.compat === false ? undefined : (request.compat ?? (await compatLibrary()))
  const parts = openParts(request)
  const place = placeBeside(request)
  const links = linksOf(request, parts, place)
  const programs = parts.map(
    ({ program }, i): ImageProgram => ({
      name: request.programs[i] as string,
      path: place(program.path),
      mpi: factsOf(program).mpi,
    }),
  )
  const mpi = mpiOfAll(programs)
  const id = fingerprint(request, parts, links, compat)
  const known = await readWarnings(store, id)
  if (known === undefined) {
    await store.place(OSV_IMAGES, async (directory) => {
      const { entries, warnings } = fill(request, parts, place, links, compat, log)
      await writeRofsDisk(join(directory, 'disk.img'), layoutRofs(entries))
      await writeDurably(join(directory, 'image.json'), `${JSON.stringify({ warnings })}\n`)
      return id
    })
  }
  await rememberOsvImage(store, id, {
    base: request.base.id,
    compat: compat !== undefined,
    links,
    mountPoints: request.mountPoints ?? [],
    programs: parts.map(({ program: { path } }, i) => ({
      host: path,
      guest: (programs[i] as ImageProgram).path,
      stamp: programStamp(path) ?? '',
    })),
  })
  return {
    id,
    kernel: request.base.kernel,
    disk: store.path(OSV_IMAGES, id, 'disk.img'),
    base: request.base,
    programs,
    mpi,
    compat: compat !== undefined,
    links,
    warnings: known ?? (await readWarnings(store, id)) ?? [],
    composed: known === undefined,
  }
}

async function readWarnings(store: ImageStore, id: string): Promise<readonly string[] | undefined> {
  try {
    return JSON.parse(await readFile(store.path(OSV_IMAGES, id, 'image.json'), 'utf8')).warnings
  } catch {
    return undefined // not there
  }
}

/** A program with what its libraries read without linking it. */
interface Part {
  readonly program: OpenedProgram
  readonly data: readonly string[]
  readonly leftOut: readonly { readonly path: string; readonly why: string }[]
}

/** Reads the programs and refuses what could not start here, or is nothing that OSv can load. */
function openParts({ programs, env, directory }: OsvImageRequest): Part[] {
  const settings = hostLoaderSettings(env, directory)
  return programs.map((name) => {
    const program = openProgram(findProgram(name, env, directory), env, settings)
    if (program.kind === 'script') {
      throw new LeetError({
        code: 'LEET_E_PROGRAM',
        where: program.path,
        what: 'is a script, which OSv cannot run: it has no processes',
        hint: 'name the program that the script starts, or --guest linux',
        exitCode: 126,
      })
    }
    refuseMissingLibraries({ path: program.path, missing: missingOf(program) })
    refuseUcx(program)
    return { program, ...loadPlugins(program.map, env) }
  })
}

function refuseUcx(program: OpenedProgram): void {
  const { mpi } = factsOf(program)
  if (!failsInOsv(mpi)) return
  throw new LeetError({
    code: 'LEET_E_LIBRARY',
    where: program.path,
    what: 'its MPI cannot start in OSv',
    why: `${mpi.library} is MPICH with the device ${mpi.device}, and UCX finds neither interfaces nor shared memory there`,
    hint: 'build the program with Open MPI or with an MPICH of the device ch3, or run it with --guest linux',
    exitCode: 126,
  })
}

/** What OSv itself mounts over the image at boot. */
const OWN_MOUNTS = ['/dev', '/proc', '/sys', '/tmp']

/** Directories of the image's own: none of them can become a link to staged files. */
const SYSTEM = ['/bin', '/etc', '/leet', '/lib', '/lib64', '/opt', '/sbin', '/usr']

/** What can be a link to staged files: the top directories of this host without those that a guest has itself. */
function linkable({ tops = topDirectories(), staged = [] }: OsvImageRequest): string[] {
  const all = new Set([...tops, ...staged.map((directory) => `/${directory.split('/')[1]}`)])
  return [...all].filter((top) => ![...OWN_MOUNTS, ...SYSTEM].includes(top)).sort()
}

function topDirectories(): string[] {
  return readdirSync('/', { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map(({ name }) => `/${name}`)
}

/** The path in the guest of a path of this host: its own, unless a mount or a staged directory will hide it. */
function placeBeside(request: OsvImageRequest): (path: string) => string {
  const { mountPoints = [], staged = [] } = request
  const points = [...OWN_MOUNTS, ...mountPoints, ...staged, ...linkable(request)]
  const isHidden = (path: string) => points.some((point) => path.startsWith(`${point}/`))
  return (path) => (isHidden(path) || isHidden(realpathSync(path)) ? join(HIDDEN, path) : path)
}

/** The links to staged directories, beside everything else in the image. */
function linksOf(
  request: OsvImageRequest,
  parts: readonly Part[],
  place: (path: string) => string,
): readonly StageLink[] {
  const { base, files = [], staged = [], workDisk, mountPoints = [], directory } = request
  const isMounted = (path: string) =>
    [...OWN_MOUNTS, ...mountPoints].some((point) => path === point || path.startsWith(`${point}/`))
  const objects = parts.flatMap(({ program }) => program.map.objects.map(({ path }) => path))
  const data = parts.flatMap((part) => part.data)
  const used = [
    ...base.entries.map(({ guest }) => guest),
    ...[...objects, ...parts.map(({ program }) => program.path)].map(place),
    ...data,
    // Symbolic links on the way to a file are in the image too.
    ...[...objects, ...data].map((path) => realpathSync(path)).map(place),
    ...files.map(({ source, destination }) => destination ?? resolve(directory, source)),
    ...mountPoints,
    ...SYSTEM,
  ]
  return stageLinks(
    [...linkable(request), ...staged].filter((path) => !isMounted(path)),
    used,
    workDisk && readsExt4(base) ? WORK_MOUNT : STAGE_ROOT,
  )
}

/** Tells inputs apart without reading them. */
function fingerprint(
  request: OsvImageRequest,
  parts: readonly Part[],
  links: readonly StageLink[],
  compat: string | undefined,
): string {
  const hash = createHash('sha256')
  const tell = (...words: readonly unknown[]) => hash.update(`${JSON.stringify(words)}\n`)
  tell(
    FORMAT,
    request.base.id,
    compat === undefined ? 'none' : createHash('sha256').update(readFileSync(compat)).digest('hex'),
  )
  tell(request.components ?? 'complete', request.mountPoints ?? [], links)
  const read = new ImageTree()
  for (const { program, data } of parts) {
    tell(program.path, realpathSync(program.path))
    for (const { path } of program.map.objects) tell(path, stampOf(statSync(path)))
    for (const path of data) read.host(path)
  }
  addFiles(read, request)
  for (const [path, entry] of read.entries) {
    tell(path, entry.kind)
    if (entry.kind === 'symlink') tell(entry.target)
    else if (entry.kind === 'file' && entry.content.kind === 'host') tell(entry.content.stamp)
  }
  return hash.digest('hex')
}

/** The entries of the file system, with the programs given the compatibility library, and what will not work. */
function fill(
  request: OsvImageRequest,
  parts: readonly Part[],
  place: (path: string) => string,
  links: readonly StageLink[],
  compat: string | undefined,
  log: Log,
): { entries: RofsEntry[]; warnings: string[] } {
  const kernel = readOsvKernel(request.base.kernel)
  const tree = new ImageTree()
  const warnings: string[] = []
  const patched = new Map<string, Uint8Array>()
  const put = (path: string) => {
    const placed = place(path)
    if (placed === path) tree.host(path)
    else tree.copy(realpathSync(path), placed)
    return placed
  }
  addBase(tree, request.base)
  if (compat !== undefined) tree.copy(compat, `/usr/lib/${COMPAT_NAME}`)
  for (const { program, data, leftOut } of parts) {
    const placed = put(program.path)
    if (program.kind === 'static') {
      warnings.push(
        `${program.path} is static: OSv powers the guest off when it ends, and nothing can be made good in it`,
      )
      continue
    }
    const objects = guestObjects(program.map, kernel, compat, request.components === 'smallest')
    for (const { path, why } of [...leftOut, ...objects.leftOut]) {
      log.detail(`${path} is left out of the image: ${why}`)
    }
    for (const object of objects.kept) addLibrary(tree, object, put(object.path))
    for (const path of data) tree.host(path)
    warnings.push(...objects.missing)
    if (compat === undefined) continue
    try {
      const bytes = addNeeded(readFileSync(program.path), COMPAT_NAME, program.path)
      patched.set(placed === program.path ? realpathSync(placed) : placed, bytes)
    } catch (error) {
      warnings.push(`${messageOf(error)}: ${standIn(tree, objects)}`)
    }
  }
  addFiles(tree, request)
  for (const path of request.mountPoints ?? []) tree.directory(path)
  if (links.some(leadsToDisk)) tree.directory(WORK_MOUNT)
  for (const { path, target } of links) tree.symlink(path, target)
  const entries = [...tree.entries].map(([path, entry]): RofsEntry => {
    if (entry.kind !== 'file') return { ...entry, path }
    const { content } = entry
    const bytes = patched.get(path) ?? (content.kind === 'bytes' ? content.bytes : undefined)
    return {
      kind: 'file',
      path,
      content: bytes ? { bytes } : { host: (content as { path: string }).path, size: entry.size },
    }
  })
  return { entries, warnings }
}

function addFiles(tree: ImageTree, { files = [], directory }: OsvImageRequest): void {
  for (const { source, destination } of files) {
    const from = resolve(directory, source)
    if (OWN_MOUNTS.some((point) => (destination ?? from).startsWith(`${point}/`))) {
      throw usageError(
        `OSv mounts over ${destination ?? from}: nobody would see the file there`,
        '--file SOURCE:DESTINATION with another destination',
        '--file',
      )
    }
    if (destination === undefined) tree.host(from)
    else tree.copy(from, destination)
  }
}

function addBase(tree: ImageTree, base: OsvBase): void {
  for (const entry of base.entries) {
    if (entry.kind === 'directory') tree.directory(entry.guest)
    else if (entry.kind === 'symlink') tree.symlink(entry.guest, entry.target)
    else tree.copy(join(base.files, entry.file), entry.guest)
  }
}

/** OSv looks for libraries in `/` and `/usr/lib`, whatever their directory is on this host (core/elf.cc). */
function addLibrary(tree: ImageTree, object: LoadedObject, placed: string): void {
  const names = new Set([basename(object.path), object.elf.soname ?? basename(object.path)])
  for (const name of names) {
    const found = tree.has(`/${name}`) || tree.has(`/usr/lib/${name}`)
    // Plug-ins are opened by path, and a thousand names more would make every search longer.
    if (!found && name.startsWith('lib')) tree.symlink(`/usr/lib/${name}`, placed)
  }
}

/** libudev lists devices, of which OSv has none: the compatibility library stands in for it, under its name. */
function standIn(tree: ImageTree, { kept }: GuestObjects): string {
  const name = 'libudev.so.1'
  if (!kept.some((object) => object.elf.soname === name)) return 'it runs without the compatibility library'
  tree.entries.set(`/usr/lib/${name}`, { kind: 'symlink', target: COMPAT_NAME })
  return `it gets the compatibility library by the name of ${name}`
}
