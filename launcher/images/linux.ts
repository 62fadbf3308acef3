// Composes the image of a Linux guest: kernel, initial RAM file system, and a read-only disk with everything that the
// programs need, shared by all guests of a node so that it costs its memory once. Nothing is done twice: what an image
// would be made of is compared with what was made before by names, sizes and times, and made only when that is new.
import { createHash } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { LeetError, type Log, type WaitLimits } from '../../common/index.ts'
import { isElf, stampOf, withFile, writeCpio, writeErofs } from './formats/index.ts'
import { guestInitPath } from './guest-init.ts'
import { addModules, addSettings, addSkeleton, addTools, moduleList, TOOL_DIRECTORIES } from './guest-root.ts'
import type { ImageProgram, LinuxImage, LinuxImageRequest } from './image.ts'
import { findProgram, missingOf, type OpenedProgram, openProgram, refuseMissingLibraries } from './inspect.ts'
import { findKernel, KERNEL_DIRECTORIES, type Kernel, ROOT_MODULES, readKernel } from './kernel.ts'
import { hostLoaderSettings, LD_CACHE } from './loader.ts'
import { type Remembered, requestKey, stampsOf, stillTrue } from './memory.ts'
import { loadOrder, readModule } from './modules.ts'
import { findMpi, mpiOfAll } from './mpi.ts'
import { loadPlugins } from './plugins.ts'
import { rememberPrograms } from './programs.ts'
import { cacheDirectory, ImageStore, statsOf, writeDurably } from './store.ts'
import { ImageTree } from './tree.ts'

/** Where images are kept and who is told. */
export interface ComposeContext extends WaitLimits {
  readonly log: Log
  /** `cacheDirectory(env)` when absent. */
  readonly cacheDir?: string
}

/**
 * The image for a request: found in the store, or made and kept there. Needs no root. What stands in the way of the
 * programs' start is refused before anything is made: `LEET_E_PROGRAM`, `LEET_E_LIBRARY`, `LEET_E_IMAGE_FILE`.
 */
export async function composeLinuxImage(
  request: LinuxImageRequest,
  context: ComposeContext,
): Promise<LinuxImage> {
  const store = new ImageStore(join(context.cacheDir ?? cacheDirectory(request.env), 'linux'))
  // Somebody may remove a part of it that was there already: then it is made anew.
  const image = (await composeOnce(request, store, context)) ?? (await composeOnce(request, store, context))
  if (image) return image
  throw new LeetError({ code: 'LEET_E_IMAGE_STORE', where: store.root, what: 'the new image is gone' })
}

async function composeOnce(
  request: LinuxImageRequest,
  store: ImageStore,
  context: ComposeContext,
): Promise<LinuxImage | undefined> {
  const init = await guestInitPath(context)
  const key = requestKey(request)
  const remembered = stillTrue(await store.recall('requests', key))
  const known = remembered && imageOf(store, remembered.image)
  if (known) return { ...known, programs: remembered.programs, mpi: remembered.mpi, composed: false }

  const opened = openPrograms(request)
  const kernel = findKernel(request.kernel)
  const tree = new ImageTree(request.shared)
  addSkeleton(tree)
  const searched = addPrograms(tree, opened, request, context.log)
  const programs = opened.map(
    ({ path, map }, i): ImageProgram => ({ name: request.programs[i] as string, path, mpi: findMpi(map) }),
  )
  const mpi = mpiOfAll(programs)
  await addTools(tree, request.starter.path, context)
  await addModules(tree, kernel, context)
  addSettings(tree)
  // Before contents are read: a file that changes while the image is made counts as changed at the next job.
  const stamps = stampsOf([
    ...[
      init,
      kernel.file,
      join(kernel.modules, 'modules.dep'),
      LD_CACHE,
      ...KERNEL_DIRECTORIES,
      ...TOOL_DIRECTORIES,
    ],
    ...(request.env.PATH ?? '').split(':').map((folder) => resolve(request.directory, folder)),
    ...searched,
    ...tree.sources,
    // Another version of this program may make something else of the same.
    ...ownFiles(),
  ])
  const boot = await makeBoot(store, kernel, init, context)
  const disk = await makeDisk(store, tree, context)
  const image = `${boot.name} ${disk.name}`
  await store.remember('requests', key, JSON.stringify({ stamps, image, programs, mpi } satisfies Remembered))
  const files = imageOf(store, image)
  if (!files) return undefined
  await store.remember(IMAGES, files.id, image)
  await rememberPrograms(
    store,
    files.id,
    programs.map(({ path }) => path),
  )
  return { ...files, programs, mpi, composed: boot.made || disk.made }
}

/** What of a guest's kernel command line depends on the guest. */
export interface CommandLineOptions {
  /** Serial console, `ttyS0` unless told. */
  readonly console?: string
  /** Further words, put last. */
  readonly extra?: readonly string[]
}

/**
 * The kernel's command line. `panic=-1` ends QEMU (run with `-no-reboot`) at a crash; self-tests of ciphers, probing of
 * timers and mitigations against other tenants cost a fifth of the boot under emulation and protect nobody here.
 */
export function linuxCommandLine(options: CommandLineOptions = {}): string {
  return [
    'quiet',
    'panic=-1',
    'oops=panic',
    'mitigations=off',
    'nokaslr',
    'random.trust_cpu=on',
    'tsc=reliable',
    'no_timer_check',
    'noreplace-smp',
    'cryptomgr.notests',
    'net.ifnames=0',
    `console=${options.console ?? 'ttyS0'}`,
    ...(options.extra ?? []),
  ].join(' ')
}

/** Reads the programs and refuses what could not start on this host, hence not in a guest either. */
function openPrograms({ programs, env, directory }: LinuxImageRequest): OpenedProgram[] {
  const settings = hostLoaderSettings(env, directory)
  return programs.map((name) => {
    const opened = openProgram(findProgram(name, env, directory), env, settings)
    refuseMissingLibraries({ path: opened.path, missing: missingOf(opened) })
    return opened
  })
}

/**
 * The programs with all that is loaded for them, and the user's own files. Gives what had a part in the search, for the
 * next time.
 */
function addPrograms(
  tree: ImageTree,
  opened: readonly OpenedProgram[],
  request: LinuxImageRequest,
  log: Log,
): string[] {
  const { env, directory } = request
  for (const { source, destination } of request.files ?? []) {
    const from = resolve(directory, source)
    if (destination === undefined) tree.host(from)
    else tree.copy(from, destination)
  }
  const libraries = sharedObjects(tree)
  const searched: string[] = []
  const add = ({ path, kind, map, interpreters }: OpenedProgram) => {
    tree.host(path)
    // Files below a mounted directory are not in the tree. But what they need is, so a change of them counts.
    searched.push(path, ...map.objects.map((object) => object.path))
    if (kind === 'script') return interpreters.forEach(add)
    // A program may load libraries that the user adds, such as extensions of an interpreter: they bring what they need.
    for (const library of map.program.elf.dynamic ? libraries : []) {
      const missing = map.openPlugin(library, map.program)
      if (missing) log.warn(`${library} is in the image, but not ${missing.name}, which it needs`)
    }
    const { data, leftOut, searched: folders } = loadPlugins(map, env)
    for (const object of map.objects) tree.host(object.path)
    for (const file of data) tree.host(file)
    for (const plugin of leftOut) log.detail(`${plugin.path} is left out of the image: ${plugin.why}`)
    searched.push(...folders, ...map.searched)
  }
  opened.forEach(add)
  return searched
}

/** The files of this folder, or of the bundle that it is a part of. */
function ownFiles(): string[] {
  const folder = dirname(import.meta.filename)
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name))
}

/** Host paths of the tree's files that are shared objects by name and content. */
function sharedObjects(tree: ImageTree): string[] {
  return [...tree.entries.values()].flatMap((entry) => {
    if (entry.kind !== 'file' || entry.content.kind !== 'host') return []
    const { path } = entry.content
    if (!/\.so(\.[\d.]+)?$/.test(path)) return []
    return withFile(path, (source) => isElf(source.read(0, 4))) ? [path] : []
  })
}

/** Kind of the store's entries that say of which parts the image with an id is made. */
export const IMAGES = 'images'

/** Changes when something else is made of the same input. */
const FORMAT = 1

/** One of the two parts of an image in the store. */
interface Part {
  readonly name: string
  readonly made: boolean
}

/** The disk for a tree: the one that was made of an equal tree, or a new one. */
async function makeDisk(store: ImageStore, tree: ImageTree, limits: WaitLimits): Promise<Part> {
  const hash = createHash('sha256').update(`${FORMAT}\n`)
  for (const [path, entry] of tree.entries) {
    const content = entry.kind === 'file' ? entry.content : undefined
    // Files of the host count by their stamps, those made here by their bytes.
    if (content?.kind === 'bytes') hash.update(`${path}\0${content.bytes.length}\0`).update(content.bytes)
    else hash.update(`${JSON.stringify([path, entry])}\n`)
  }
  const input = hash.digest('hex')
  const known = await store.recall('disk-by-input', input)
  if (known && isFile(store.path('disk', known, 'root.erofs'))) return { name: known, made: false }
  const name = await store.place('disk', async (directory) => {
    const { sha256 } = await writeErofs(join(directory, 'root.erofs'), tree.entries, limits)
    return sha256
  })
  await store.remember('disk-by-input', input, name)
  return { name, made: true }
}

/** Kernel and initial RAM file system, the same for all programs: init and what mounts the disk. */
async function makeBoot(
  store: ImageStore,
  kernel: Kernel,
  init: string,
  context: ComposeContext,
): Promise<Part> {
  const { files } = loadOrder(kernel.index, ROOT_MODULES)
  const stamps = [kernel.file, init, ...files.map((f) => join(kernel.modules, f.path))].map((path) =>
    stampOf(statSync(path)),
  )
  const input = createHash('sha256')
    .update(JSON.stringify([FORMAT, files, stamps]))
    .digest('hex')
  const known = await store.recall('boot-by-input', input)
  if (known && isFile(store.path('boot', known, 'initrd'))) return { name: known, made: false }
  const name = await store.place('boot', async (directory) => {
    const initrd = writeCpio([
      { path: 'dev', kind: 'directory', mode: 0o755 },
      { path: 'dev/console', kind: 'character', mode: 0o600, major: 5, minor: 1 },
      { path: 'init', kind: 'file', mode: 0o755, content: await readFile(init) },
      { path: 'modules', kind: 'directory', mode: 0o755 },
      { path: 'modules/root.list', kind: 'file', mode: 0o644, content: Buffer.from(moduleList(files)) },
      ...(await Promise.all(
        files.map(async ({ name, path }) => ({
          path: `modules/${name}.ko`,
          kind: 'file' as const,
          mode: 0o644,
          content: await readModule(join(kernel.modules, path), context),
        })),
      )),
    ])
    const image = await readKernel(kernel.file, context.log, context)
    await writeDurably(join(directory, 'initrd'), initrd)
    await writeDurably(join(directory, 'kernel'), image)
    return createHash('sha256')
      .update(createHash('sha256').update(image).digest())
      .update(initrd)
      .digest('hex')
  })
  await store.remember('boot-by-input', input, name)
  return { name, made: true }
}

/** The image of which `names` are the boot part and the disk, when both are in the store. */
export function imageOf(
  store: ImageStore,
  names: string | undefined,
): Pick<LinuxImage, 'id' | 'kernel' | 'initrd' | 'disk'> | undefined {
  const [boot, disk] = /^([0-9a-f]{64}) ([0-9a-f]{64})$/.exec(names ?? '')?.slice(1) ?? []
  if (!boot || !disk) return undefined
  const files = {
    kernel: store.path('boot', boot, 'kernel'),
    initrd: store.path('boot', boot, 'initrd'),
    disk: store.path('disk', disk, 'root.erofs'),
  }
  if (!Object.values(files).every(isFile)) return undefined
  return { id: createHash('sha256').update(`${boot} ${disk}`).digest('hex'), ...files }
}

function isFile(path: string): boolean {
  return statsOf(path)?.isFile() ?? false
}
