// The command `leet`: images, what is left behind, what was found. The table of leet-mpirun's options is not used here.
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { Deadline, EXIT_USAGE, lineLog, usageError } from '../../common/index.ts'
import type { Settings } from './settings.ts'
import { version } from './version.ts'

const COMPOSE_MS = 600_000

/** Runs `leet`; resolves to its exit status, rejects with LeetError. */
export async function leet(argv: readonly string[]): Promise<number> {
  const program = new Command('leet')
    .description('Images, clean-up and explanations for leet-mpirun, which runs MPI jobs in virtual machines')
    .version(version())
    .exitOverride()
    .showHelpAfterError('(leet --help shows all commands)')
  addImageCommands(program)
  addReap(program)
  addExplain(program)
  addConfig(program)
  addExport(program)
  try {
    await program.parseAsync(argv as string[], { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // Commander has printed its help or its sentence already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
    throw error
  }
}

const log = lineLog((text) => process.stderr.write(text), 'leet: ', false)
const print = (line: string) => process.stdout.write(`${line}\n`)

interface ComposeFlags {
  readonly guest: string
  readonly file: readonly string[]
  readonly kernel?: string
  readonly modules?: string
  readonly name?: string
}

function addImageCommands(program: Command): void {
  const image = program.command('image').description('what guests boot')
  image
    .command('compose <program...>')
    .description('compose an image from programs and everything that they need')
    .option('--guest <kind>', 'linux', guestKind, 'linux')
    .option('--file <src[:dst]>', 'one more file or directory', gather, [])
    .option('--kernel <file>', 'kernel to boot (default: the newest installed)')
    .option('--modules <dir>', 'its modules')
    .option('--name <name>', 'a name for --image')
    .action(async (programs: string[], flags: ComposeFlags) => {
      const { composeForPrograms } = await import('../job/image.ts')
      const made = await composeForPrograms(
        { programs, files: flags.file, kernel: flags.kernel, modules: flags.modules, shared: [] },
        { log, deadline: Deadline.after(COMPOSE_MS) },
      )
      if (flags.name !== undefined) {
        const { nameLinuxImage } = await import('../images/find.ts')
        await nameLinuxImage(imageName(flags.name), made, process.env)
      }
      print(`${made.id}${made.composed ? '' : ' (was there already)'}`)
      print(`  kernel ${made.kernel}\n  initrd ${made.initrd}\n  disk   ${made.disk}`)
    })
  image
    .command('list')
    .description('the images of your store')
    .action(async () => {
      const { listLinuxImages } = await import('../images/find.ts')
      for (const found of await listLinuxImages(process.env)) print(`${found.id}  ${found.disk}`)
    })
  image
    .command('import <kind> <dir>')
    .description('take what OSv’s own build left (kind: osv) as the base of OSv images')
    .action(async (kind: string, directory: string) => {
      if (kind !== 'osv') throw usageError(`"${kind}" cannot be imported`, 'leet image import osv DIR')
      const { importOsvBase, osvStore } = await import('../images/osv/base.ts')
      const { base, lacks } = await importOsvBase(directory, { store: osvStore(process.env) })
      print(`${base.id}${base.version ? ` (OSv ${base.version})` : ''}`)
      for (const sentence of lacks) print(`  lacks: ${sentence}`)
    })
}

function addReap(program: Command): void {
  program
    .command('reap')
    .description('remove what killed jobs of yours left on this machine')
    .action(async () => {
      const { reap } = await import('../journal/reaper.ts')
      const jobs = await reap({ log })
      for (const job of jobs) {
        print(`job ${job.jobId ?? job.directory}:`)
        for (const line of job.done) print(`  ${line}`)
        for (const line of job.failures) print(`  still there: ${line}`)
      }
      if (jobs.length === 0) print('nothing was left behind')
      if (jobs.some((job) => job.failures.length > 0)) process.exitCode = 1
    })
}

function addExplain(program: Command): void {
  const explain = program.command('explain').description('say what was found, and why')
  explain
    .command('allocation')
    .description('nodes and slots of this job, with the origin of each figure')
    .option('--hostfile <file>', 'as for leet-mpirun')
    .option('-H, --hosts <list>', 'as for leet-mpirun')
    .action(async (wishes: { hostfile?: string; hosts?: string }) => {
      const { explainAllocation } = await import('../../scheduler-adapters/index.ts')
      const { findAllocation } = await import('../plan/facts.ts')
      for (const line of explainAllocation(await findAllocation(wishes, process.env))) print(line)
    })
}

function addConfig(program: Command): void {
  program
    .command('config')
    .description('settings of leet-mpirun here, and where each came from')
    .option('--schema', 'the JSON schema of leet.yaml instead')
    .action(async ({ schema }: { schema?: true }) => {
      const { OPTIONS } = await import('./options.ts')
      if (schema) {
        const { configSchema } = await import('../config/schema.ts')
        print(JSON.stringify(configSchema(OPTIONS), undefined, 2))
        return
      }
      const { configPaths, loadConfigs } = await import('../config/load.ts')
      const { showConfig } = await import('../config/show.ts')
      const paths = configPaths(process.env, process.cwd())
      const sources = {
        flags: new Map(),
        environment: process.env,
        files: await loadConfigs(paths, OPTIONS),
      }
      for (const line of showConfig(OPTIONS, sources, paths)) print(line)
      // Values that leet-mpirun would refuse are refused here too.
      await settingsHere()
    })
}

function addExport(program: Command): void {
  program
    .command('export <dir> [command...]')
    .description('serve a directory of this node to the guests of the job by NFS, while a command runs')
    .usage('[options] DIR [-- COMMAND ARGUMENTS…]')
    .option('--allow <address>', 'one more address or network that may use it', gather, [])
    .action(async (directory: string, command: string[], { allow }: { allow: readonly string[] }) => {
      const { exportDirectory } = await import('../nfs/export.ts')
      const { findAllocation } = await import('../plan/facts.ts')
      const settings = await settingsHere()
      const { nodes } = await findAllocation(settings.allocation, process.env)
      process.exitCode = await exportDirectory({
        directory,
        nodes: nodes.map(({ name }) => name),
        subnet: settings.network.subnet,
        allow,
        command,
        log,
        print,
      })
    })
}

/** What leet-mpirun would do here without options. */
async function settingsHere(): Promise<Settings> {
  const { OPTIONS } = await import('./options.ts')
  const { configPaths, loadConfigs } = await import('../config/load.ts')
  const { readSettings } = await import('./settings.ts')
  const files = await loadConfigs(configPaths(process.env, process.cwd()), OPTIONS)
  const options = new Map()
  return readSettings({ options, programs: [{ options, argv: ['true'] }] }, process.env, files)
}

function imageName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) return text
  throw usageError(`"${text}" is not a name for an image`, 'letters, digits, dots and dashes', '--name')
}

function guestKind(text: string): string {
  if (text !== 'linux') throw new InvalidArgumentError('a guest is linux')
  return text
}

function gather(text: string, before: readonly string[]): string[] {
  return [...before, text]
}
