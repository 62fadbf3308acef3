// Job scripts for `leet submit`: one request, said in the directives of each batch system.
// Directives: sbatch(1); qsub(1B) of Torque and of OpenPBS; qsub(1) of Grid Engine; bsub(1); flux-batch(1) with RFC 36.
import { usageError } from '../common/index.ts'
import type { SchedulerName } from './adapter.ts'
import { shellQuote } from './shell-quote.ts'

export type BatchScheduler = Exclude<SchedulerName, 'hostfile' | 'local'>

/** What a job asks for; what is left out is left to the site's defaults. */
export interface JobRequest {
  readonly name?: string
  readonly nodes: number
  readonly tasksPerNode: number
  readonly cpusPerTask?: number
  /** Bytes. */
  readonly memoryPerNode?: number
  /** Milliseconds. */
  readonly timeLimit?: number
  /** Queue or partition. */
  readonly queue?: string
  /** Account, project or bank. */
  readonly account?: string
  /** Files for the job's output, with the scheduler's own patterns. */
  readonly output?: string
  readonly error?: string
  /** Address that is told when the job ends or fails. */
  readonly mail?: string
  /** Grid Engine's parallel environment; there it must be named for more than one slot. */
  readonly parallelEnvironment?: string
}

/** What the job runs: one command in a directory, or a script of the user's. */
export type JobBody =
  | { readonly kind: 'command'; readonly argv: readonly string[]; readonly workDir: string }
  | { readonly kind: 'script'; readonly text: string; readonly file: string }

/** Absolute paths that the job itself sends its output and errors to. */
export interface JobFiles {
  readonly output: string
  readonly error: string
}

/** A job script and the command that submits it, to which the text is given on standard input. */
export interface JobScript {
  readonly text: string
  readonly submit: readonly [string, ...string[]]
}

interface Directive {
  readonly text: string
  /** A directive of the user's script that says the same. */
  readonly repeats: RegExp
}

interface Dialect {
  /** What begins a directive that we write. */
  readonly prefix: string
  readonly submit: readonly [string, ...string[]]
  readonly directives: (request: JobRequest, interpreter: string) => (Directive | undefined)[]
}

/**
 * The script of a job. `LEET_E_USAGE` for what the scheduler cannot be asked, values that would break a line, and a
 * user's script that asks for the same thing itself.
 */
export function jobScript(
  scheduler: BatchScheduler,
  request: JobRequest,
  body: JobBody,
  files?: JobFiles,
): JobScript {
  checkRequest(request)
  const { prefix, submit, directives } = DIALECTS[scheduler]
  const { shebang, lines } = bodyLines(body)
  const sent = files ? [redirection(interpreterOf(shebang), files)] : []
  const asked = directives(request, interpreterOf(shebang)).filter((directive) => directive !== undefined)
  if (body.kind === 'script') refuseRepeats(body, asked, prefix)
  const header = asked.map(({ text }) => `${prefix} ${text}`)
  return { text: `${[shebang, ...header, ...sent, ...lines].join('\n')}\n`, submit }
}

function bodyLines(body: JobBody): { shebang: string; lines: string[] } {
  if (body.kind === 'command') {
    const command = body.argv.map(shellQuote).join(' ')
    // With exec, the signals of the batch system reach the command and not a shell before it.
    return { shebang: '#!/bin/sh', lines: [`cd ${shellQuote(body.workDir)} || exit 1`, `exec ${command}`] }
  }
  const lines = body.text.replace(/\n$/, '').split('\n')
  return lines[0]?.startsWith('#!')
    ? { shebang: lines[0], lines: lines.slice(1) }
    : { shebang: '#!/bin/sh', lines }
}

function interpreterOf(shebang: string): string {
  const [program = '/bin/sh'] = shebang.slice(2).trim().split(/\s+/)
  return program.endsWith('/env') ? '/bin/sh' : program
}

function redirection(interpreter: string, { output, error }: JobFiles): string {
  if (!/\/(ba|da|k|z)?sh$/.test(interpreter)) {
    throw usageError(
      `a script of ${interpreter} cannot be told where to write`,
      'give --output and --error, or a script of sh',
      '--wait',
    )
  }
  return `exec >${shellQuote(output)} 2>${shellQuote(error)}`
}

function refuseRepeats(
  { text, file }: JobBody & { kind: 'script' },
  asked: readonly Directive[],
  prefix: string,
): void {
  for (const [i, line] of text.split('\n').entries()) {
    if (!line.startsWith(prefix)) continue
    const words = line.slice(prefix.length).trim()
    const repeated = asked.find(({ repeats }) => repeats.test(words))
    if (repeated) {
      throw usageError(
        `"${line.trim().slice(0, 80)}" asks for what the command line asks for as well (${repeated.text})`,
        'say it in one place',
        `${file}, line ${i + 1}`,
      )
    }
  }
}

function checkRequest(request: JobRequest): void {
  const { nodes, tasksPerNode, cpusPerTask = 1, memoryPerNode = 1, timeLimit = 1 } = request
  for (const [value, what] of [
    [nodes, 'nodes'],
    [tasksPerNode, 'tasks per node'],
    [cpusPerTask, 'CPUs per task'],
    [memoryPerNode, 'memory per node'],
    [timeLimit, 'time limit'],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw usageError(`${what} must be at least 1, not ${value}`)
  }
  // Batch systems cut at blanks, commas and colons, and some want a letter first.
  if (request.name !== undefined && !/^[A-Za-z][A-Za-z0-9._+-]{0,63}$/.test(request.name)) {
    throw usageError(
      `${JSON.stringify(request.name)} is not a job name`,
      'a letter, then letters, digits, . _ + -',
    )
  }
  for (const word of [request.queue, request.account, request.parallelEnvironment]) {
    if (word !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._@:+/-]{0,127}$/.test(word)) {
      throw usageError(
        `${JSON.stringify(word.slice(0, 80))} is not the name of a queue, account or environment`,
      )
    }
  }
  if (request.mail !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._+-]*(@[A-Za-z0-9.-]+)?$/.test(request.mail)) {
    throw usageError(`${JSON.stringify(request.mail.slice(0, 80))} is not an address for mail`)
  }
  for (const path of [request.output, request.error]) {
    if (path !== undefined && !/^[!-~]{1,1024}$/.test(path)) {
      throw usageError(
        `${JSON.stringify(path.slice(0, 80))} cannot stand in a directive`,
        'a path without blanks',
      )
    }
  }
}

/** A directive when there is a value for it. */
function given<T>(value: T | undefined, text: (value: T) => string, repeats: RegExp): Directive | undefined {
  return value === undefined ? undefined : { text: text(value), repeats }
}

/** `HH:MM:SS` of milliseconds, rounded up. */
function clock(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20)
}

function refuse(what: string, title: string, hint: string): never {
  throw usageError(`${title} cannot be asked for ${what}`, hint)
}

/** Batch systems whose slot is one CPU and one task at once. */
function oneCpuPerTask({ cpusPerTask = 1 }: JobRequest, title: string): void {
  if (cpusPerTask > 1) refuse('CPUs per task', title, 'ask for more tasks per node and start fewer ranks')
}

/** At its end, and when it is aborted: alike in Torque, OpenPBS and Grid Engine. */
const mailAtEnd = ({ mail }: JobRequest) => [
  given(mail, () => '-m ae', /^-m/),
  given(mail, (address) => `-M ${address}`, /^-M/),
]

const pbsNames = (request: JobRequest) => [
  given(request.name, (name) => `-N ${name}`, /^-N/),
  given(request.queue, (queue) => `-q ${queue}`, /^-q/),
  given(request.account, (account) => `-A ${account}`, /^-A/),
  given(request.output, (path) => `-o ${path}`, /^-o/),
  given(request.error, (path) => `-e ${path}`, /^-e/),
  given(request.timeLimit, (ms) => `-l walltime=${clock(ms)}`, /^-l.*\bwalltime=/),
  ...mailAtEnd(request),
]

const DIALECTS: Readonly<Record<BatchScheduler, Dialect>> = {
  slurm: {
    prefix: '#SBATCH',
    submit: ['sbatch'],
    directives: (request) => [
      given(request.name, (name) => `--job-name=${name}`, /^(--job-name|-J)/),
      given(request.nodes, (nodes) => `--nodes=${nodes}`, /^(--nodes\b|-N)/),
      given(
        request.tasksPerNode,
        (tasks) => `--ntasks-per-node=${tasks}`,
        /^(--ntasks|--ntasks-per-node|-n)\b/,
      ),
      given(request.cpusPerTask, (cpus) => `--cpus-per-task=${cpus}`, /^(--cpus-per-task|-c)/),
      given(request.memoryPerNode, (bytes) => `--mem=${mebibytes(bytes)}M`, /^--mem/),
      given(request.timeLimit, (ms) => `--time=${clock(ms)}`, /^(--time\b|-t)/),
      given(request.queue, (queue) => `--partition=${queue}`, /^(--partition|-p)/),
      given(request.account, (account) => `--account=${account}`, /^(--account|-A)/),
      given(request.output, (path) => `--output=${path}`, /^(--output|-o)/),
      given(request.error, (path) => `--error=${path}`, /^(--error|-e)/),
      given(request.mail, () => '--mail-type=END,FAIL', /^--mail-type/),
      given(request.mail, (address) => `--mail-user=${address}`, /^--mail-user/),
    ],
  },
  torque: {
    prefix: '#PBS',
    submit: ['qsub'],
    directives: (request) => {
      oneCpuPerTask(request, 'Torque')
      const { nodes, tasksPerNode, memoryPerNode } = request
      return [
        ...pbsNames(request),
        { text: `-l nodes=${nodes}:ppn=${tasksPerNode}`, repeats: /^-l.*\b(nodes|procs)=/ },
        // Torque counts the memory of all nodes together.
        given(memoryPerNode, (bytes) => `-l mem=${mebibytes(bytes) * nodes}mb`, /^-l.*\bp?v?mem=/),
      ]
    },
  },
  openpbs: {
    prefix: '#PBS',
    submit: ['qsub'],
    directives: (request) => {
      const { nodes, tasksPerNode, cpusPerTask = 1, memoryPerNode } = request
      const memory = memoryPerNode === undefined ? '' : `:mem=${mebibytes(memoryPerNode)}mb`
      const chunk = `ncpus=${tasksPerNode * cpusPerTask}:mpiprocs=${tasksPerNode}${memory}`
      return [
        ...pbsNames(request),
        { text: `-l select=${nodes}:${chunk}`, repeats: /^-l.*\b(select|nodes|ncpus|mem)=/ },
        // Each chunk on a node of its own.
        { text: '-l place=scatter', repeats: /^-l.*\bplace=/ },
      ]
    },
  },
  gridengine: {
    prefix: '#$',
    submit: ['qsub'],
    directives: (request, interpreter) => {
      oneCpuPerTask(request, 'Grid Engine')
      const { nodes, tasksPerNode, parallelEnvironment, memoryPerNode } = request
      const slots = nodes * tasksPerNode
      if (slots > 1 && parallelEnvironment === undefined) {
        refuse(
          'several slots without a parallel environment',
          'Grid Engine',
          'name one; `qconf -spl` lists them',
        )
      }
      return [
        given(request.name, (name) => `-N ${name}`, /^-N/),
        // Grid Engine takes the shell of the queue, not of the script's first line.
        { text: `-S ${interpreter}`, repeats: /^-S/ },
        { text: '-cwd', repeats: /^-(cwd|wd)/ },
        // USR2 before the kill: the only warning there is.
        { text: '-notify', repeats: /^-notify/ },
        given(parallelEnvironment, (name) => `-pe ${name} ${slots}`, /^-pe/),
        // h_vmem is counted per slot.
        given(memoryPerNode, (bytes) => `-l h_vmem=${mebibytes(bytes / tasksPerNode)}M`, /^-l.*\bh_vmem=/),
        given(request.timeLimit, (ms) => `-l h_rt=${clock(ms)}`, /^-l.*\bh_rt=/),
        given(request.queue, (queue) => `-q ${queue}`, /^-q/),
        given(request.account, (account) => `-P ${account}`, /^-P/),
        given(request.output, (path) => `-o ${path}`, /^-o/),
        given(request.error, (path) => `-e ${path}`, /^-e/),
        ...mailAtEnd(request),
      ]
    },
  },
  lsf: {
    prefix: '#BSUB',
    submit: ['bsub'],
    directives: (request) => {
      oneCpuPerTask(request, 'LSF')
      const { nodes, tasksPerNode, memoryPerNode } = request
      return [
        given(request.name, (name) => `-J ${name}`, /^-J/),
        { text: `-n ${nodes * tasksPerNode}`, repeats: /^-n/ },
        { text: `-R "span[ptile=${tasksPerNode}]"`, repeats: /^-R.*span\[/ },
        given(memoryPerNode, (bytes) => `-R "rusage[mem=${mebibytes(bytes)}MB]"`, /^-R.*rusage\[.*mem/),
        // bsub takes hours and minutes.
        given(request.timeLimit, (ms) => `-W ${clock(Math.ceil(ms / 60_000) * 60_000).slice(0, -3)}`, /^-W/),
        given(request.queue, (queue) => `-q ${queue}`, /^-q/),
        given(request.account, (account) => `-P ${account}`, /^-P/),
        given(request.output, (path) => `-o ${path}`, /^-oo?\b/),
        given(request.error, (path) => `-e ${path}`, /^-eo?\b/),
        // With -N the report comes by mail although there is a file for the output.
        given(request.mail, (address) => `-N -u ${address}`, /^-(u|N)\b/),
      ]
    },
  },
  flux: {
    prefix: '#flux:',
    submit: ['flux', 'batch'],
    directives: (request) => {
      const { nodes, tasksPerNode } = request
      if (request.memoryPerNode !== undefined) refuse('memory', 'Flux', 'leave it out: nodes come whole')
      if (request.mail !== undefined) refuse('mail', 'Flux', 'leave it out, or use --wait')
      return [
        given(request.name, (name) => `--job-name=${name}`, /^--job-name/),
        { text: `--nodes=${nodes}`, repeats: /^(--nodes|-N)/ },
        { text: `--nslots=${nodes * tasksPerNode}`, repeats: /^(--nslots|-n)/ },
        given(request.cpusPerTask, (cpus) => `--cores-per-slot=${cpus}`, /^(--cores-per-slot|-c)/),
        given(request.timeLimit, (ms) => `--time-limit=${Math.ceil(ms / 1000)}s`, /^(--time-limit|-t)/),
        given(request.queue, (queue) => `--queue=${queue}`, /^(--queue|-q)/),
        given(request.account, (account) => `--bank=${account}`, /^(--bank|-B)/),
        given(request.output, (path) => `--output=${path}`, /^--output/),
        given(request.error, (path) => `--error=${path}`, /^--error/),
      ]
    },
  },
}
