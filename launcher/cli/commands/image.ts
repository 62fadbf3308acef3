// `leet image …`: what guests boot.
import { statSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { Deadline, formatSize, usageError } from '../../../common/index.ts'
import { gather, log, print } from './shared.ts'

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
}

/** Adds `leet image` with its commands. */
export function addImageCommands(program: Command): void {
  const image = program.command('image').description('what guests boot')
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
    .option('--name <name>', 'a name for --image (of Linux)')
    .option('--osv-base <base>', 'OSv base by id or directory (default: the one imported last)')
    .option('--no-osv-compat', 'leave the compatibility library out of an OSv image')
    .option(
      '--mount-point <dir>',
      'a directory of an OSv image on which something will be mounted',
      gather,
      [],
    )
    .action(async (programs: string[], flags: ComposeFlags) => {
      const files = [...(await profileFiles(programs, flags.profile)), ...flags.file]
      if (flags.guest === 'osv') return composeOsv(programs, { ...flags, file: files })
      const { composeForPrograms } = await import('../../job/image.ts')
      const made = await composeForPrograms(
        { programs, files, kernel: flags.kernel, modules: flags.modules, shared: [] },
        { log, deadline: Deadline.after(COMPOSE_MS) },
      )
      if (flags.name !== undefined) {
        const { nameLinuxImage } = await import('../../images/find.ts')
        await nameLinuxImage(imageName(flags.name), made, process.env)
      }
      print(`${made.id}${made.composed ? '' : ' (was there already)'}`)
      print(`  kernel ${made.kernel}\n  initrd ${made.initrd}\n  disk   ${made.disk}`)
    })
  image
    .command('list')
    .description('the images of your store, the newest first')
    .action(async () => {
      const { describeLinuxImages } = await import('../../images/remove.ts')
      for (const { id, size, made, names } of await describeLinuxImages(process.env)) {
        print([id, formatSize(size), made.toISOString().slice(0, 10), ...names].join('  '))
      }
    })
  image
    .command('show <image>')
    .description('an image by name or id, or a disk image: what guests would boot')
    .action(async (word: string) => {
      if (statSync(word, { throwIfNoEntry: false })?.isFile()) {
        const { openDiskImage } = await import('../../images/disk-image.ts')
        const { path, format, size } = openDiskImage(word)
        print(`${path}\n  format ${format}\n  size   ${formatSize(size)}`)
        return
      }
      const { findLinuxImage } = await import('../../images/find.ts')
      const { describeLinuxImages } = await import('../../images/remove.ts')
      const found = await findLinuxImage(word, process.env, process.cwd())
      const listed = (await describeLinuxImages(process.env)).find(({ id }) => id === found.id)
      print(found.id)
      if (listed) {
        print(`  names  ${listed.names.join(', ') || '-'}\n  size   ${formatSize(listed.size)}`)
        print(`  made   ${listed.made.toISOString()}`)
      }
      print(`  kernel ${found.kernel}\n  initrd ${found.initrd}\n  disk   ${found.disk}`)
    })
  image
    .command('remove <image...>')
    .description('remove images from your store')
    .action(async (words: string[]) => {
      const { findLinuxImage } = await import('../../images/find.ts')
      const { removeLinuxImages } = await import('../../images/remove.ts')
      const found = await Promise.all(words.map((word) => findLinuxImage(word, process.env, process.cwd())))
      for (const { id } of found) {
        // A directory of the user's own has its path for an id.
        if (id.startsWith('/')) throw usageError(`${id} is not in your store`, 'leet image list', 'IMAGE')
      }
      print(`${formatSize(await removeLinuxImages(found, process.env))} freed`)
    })
  image
    .command('prune')
    .description('remove all images without a name: they are composed again when they are needed')
    .action(async () => {
      const { describeLinuxImages, removeLinuxImages } = await import('../../images/remove.ts')
      const nameless = (await describeLinuxImages(process.env)).filter(({ names }) => names.length === 0)
      const freed = await removeLinuxImages(nameless, process.env)
      print(`${nameless.length} removed, ${formatSize(freed)} freed`)
    })
  image
    .command('import <kind> <dir>')
    .description('take what OSv’s own build left (kind: osv) as the base of OSv images')
    .action(async (kind: string, directory: string) => {
      if (kind !== 'osv') throw usageError(`"${kind}" cannot be imported`, 'leet image import osv DIR')
      const { importOsvBase, OSV_BUILD, osvStore } = await import('../../images/osv/base.ts')
      const { base, lacks } = await importOsvBase(directory, { store: osvStore(process.env) })
      print(`${base.id}${base.version ? ` (OSv ${base.version})` : ''}`)
      for (const sentence of lacks) print(`  lacks: ${sentence}`)
      if (lacks.length > 0) print(`  a base that lacks nothing comes from ${OSV_BUILD}`)
    })
}

/** What profiles add to an image of these programs. */
async function profileFiles(
  programs: readonly string[],
  words: readonly string[],
): Promise<readonly string[]> {
  const { inspectProgram } = await import('../../images/inspect.ts')
  const { profileAdditions } = await import('../../profiles/apply.ts')
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

/** Prints the image and where its programs are in it; what will not work there goes to stderr. */
async function composeOsv(programs: readonly string[], flags: ComposeFlags): Promise<void> {
  for (const name of ['kernel', 'modules', 'name'] as const) {
    if (flags[name] === undefined) continue
    throw usageError(
      `--${name} is for Linux images`,
      'an OSv image boots the kernel of its base',
      `--${name}`,
    )
  }
  const { composeOsvForPrograms, findOsvBase } = await import('../../job/image.ts')
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
    { log, deadline: Deadline.after(COMPOSE_MS) },
  )
  for (const warning of made.warnings) log.warn(warning)
  print(`${made.id}${made.composed ? '' : ' (was there already)'}`)
  print(`  kernel ${made.kernel}\n  disk   ${made.disk}`)
  for (const { path } of made.programs) print(`  has    ${path}`)
}

function checkMountPoint(path: string): string {
  if (/^(\/[^/\0]+)+$/.test(path) && !/\/\.{1,2}(\/|$)/.test(path)) return path
  throw usageError(`"${path}" is not an absolute path`, '--mount-point /data', '--mount-point')
}

function imageName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) return text
  throw usageError(`"${text}" is not a name for an image`, 'letters, digits, dots and dashes', '--name')
}
