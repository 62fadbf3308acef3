// Runs the planned commands one after the other, as children of this process, and notes what each did. What leet-mpirun
// tells comes from its events file, what the small MPI program tells from its output: nothing is measured in a way that a
// user could not.
import { createWriteStream, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { Deadline, endOf, LeetError, type Log, messageOf, waitFor } from '../../common/index.ts'
import { eventTime } from '../job/events.ts'
import type { Journal } from '../journal/journal.ts'
import { copyCase, digestsBelow } from './case.ts'
import { writtenText } from './fields.ts'
import { parseMicro, parseOsu, saysBegin } from './micro.ts'
import { observe, readEvents } from './observe.ts'
import { missingRuns, sameRuns } from './plan.ts'
import {
  type CurveName,
  isStock,
  KIND_NAMES,
  type Measurement,
  type PlannedRun,
  type Run,
  workloadName,
} from './results.ts'
import { type Iterations, iterationsOf } from './solver-log.ts'

/** What the runner needs. */
export interface RunnerContext {
  readonly journal: Journal
  readonly log: Log
  /** Where output and events of each run are kept. */
  readonly directory: string
  readonly commandOf: (run: PlannedRun, events: string) => [string, ...string[]]
  /** The program runs in a fresh copy of this directory; undefined: here. */
  readonly case: string | undefined
  /** For the shell, before each run of the user's program, where that runs. */
  readonly prepare: string | undefined
  /** Hears all runs after each. */
  readonly keep: (runs: readonly Run[]) => void
  readonly signal: AbortSignal
}

/** How long a child that was asked to end may take, in milliseconds. */
const END_MS = 30_000
/** How much is read of a run's output, in bytes: benchmarks print less. */
const OUTPUT_SHOWN = 1 << 20
/** How many of the last lines of stderr tell why a run failed. */
const LINES_SHOWN = 12

/**
 * Does the runs that are missing, and hands over all after each: what was done before a signal is not lost. What only
 * fails is not tried for ever. Returns all runs, in the order of their numbers.
 */
export async function doRuns(
  planned: readonly PlannedRun[],
  before: readonly Run[],
  context: RunnerContext,
): Promise<readonly Run[]> {
  const { log, signal } = context
  let done = before
  for (;;) {
    const [next] = missingRuns(planned, done)
    const result = !next || signal.aborted ? undefined : await doRun(next.run, next.number, context)
    if (result === undefined || signal.aborted) return done
    done = [...done, result].sort((a, b) => a.number - b.number)
    context.keep(done)
    const rest = missingRuns(planned, done).map(({ run }) => run)
    log.note(lineOf(result, planned.length) + restText(rest, done))
    const { failure } = result
    if (failure === undefined || sameRuns(result, done).length > 1) continue
    for (const line of failure.split('\n').slice(1)) log.note(`  ${line}`)
    log.note(`  all it said: ${join(context.directory, nameOf(result))}.err`)
  }
}

/** How long the rest will take, when each of its runs was done once. */
export function restText(rest: readonly PlannedRun[], done: readonly Run[]): string {
  const seconds = rest.map((run) => {
    const same = sameRuns(run, done)
    return same.reduce((sum, each) => sum + each.seconds, 0) / same.length
  })
  const sum = seconds.reduce((all, each) => all + each, 0)
  if (rest.length === 0 || Number.isNaN(sum)) return ''
  return sum < 90 ? `; about ${Math.ceil(sum)} s to go` : `; about ${Math.round(sum / 60)} min to go`
}

function nameOf({ number, kind, workload }: PlannedRun & { readonly number: number }): string {
  return `${String(number).padStart(3, '0')}-${kind}-${workload}`
}

/** Where the events of a run go. */
export function eventsOf(directory: string, run: PlannedRun & { readonly number: number }): string {
  return join(directory, `${nameOf(run)}.events`)
}

async function doRun(planned: PlannedRun, number: number, context: RunnerContext): Promise<Run> {
  const whole = (directory: string | undefined) => measure(planned, number, directory, context)
  if (planned.workload === 'image')
    return ownDirectory(storeOf(context.directory), context, () => whole(context.case))
  if (planned.workload !== 'program') return whole(undefined)
  if (context.case === undefined) {
    await prepare(undefined, context)
    return whole(undefined)
  }
  const from = context.case
  return ownDirectory(join(context.directory, 'case'), context, async (directory) => {
    await copyCase(from, directory)
    await prepare(directory, context)
    const before = await digestsBelow(directory)
    const run = await whole(directory)
    if (run.failure === undefined)
      writeFileSync(writtenFile(context.directory, run), writtenText(before, await digestsBelow(directory)))
    return run
  })
}

/** Where it is noted what a run wrote of the case. */
export function writtenFile(directory: string, run: Run): string {
  return join(directory, `${nameOf(run)}.sha256`)
}

/** The store of the run that composes an image: of what was composed before nothing is in it. */
export function storeOf(directory: string): string {
  return join(directory, 'store')
}

/** A directory that one run has for itself, and that goes with it. */
async function ownDirectory<T>(
  directory: string,
  { journal }: RunnerContext,
  body: (directory: string) => Promise<T>,
): Promise<T> {
  const made = journal.expectFile(directory, 'the directory of a run of the bench')
  // One may be left of a bench that was killed.
  rmSync(directory, { recursive: true, force: true })
  try {
    return await body(directory)
  } finally {
    made.gone()
  }
}

async function measure(
  planned: PlannedRun,
  number: number,
  cwd: string | undefined,
  context: RunnerContext,
): Promise<Run> {
  const name = nameOf({ ...planned, number })
  const file = (ending: string) => join(context.directory, `${name}.${ending}`)
  const command = context.commandOf(planned, file('events'))
  const isProgram = planned.workload === 'program'
  const base = { number, ...planned, command }
  // Of a run that was interrupted.
  rmSync(file('events'), { force: true })
  const startedAt = eventTime()
  const ended = await runChild(command, file, cwd, context).catch((error) => ({ failure: messageOf(error) }))
  const seconds = (eventTime() - startedAt) / 1000
  const seen = isStock(planned.kind) ? undefined : observe(readEvents(readText(file('events'))), startedAt)
  const own = 'failure' in ended ? [] : ownMeasurements(planned, file('out'), seconds)
  const failure = 'failure' in ended ? ended.failure : own === undefined ? 'it printed no figures' : undefined
  const iterations =
    isProgram && failure === undefined ? iterationsOf(readFileSync(file('out'), 'utf8')) : undefined
  const outer: Measurement[] = [
    { metric: 'job', value: seconds },
    ...('begin' in ended && ended.begin !== undefined
      ? [{ metric: 'start' as const, value: (ended.begin - startedAt) / 1000 }]
      : []),
  ]
  // A benchmark takes as long as it was told to: its time says nothing.
  const all = [...outer, ...(seen?.measurements ?? []), ...(own ?? []), ...perIteration(iterations)].filter(
    ({ metric }) => isProgram || (metric !== 'job' && metric !== 'program'),
  )
  return {
    ...base,
    startedAt,
    seconds,
    ...(failure === undefined ? {} : { failure }),
    ...(iterations === undefined ? {} : { iterations: iterations.count }),
    ...(seen?.accelerator === undefined ? {} : { accelerator: seen.accelerator }),
    measurements: failure === undefined ? all : [],
    timeline: seen?.timeline ?? { job: [{ name: 'run', from: 0, to: seconds }], guests: [] },
  }
}

function perIteration({ seconds, processorSeconds }: Partial<Iterations> = {}): Measurement[] {
  return [
    ...(seconds === undefined ? [] : [{ metric: 'iteration' as const, value: seconds }]),
    ...(processorSeconds === undefined
      ? []
      : [{ metric: 'iteration-processor' as const, value: processorSeconds }]),
  ]
}

interface ChildOutcome {
  /** When the benchmark said that all ranks are through MPI_Init. */
  readonly begin?: number
  readonly failure?: string
}

async function runChild(
  command: [string, ...string[]],
  file: (ending: string) => string,
  cwd: string | undefined,
  { journal, signal }: RunnerContext,
): Promise<ChildOutcome> {
  const { child } = journal.spawn(command, {
    what: 'a run of the bench',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  let killer: NodeJS.Timeout | undefined
  // A program may take as long as it likes; once it has been asked to end it must.
  const stop = () => {
    child.kill('SIGTERM')
    killer = setTimeout(() => child.kill('SIGKILL'), END_MS)
  }
  signal.addEventListener('abort', stop, { once: true })
  let begin: number | undefined
  const last: string[] = []
  if (!child.stdout || !child.stderr) throw new Error('a child without its streams')
  const files = [child.stdout, child.stderr].map((stream, index) =>
    stream.pipe(createWriteStream(file(index === 0 ? 'out' : 'err'), { mode: 0o600 })),
  )
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (begin === undefined && saysBegin(line)) begin = eventTime()
  })
  createInterface({ input: child.stderr }).on('line', (line) => {
    // What leet-mpirun notes, such as its timings, is no reason.
    if (/^leet: |^-*$/.test(line)) return
    last.push(line)
    if (last.length > LINES_SHOWN) last.shift()
  })
  try {
    const [end] = await Promise.all([endOf(child), ...files.map((stream) => finished(stream))])
    if (end.kind === 'exit' && end.status === 0) return begin === undefined ? {} : { begin }
    const how = end.kind === 'exit' ? `status ${end.status}` : end.signal
    return { failure: [how, ...last].join('\n') }
  } finally {
    clearTimeout(killer)
    signal.removeEventListener('abort', stop)
  }
}

async function prepare(
  cwd: string | undefined,
  { journal, prepare: script, signal }: RunnerContext,
): Promise<void> {
  if (script === undefined) return
  const { child } = journal.spawn(['sh', '-c', script], {
    what: 'the preparation of a run',
    stdio: ['ignore', 'ignore', 'inherit'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  const end = await waitFor(endOf(child), { deadline: Deadline.never, signal }, { what: 'the preparation' })
  if (end.kind === 'exit' && end.status === 0) return
  throw new LeetError({
    code: 'LEET_E_BENCH',
    what: 'the preparation of a run failed',
    where: script,
    why: end.kind === 'exit' ? `status ${end.status}` : end.signal,
  })
}

function ownMeasurements(
  { workload }: PlannedRun,
  output: string,
  seconds: number,
): Measurement[] | undefined {
  if (workload === 'program') return []
  if (workload === 'image') return [{ metric: 'compose', value: seconds }]
  const text = readText(output)
  return workload === 'micro' ? parseMicro(text) : parseOsu(workload.slice('osu-'.length) as CurveName, text)
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8').slice(-OUTPUT_SHOWN)
  } catch {
    return ''
  }
}

function lineOf(run: Run, all: number): string {
  const { number, round, kind, seconds, failure } = run
  const which = round < 1 ? 'warm-up' : `round ${round}`
  const what = workloadName(run)
  const end = failure === undefined ? `${seconds.toFixed(2)} s` : `failed, ${failure.split('\n')[0]}`
  return `${String(number).padStart(String(all).length)} of ${all}, ${which}: ${what} on ${KIND_NAMES[kind]}: ${end}`
}
