// `leet submit`: a job script with the directives of a batch system, printed, written or handed to it.
import type { Command } from 'commander'
import {
  Deadline,
  parseCount,
  parseDuration,
  parseSize,
  runCommand,
  usageError,
} from '../../../common/index.ts'
import type { BatchScheduler, JobBody } from '../../../scheduler-adapters/index.ts'
import { print } from './shared.ts'

interface SubmitFlags {
  readonly scheduler?: string
  readonly nodes: number
  readonly tasksPerNode: number
  readonly cpusPerTask?: number
  readonly memory?: number
  readonly time?: number
  readonly queue?: string
  readonly account?: string
  readonly name?: string
  readonly output?: string
  readonly error?: string
  readonly parallelEnvironment?: string
  readonly print?: true
  readonly write?: string
}

/** How long a batch system may take to accept a job. */
const SUBMIT_MS = 120_000

/** Adds `leet submit`. `argv` tells a script from a command, which stands behind `--`. */
export function addSubmit(program: Command, argv: readonly string[]): void {
  const count = (flag: string) => (text: string) => parseCount(text, flag)
  program
    .command('submit <script-or-command...>')
    .description('submit a script, or a command behind --, with the directives of the batch system')
    .usage('--scheduler NAME [options] SCRIPT | -- COMMAND ARGUMENTS…')
    .option('--scheduler <name>', 'slurm, torque, openpbs, gridengine, lsf or flux (or LEET_SCHEDULER)')
    .option('--nodes <n>', 'nodes', count('--nodes'), 1)
    .option('--tasks-per-node <n>', 'slots on each node', count('--tasks-per-node'), 1)
    .option('--cpus-per-task <n>', 'processors of each slot', count('--cpus-per-task'))
    .option('--memory <size>', 'memory of each node, such as 8G', (text) => parseSize(text, '--memory'))
    .option('--time <time>', 'time limit, such as 30m or 1:30:00', (text) => parseDuration(text, '--time'))
    .option('--queue <name>', 'queue or partition')
    .option('--account <name>', 'account, project or bank')
    .option('--name <name>', 'name of the job')
    .option('--output <file>', 'file for its output')
    .option('--error <file>', 'file for its errors')
    .option('--parallel-environment <name>', 'Grid Engine’s parallel environment')
    .option('--print', 'show the script and the command that would submit it; submit nothing')
    .option('--write <file>', 'write the script to a file; submit nothing')
    .action(async (operands: string[], flags: SubmitFlags) => {
      const { jobScript } = await import('../../../scheduler-adapters/index.ts')
      const { text, submit } = jobScript(
        schedulerOf(flags.scheduler ?? process.env.LEET_SCHEDULER),
        requestOf(flags),
        await bodyOf(operands, argv.includes('--')),
      )
      if (flags.write !== undefined) {
        const { writeFile } = await import('node:fs/promises')
        await writeFile(flags.write, text, { mode: 0o755 })
        print(`${submit.join(' ')} <${flags.write}`)
      } else if (flags.print) {
        process.stdout.write(text)
        print(`# submitted by: ${submit.join(' ')}`)
      } else process.exitCode = await handOver(submit, text)
    })
}

const BATCH_SYSTEMS: readonly BatchScheduler[] = ['slurm', 'torque', 'openpbs', 'gridengine', 'lsf', 'flux']

function schedulerOf(name: string | undefined): BatchScheduler {
  const known = BATCH_SYSTEMS.find((system) => system === name)
  if (known !== undefined) return known
  const systems = BATCH_SYSTEMS.join(', ')
  if (name === undefined) throw usageError('no batch system is named', `one of ${systems}`, '--scheduler')
  throw usageError(`"${name}" is not a batch system`, `one of ${systems}`, '--scheduler')
}

function requestOf(flags: SubmitFlags) {
  const { nodes, tasksPerNode, memory, time, scheduler: _, print: __, write: ___, ...rest } = flags
  return {
    nodes,
    tasksPerNode,
    ...rest,
    ...(memory === undefined ? {} : { memoryPerNode: memory }),
    ...(time === undefined ? {} : { timeLimit: time }),
  }
}

async function bodyOf(operands: readonly string[], isCommand: boolean): Promise<JobBody> {
  if (isCommand) return { kind: 'command', argv: operands, workDir: process.cwd() }
  const [file, ...more] = operands as [string, ...string[]]
  if (more.length > 0) {
    throw usageError(`a script takes no arguments here: ${more.join(' ')}`, 'a command stands behind --')
  }
  const { readFile } = await import('node:fs/promises')
  try {
    return { kind: 'script', text: await readFile(file, 'utf8'), file }
  } catch (error) {
    throw usageError(
      `cannot be read (${(error as NodeJS.ErrnoException).code})`,
      'a job script, or `-- COMMAND`',
      file,
    )
  }
}

async function handOver(submit: readonly [string, ...string[]], text: string): Promise<number> {
  const result = await runCommand(submit, { input: text, deadline: Deadline.after(SUBMIT_MS) })
  process.stdout.write(result.stdout)
  process.stderr.write(result.stderr)
  return result.status
}
