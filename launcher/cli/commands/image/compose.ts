// `leet image compose`: an image from programs and everything that they need.
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { Deadline, usageError } from '../../../../common/index.ts'
import type { ImageContext } from '../../../job/image.ts'
import { gather, log, print } from '../shared.ts'

const COMPOSE_MS = 600_000

interface ComposeFlags {
  readonly guest: 'linux' | 'osv'
  readonly file: readonly string[]
  readonly profile: readonly string[]
  readonly kernel?: string
  readonly modules?: string
  readonly name?: string
  readonly osvBase?: string
  readonly osvCompat: boolean
  readonly mountPoint: readonly string[]
  readonly store?: string
}

/** Adds `leet image compose`. */
export function addCompose(image: Command): void {
  image
    .command('compose <program...>')
    .description('compose an image from programs and everything that they need')
    .addOption(new Option('--guest <kind>', 'what boots it').choices(['linux', 'osv']).default('linux'))
    .option('--file <src[:dst]>', 'one more file or directory', gather, [])
    .option(
      '--profile <name,…>',
      'what the programs need besides libraries, as for leet-mpirun: names, files, none (default: auto)',
      gather,
      [],
    )
    .option('--kernel <file>', 'kernel to boot (default: the newest installed)')
    .option('--modules <dir>', 'its modules')
    .option('--name <name>', 'a name for --image')
    .option('--osv-base <base>', 'OSv base by id or directory (default: the one imported last)')
    .option('--no-osv-compat', 'leave the compatibility library out of an OSv image')
    .option(
      '--mount-point <dir>',
      'a directory of an OSv image on which something will be mounted',
      gather,
      [],
    )
    .option('--store <dir>', 'where it is kept (default: the user’s cache, where jobs look)')
    .action(async (programs: string[], flags: ComposeFlags) => {
      const name = flags.name === undefined ? undefined : imageName(flags.name)
      if (name !== undefined && flags.store !== undefined) {
        throw usageError('only images of the usual store have names', undefined, '--name')
      }
      const files = [...(await profileFiles(programs, flags.profile)), ...flags.file]
      const compose = flags.guest === 'osv' ? composeOsv : composeLinux
      await compose(programs, { ...flags, file: files }, name)
    })
}

/** Prints the image and its parts. */
async function composeLinux(
  programs: readonly string[],
  { file, kernel, modules, store }: ComposeFlags,
  name: string | undefined,
): Promise<void> {
  const { composeForPrograms } = await import('../../../job/image.ts')
  const made = await composeForPrograms(
    { programs, files: file, kernel, modules, shared: [] },
    contextOf(store),
  )
  if (name !== undefined) {
    const { nameLinuxImage } = await import('../../../images/find.ts')
    await nameLinuxImage(name, made, process.env)
  }
  print(`${made.id}${made.composed ? '' : ' (was there already)'}`)
  print(`  kernel ${made.kernel}\n  initrd ${made.initrd}\n  disk   ${made.disk}`)
}

/** Prints the image and where its programs are in it; what will not work there goes to stderr. */
async function composeOsv(
  programs: readonly string[],
  flags: ComposeFlags,
  name: string | undefined,
): Promise<void> {
  for (const option of ['kernel', 'modules'] as const) {
    if (flags[option] === undefined) continue
    throw usageError(
      `--${option} is for Linux images`,
      'an OSv image boots the kernel of its base',
      `--${option}`,
    )
  }
  const { composeOsvForPrograms, findOsvBase } = await import('../../../job/image.ts')
  const made = await composeOsvForPrograms(
    {
      programs,
      files: flags.file,
      base: await findOsvBase(flags.osvBase, log),
      compat: flags.osvCompat,
      mountPoints: flags.mountPoint.map((path) => checkMountPoint(path)),
      staged: [],
      workDisk: false,
    },
    contextOf(flags.store),
  )
  if (name !== undefined) {
    const { nameOsvImage } = await import('../../../images/osv/remembered.ts')
    await nameOsvImage(name, made.id, process.env)
  }
  for (const warning of made.warnings) log.warn(warning)
  print(`${made.id}${made.composed ? '' : ' (was there already)'}`)
  print(`  kernel ${made.kernel}\n  disk   ${made.disk}`)
  for (const { path } of made.programs) print(`  has    ${path}`)
}

function contextOf(store: string | undefined): ImageContext {
  const limits = { log, deadline: Deadline.after(COMPOSE_MS) }
  return store === undefined ? limits : { ...limits, cacheDir: resolve(store) }
}

function checkMountPoint(path: string): string {
  if (/^(\/[^/\0]+)+$/.test(path) && !/\/\.{1,2}(\/|$)/.test(path)) return path
  throw usageError(`"${path}" is not an absolute path`, '--mount-point /data', '--mount-point')
}

function imageName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) return text
  throw usageError(`"${text}" is not a name for an image`, 'letters, digits, dots and dashes', '--name')
}

/** What profiles add to an image of these programs. */
async function profileFiles(
  programs: readonly string[],
  words: readonly string[],
): Promise<readonly string[]> {
  const { inspectProgram } = await import('../../../images/inspect.ts')
  const { profileAdditions } = await import('../../../profiles/apply.ts')
  const directory = process.cwd()
  const { files } = await profileAdditions({
    words: words.flatMap((list) => list.split(',').filter(Boolean)),
    programs: await Promise.all(programs.map((program) => inspectProgram(program, process.env, directory))),
    env: process.env,
    directory,
    log,
  })
  return files
}
