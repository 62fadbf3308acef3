// `leet submit`: a job script with the directives of a batch system, printed, written, or handed to it, and waited for.
import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import {
  Deadline,
  parseCount,
  parseDuration,
  parseSize,
  runCommand,
  usageError,
} from '../../../common/index.ts'
import type { BatchScheduler, JobBody, JobEnd, JobRequest } from '../../../scheduler-adapters/index.ts'
import { log, print } from './shared.ts'

interface SubmitFlags {
  readonly scheduler?: string
  readonly nodes: number
  readonly ntasksPerNode: number
  readonly cpusPerTask?: number
  readonly memory?: number
  readonly time?: number
  readonly queue?: string
  readonly account?: string
  readonly name?: string
  readonly output?: string
  readonly error?: string
  readonly mail?: string
  readonly parallelEnvironment?: string
  readonly wait?: true
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
    .usage('[options] SCRIPT | -- COMMAND ARGUMENTS…')
    .option(
      '--scheduler <name>',
      'slurm, torque, openpbs, gridengine, lsf or flux (or LEET_SCHEDULER); the one that is here',
    )
    .option('--nodes <n>', 'nodes', count('--nodes'), 1)
    .option('--tasks-per-node, --ntasks-per-node <n>', 'slots on each node', count('--ntasks-per-node'), 1)
    .option('--cpus-per-task <n>', 'processors of each slot', count('--cpus-per-task'))
    .option('--memory <size>', 'memory of each node, such as 8G', (text) => parseSize(text, '--memory'))
    .option('--time <time>', 'time limit, such as 30m or 1:30:00', (text) => parseDuration(text, '--time'))
    .option('--queue <name>', 'queue or partition')
    .option('--account <name>', 'account, project or bank')
    .option('--name <name>', 'name of the job')
    .option('--output <file>', 'file for its output')
    .option('--error <file>', 'file for its errors')
    .option('--mail <address>', 'who is told by mail when the job ends or fails')
    .option('--parallel-environment <name>', 'Grid Engine’s parallel environment')
    .option(
      '--wait',
      'wait for the job: its output is shown, its exit status is this command’s, a signal cancels it',
    )
    .option('--print', 'show the script and the command that would submit it; submit nothing')
    .option('--write <file>', 'write the script to a file; submit nothing')
    .action(async (operands: string[], flags: SubmitFlags) => {
      const { jobScript } = await import('../../../scheduler-adapters/index.ts')
      const scheduler = await schedulerOf(flags.scheduler ?? process.env.LEET_SCHEDULER)
      const request = requestOf(flags)
      const body = await bodyOf(operands, argv.includes('--'))
      if (flags.wait) {
        if (flags.print || flags.write !== undefined)
          throw usageError('nothing is submitted that could be waited for', 'leave one out', '--wait')
        process.exitCode = await submitAndWait(scheduler, request, body)
        return
      }
      const { text, submit } = jobScript(scheduler, request, body)
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

async function schedulerOf(name: string | undefined): Promise<BatchScheduler> {
  const known = BATCH_SYSTEMS.find((system) => system === name)
  if (known !== undefined) return known
  const systems = BATCH_SYSTEMS.join(', ')
  if (name === undefined) {
    const found = await batchSystemHere()
    if (found) return found
    throw usageError('no batch system is named, and none is found here', `one of ${systems}`, '--scheduler')
  }
  throw usageError(`"${name}" is not a batch system`, `one of ${systems}`, '--scheduler')
}

/** The one whose commands are on PATH. */
async function batchSystemHere(): Promise<BatchScheduler | undefined> {
  const { findBatchSystem } = await import('../../../scheduler-adapters/index.ts')
  const { isOnPath } = await import('../../images/inspect.ts')
  return findBatchSystem(
    process.env,
    (command) => isOnPath(command, process.env),
    async (command) => {
      const { stdout, stderr } = await runCommand([command, '--version'], {
        deadline: Deadline.after(SUBMIT_MS),
      })
      return stdout + stderr
    },
  )
}

function requestOf(flags: SubmitFlags): JobRequest {
  const { ntasksPerNode, memory, time, scheduler: _, wait: __, print: ___, write: ____, ...rest } = flags
  return {
    tasksPerNode: ntasksPerNode,
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

/** In a file that the batch system names by itself nothing can be looked for. */
const PATTERN = /[%$]|\{\{/

async function submitAndWait(scheduler: BatchScheduler, request: JobRequest, body: JobBody): Promise<number> {
  const { jobScript, JOB_ENDS } = await import('../../../scheduler-adapters/index.ts')
  const { runAsJob } = await import('../wait-job.ts')
  const { watchSignals } = await import('../signals.ts')
  const end = JOB_ENDS[scheduler]
  const own = ownFiles(request)
  const { text, submit } = writtenBy(end, own)
  const shown = [
    { file: own.output, to: process.stdout },
    { file: own.error, to: process.stderr },
  ]
  const hidden = shown.filter(({ file }) => PATTERN.test(file))
  for (const { file } of hidden) log.note(`what goes to ${file} is not shown`)
  const cancelled = new AbortController()
  const signals = watchSignals(cancelled)
  try {
    return await runAsJob({
      submit,
      text,
      end,
      shown: shown.filter((each) => !hidden.includes(each)),
      say: (words) => void process.stderr.write(words),
      signal: cancelled.signal,
    })
  } finally {
    signals.stop()
    const { rm } = await import('node:fs/promises')
    for (const file of own.made) await rm(file, { force: true })
  }

  /** The batch system sends the job's words to the files, or the job does so itself. */
  function writtenBy({ writesItself }: JobEnd, { made: _, ...files }: OwnFiles) {
    if (!writesItself || files.output === request.output || files.error === request.error)
      return jobScript(scheduler, { ...request, ...files }, body)
    return jobScript(scheduler, { ...request, output: '/dev/null', error: '/dev/null' }, body, files)
  }
}

/** Files that the job's words go to: those that the user named, else some in this directory that go afterwards. */
interface OwnFiles {
  readonly output: string
  readonly error: string
  readonly made: readonly string[]
}

function ownFiles({ output, error }: JobRequest): OwnFiles {
  const name = `${process.cwd()}/leet-submit-${randomBytes(6).toString('hex')}`
  const made = [output === undefined ? `${name}.out` : [], error === undefined ? `${name}.err` : []].flat()
  return { output: output ?? `${name}.out`, error: error ?? `${name}.err`, made }
}
