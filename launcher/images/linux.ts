// Composes the image of a Linux guest: kernel, initial RAM file system, and a read-only disk with everything that the
// programs need, shared by all guests of a node so that it costs its memory once. Nothing is done twice: what an image
// would be made of is compared with what was made before by names, sizes and times, and made only when that is new.
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { LeetError, type Log, type WaitLimits } from '../../common/index.ts'
import { writeCpio } from './cpio.ts'
import { writeErofs } from './erofs.ts'
import { guestInitPath } from './guest-init.ts'
import { addModules, addSettings, addSkeleton, addTools, moduleList } from './guest-root.ts'
import type { ImageProgram, LinuxImage, LinuxImageRequest } from './image.ts'
import { factsOf, findProgram, type OpenedProgram, openProgram } from './inspect.ts'
import { findKernel, type Kernel, ROOT_MODULES, readKernel } from './kernel.ts'
import { hostLoaderSettings } from './loader.ts'
import { loadOrder, readModule } from './modules.ts'
import type { MpiFacts } from './mpi.ts'
import { loadPlugins } from './plugins.ts'
import { cacheDirectory, ImageStore, writeDurably } from './store.ts'
import { ImageTree, stampOf } from './tree.ts'

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
  const opened = openPrograms(request)
  const programs = opened.map(
    (program, i): ImageProgram => ({
      name: request.programs[i] as string,
      path: program.path,
      mpi: factsOf(program).mpi,
    }),
  )
  const mpi = onlyMpi(programs)
  const kernel = findKernel(request.kernel)
  const tree = new ImageTree(request.shared)
  addSkeleton(tree)
  addPrograms(tree, opened, request, context.log)
  const init = await guestInitPath(context)
  const fingerprint = fingerprintOf(tree, request, kernel, init)
  const known = await imageOf(store, await store.recall('by-input', fingerprint))
  if (known) return { ...known, programs, mpi, composed: false }
  await addTools(tree, request.starter.path, context)
  await addModules(tree, kernel, context)
  addSettings(tree)
  const boot = await makeBoot(store, kernel, init, context)
  const disk = await store.place('disk', async (directory) => {
    const { sha256 } = await writeErofs(join(directory, 'root.erofs'), tree.entries, context)
    return sha256
  })
  await store.remember('by-input', fingerprint, `${boot} ${disk}`)
  const image = await imageOf(store, `${boot} ${disk}`)
  if (!image)
    throw new LeetError({ code: 'LEET_E_IMAGE_FILE', where: store.root, what: 'the new image is gone' })
  return { ...image, programs, mpi, composed: true }
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
    const { missing } = factsOf(opened)
    const [first] = missing
    if (first) {
      throw new LeetError({
        code: 'LEET_E_LIBRARY',
        where: opened.path,
        what: `${missing.map((m) => m.name).join(', ')} cannot be found`,
        why: `${first.neededBy} needs ${first.name}`,
        hint: 'set LD_LIBRARY_PATH as for a run on this host, or load the module that has it',
        exitCode: 127,
      })
    }
    return opened
  })
}

/** The programs with all that is loaded for them, and the user's own files with what those need. */
function addPrograms(
  tree: ImageTree,
  opened: readonly OpenedProgram[],
  request: LinuxImageRequest,
  log: Log,
): void {
  const { env, directory } = request
  const add = (program: OpenedProgram) => {
    tree.host(program.path)
    for (const interpreter of program.interpreters) add(interpreter)
    const { data, leftOut } = loadPlugins(program.map, env)
    for (const object of program.map.objects) tree.host(object.path)
    for (const path of data) tree.host(path)
    for (const { path, why } of leftOut) log.detail(`${path} is left out of the image: ${why}`)
  }
  for (const program of opened) add(program)
  for (const { source, destination } of request.files ?? []) {
    const from = resolve(directory, source)
    if (destination === undefined) tree.host(from)
    else tree.copy(from, destination)
  }
}

/** One MPI for all programs of an image, else none of them could talk to the others. */
function onlyMpi(programs: readonly ImageProgram[]): MpiFacts {
  const [first, ...others] = programs.filter(({ mpi }) => mpi.flavour !== 'none')
  if (!first) return { flavour: 'none' }
  const other = others.find(({ mpi }) => mpi.flavour !== first.mpi.flavour)
  if (!other) return first.mpi
  throw new LeetError({
    code: 'LEET_E_PROGRAM',
    what: 'the programs use different MPI libraries',
    why: `${first.path}: ${first.mpi.flavour}, ${other.path}: ${other.mpi.flavour}`,
  })
}

/** Changes when this module makes something else of the same input. */
const FORMAT = 1

/** What an image would be made of, without reading any of it. */
function fingerprintOf(tree: ImageTree, request: LinuxImageRequest, kernel: Kernel, init: string): string {
  const hash = createHash('sha256')
  const tell = (...words: (string | number)[]) => hash.update(`${JSON.stringify(words)}\n`)
  tell(FORMAT)
  for (const [path, entry] of tree.entries) {
    if (entry.kind === 'file') {
      const { content } = entry
      tell(
        path,
        entry.mode,
        content.kind === 'host' ? content.stamp : createHash('sha256').update(content.bytes).digest('hex'),
      )
    } else tell(path, entry.kind, entry.kind === 'symlink' ? entry.target : entry.mode)
  }
  for (const path of [
    request.starter.path,
    kernel.file,
    kernel.modules,
    join(kernel.modules, 'modules.dep'),
    init,
    '/etc/ld.so.cache',
  ]) {
    const stats = statSync(path, { throwIfNoEntry: false })
    tell(path, stats ? stampOf(stats) : 'none')
  }
  for (const name of ['dropbear', 'busybox']) {
    const found = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'].flatMap(
      (directory) => {
        const stats = statSync(join(directory, name), { throwIfNoEntry: false })
        return stats ? [stampOf(stats)] : []
      },
    )
    tell(name, ...found)
  }
  return hash.digest('hex')
}

/** Kernel and initial RAM file system, the same for all programs: init and what mounts the disk. */
async function makeBoot(
  store: ImageStore,
  kernel: Kernel,
  init: string,
  context: ComposeContext,
): Promise<string> {
  const { files } = loadOrder(kernel.index, ROOT_MODULES)
  const stamps = [kernel.file, init, ...files.map((f) => join(kernel.modules, f.path))].map((path) =>
    stampOf(statSync(path)),
  )
  const input = createHash('sha256')
    .update(JSON.stringify([FORMAT, files, stamps]))
    .digest('hex')
  const known = await store.recall('boot-by-input', input)
  if (known && exists(store.path('boot', known, 'initrd'))) return known
  const boot = await store.place('boot', async (directory) => {
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
  await store.remember('boot-by-input', input, boot)
  return boot
}

/** The image of which `names` are the boot part and the disk, when both are in the store. */
export async function imageOf(
  store: ImageStore,
  names: string | undefined,
): Promise<Pick<LinuxImage, 'id' | 'kernel' | 'initrd' | 'disk'> | undefined> {
  const [boot, disk] = /^([0-9a-f]{64}) ([0-9a-f]{64})$/.exec(names ?? '')?.slice(1) ?? []
  if (!boot || !disk) return undefined
  const files = {
    kernel: store.path('boot', boot, 'kernel'),
    initrd: store.path('boot', boot, 'initrd'),
    disk: store.path('disk', disk, 'root.erofs'),
  }
  if (!Object.values(files).every(exists)) return undefined
  return { id: createHash('sha256').update(`${boot} ${disk}`).digest('hex'), ...files }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}
