// `leet bench` from wishes to files: finds out what can be measured here, runs it, sums up and writes.
import { randomBytes, randomInt } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Deadline, LeetError, type Log, usageError } from '../../common/index.ts'
import { dashed, type OptionSpec } from '../../mpi-bridge/index.ts'
import { shellQuote } from '../../scheduler-adapters/index.ts'
import { findProgram, inspectProgram, type ProgramFacts } from '../images/inspect.ts'
import { failsInOsv } from '../images/mpi.ts'
import { openOsvBase, osvStore } from '../images/osv/base.ts'
import { Journal } from '../journal/journal.ts'
import { findQemu } from '../machines/qemu-program.ts'
import { findAllocation } from '../plan/facts.ts'
import type { Settings } from '../plan/settings.ts'
import { profileAdditions } from '../profiles/apply.ts'
import { commandOf, composeCommand, leftOut } from './commands.ts'
import { environmentHere, loadNow } from './environment.ts'
import { compareFields, readWritten } from './fields.ts'
import { type BenchProgram, findBenchmarks, findLaunchers, mpiOf } from './mpis.ts'
import { type BenchWishes, MOST_SEED } from './options.ts'
import { missingRuns, planImages, planRuns } from './plan.ts'
import { reportPage } from './report/page.ts'
import {
  FORMAT,
  KIND_NAMES,
  type Kind,
  MPI_NAMES,
  type Mpi,
  ofMpi,
  type PlannedRun,
  type Results,
  type Run,
  STOCK_KINDS,
  type StockKind,
  workloadName,
} from './results.ts'
import { RESULTS_NAME, writeResults } from './results-file.ts'
import { digestsOf, refuseElsewhere, refuseOthers } from './resume.ts'
import { doRuns, eventsOf, storeOf, writtenFile } from './runner.ts'
import { summarise } from './summary.ts'
import { csvText, tableLines } from './write-text.ts'

/** What `bench` needs besides the wishes. */
export interface BenchContext {
  /** leet-mpirun's options. */
  readonly table: readonly OptionSpec[]
  /** What leet-mpirun makes of the options, with environment and files. */
  readonly settings: Settings
  /** As typed, for the report. */
  readonly command: readonly string[]
  /** What an earlier bench of the same command has left, which goes on. */
  readonly kept: Results | undefined
  readonly log: Log
  readonly print: (line: string) => void
  readonly signal: AbortSignal
}

const COMPILE_MS = 120_000

/** Measures and writes; resolves to the exit status: 1 when a run failed or is still to do. */
export async function bench(wishes: BenchWishes, context: BenchContext): Promise<number> {
  const { settings, log, print, signal, kept } = context
  if (kept) refuseElsewhere(kept, process.cwd())
  const notes: string[] = [...(kept?.notes ?? [])]
  const note = (text: string) => {
    if (!notes.includes(text)) notes.push(text)
    log.note(text)
  }
  const begun = kept?.begun ?? new Date().toISOString()
  const directory = resolve(wishes.out ?? `leet-bench-${begun.slice(0, 19).replaceAll(':', '')}`)
  const runsDirectory = join(directory, 'runs')
  if (!kept && existsSync(join(directory, RESULTS_NAME)))
    throw usageError('has the results of another bench', 'another --out, or --resume', directory)
  const caseDirectory = wishes.case === undefined ? undefined : findCase(wishes.case, directory)
  const home = caseDirectory ?? process.cwd()
  const facts = wishes.program.length > 0 ? await programFacts(wishes, home) : undefined
  mkdirSync(runsDirectory, { recursive: true })

  const own = ownMpi(settings, facts)
  const benchmarks = await findBenchmarks(wishes, {
    directory,
    own,
    isResumed: kept !== undefined,
    note,
    limits: { deadline: Deadline.after(COMPILE_MS), signal },
  })
  const mpis = new Set([...(own ? [own] : []), ...benchmarks.flatMap(({ mpi }) => mpi ?? [])])
  const launchers = await findLaunchers(wishes.mpirun, mpis)
  const [file, ...words] = wishes.program
  // What has no MPI that anybody knows is started by the launcher that is there.
  const programMpi = own ?? [...launchers.keys()][0]
  const programs: readonly BenchProgram[] = [
    ...benchmarks,
    ...(file !== undefined && facts
      ? [
          {
            workload: 'program' as const,
            argv: [file, ...words] as const,
            facts: facts.mpi,
            ...ofMpi(programMpi),
          },
        ]
      : []),
  ]
  const strange = [...launchers.keys()].find((mpi) => !programs.some((program) => program.mpi === mpi))
  if (strange)
    throw usageError(`is of ${MPI_NAMES[strange]}, of which nothing is measured`, undefined, '--mpirun')
  const kinds =
    kept?.kinds ?? (await chooseKinds(wishes, { base: settings.image.osvBase, programs, launchers, note }))
  const baseline =
    wishes.baseline ?? (['host', 'mpirun', 'mpiexec', ...kinds] as const).find((kind) => kinds.includes(kind))
  if (baseline === undefined || !kinds.includes(baseline))
    throw usageError(`${baseline} is not among the kinds`, kinds.join(', '), '--baseline')
  const parts = {
    leetMpirun: ownPath('leet-mpirun'),
    launchers,
    table: context.table,
    options: wishes.options,
    ranks: wishes.ranks,
    root: process.getuid?.() === 0,
    variables: facts ? await profileVariables(facts, home, settings, log) : [],
  }
  for (const kind of kinds) {
    for (const { option, why } of leftOut(parts, kind))
      note(`Runs of the kind ${kind} are not given ${dashed(option)}: ${why}.`)
  }
  const allocation = await findAllocation(settings.allocation, process.env)
  const environment = await environmentHere({
    qemu: kinds.some((kind) => kind === 'linux' || kind === 'osv') ? findQemu() : undefined,
    mpi: mpiNames(programs),
    nodes: allocation.nodes.map(({ name }) => name),
    scheduler: allocation.scheduler,
  })

  const leet = ownPath('leet')
  // Of the user's program if there is one: one image for each MPI.
  const imaged = programs.filter(({ workload }) => (workload === 'program') === (file !== undefined))
  const programOf = (run: PlannedRun) => programOfRun(run, run.workload === 'image' ? imaged : programs)
  const runCommandOf = (run: PlannedRun, events: string) => {
    const { argv } = programOf(run)
    return run.workload === 'image'
      ? composeCommand(leet, settings, run.kind, argv[0], storeOf(runsDirectory))
      : commandOf(parts, run.kind, argv, events)
  }
  const programFiles = digestsOf([
    ...(facts ? [facts.path] : []),
    ...benchmarks.map(({ argv: [benchmark] }) => benchmark),
    ...[...launchers].flatMap(([mpi, name]) =>
      kinds.includes(STOCK_KINDS[mpi]) ? [findProgram(name, process.env, process.cwd())] : [],
    ),
  ])
  if (kept) {
    const now = { environment, programs: programFiles }
    refuseOthers(kept, now, (run) => runCommandOf(run, eventsOf(runsDirectory, run)))
    note(`Resumed at ${new Date().toISOString()} with ${kept.runs.length} of ${kept.plan.length} runs done.`)
  }

  const isHopeless = (run: PlannedRun) => run.kind === 'osv' && failsInOsv(programOf(run).facts)
  for (const { mpi, facts: known } of kinds.includes('osv') ? programs : []) {
    if (mpi && failsInOsv(known))
      note(
        `${MPI_NAMES[mpi]} is not measured in OSv guests: MPI_Init of its device ${known.device} fails there.`,
      )
  }
  const seed = kept?.seed ?? wishes.seed ?? randomInt(MOST_SEED + 1)
  const wanted = [
    // An image that is given is not composed.
    ...(settings.image.name === undefined ? planImages(kinds, mpisIn(imaged)) : []),
    ...planRuns({ ...wishes, seed, kinds, programs }),
  ]
  const planned = kept?.plan ?? wanted.filter((run) => !isHopeless(run))
  log.note(`${planned.length} runs; results go to ${directory}`)
  const loadBefore = kept?.environment.load[0] ?? loadNow()
  const writtenOf = (run: Run) => readWritten(readFileSync(writtenFile(runsDirectory, run), 'utf8'))
  const resultsOf = (runs: readonly Run[]): Results => ({
    format: FORMAT,
    begun,
    ended: new Date().toISOString(),
    command: context.command,
    directory: process.cwd(),
    ...(wishes.program.length > 0 ? { program: wishes.program } : {}),
    ...(caseDirectory === undefined
      ? {}
      : { case: caseDirectory, fields: compareFields(runs, kinds, baseline, writtenOf) }),
    ranks: wishes.ranks,
    guests: Math.max(0, ...runs.map(({ timeline }) => timeline.guests.length)),
    kinds,
    baseline,
    repetitions: wishes.repetitions,
    warmup: wishes.warmup,
    seed,
    notes,
    environment: { ...environment, load: [loadBefore, loadNow()] },
    programs: programFiles,
    plan: planned,
    runs,
  })
  const before = kept?.runs ?? []
  const keep = (runs: readonly Run[]) => writeResults(directory, resultsOf(runs))
  // Killed before the first run has ended, it can go on, too.
  keep(before)
  const journal = await Journal.open({ jobId: `bench-${randomBytes(4).toString('hex')}` })
  const runs = await doRuns(planned, before, {
    journal,
    log,
    directory: runsDirectory,
    commandOf: runCommandOf,
    case: caseDirectory,
    prepare: wishes.prepare,
    keep,
    signal,
  }).finally(() => journal.close())
  const results = resultsOf(runs)
  const summary = summarise(results)
  writeResults(directory, { ...results, summary })
  writeFileSync(join(directory, 'results.csv'), csvText(results))
  writeFileSync(join(directory, 'report.html'), reportPage(results, summary))
  for (const line of tableLines(results, summary)) print(line)
  print(`Report: ${join(directory, 'report.html')}`)
  const isWhole = missingRuns(planned, runs).length === 0
  if (!isWhole) print(`The rest: leet bench --resume ${shellQuote(directory)}`)
  return isWhole && runs.every(({ failure }) => failure === undefined) ? 0 : 1
}

// What is asked for, or what the program is linked with; undefined: each that is here, or nobody knows.
function ownMpi({ mpi }: Settings, facts: ProgramFacts | undefined): Mpi | undefined {
  if (mpi === 'openmpi' || mpi === 'mpich') return mpi
  return facts && mpiOf(facts.mpi)
}

// Found before anything is compiled or booted.
async function programFacts({ program }: BenchWishes, home: string): Promise<ProgramFacts> {
  return inspectProgram(program[0] as string, process.env, home)
}

/** Absolute path of the case; its copies must not have their own copies in them. */
function findCase(word: string, results: string): string {
  const path = resolve(word)
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw usageError('is not a directory', undefined, `--case ${word}`)
  if (!/^\.\.(\/|$)/.test(relative(path, results)))
    throw usageError('the results would be in the case', 'an --out outside of it', `--case ${word}`)
  return path
}

// What the guests are told of the program's files the others must be told, too, or it would not run there.
async function profileVariables(
  facts: ProgramFacts,
  home: string,
  { profiles }: Settings,
  log: Log,
): Promise<readonly string[]> {
  const { variables } = await profileAdditions({
    words: profiles,
    programs: [facts],
    env: process.env,
    directory: home,
    log,
  })
  return variables
}

// A checkout and the compiled package have the commands at different places.
function ownPath(name: 'leet' | 'leet-mpirun'): string {
  const paths = ['../bin/', '../../../launcher/bin/'].map((path) =>
    fileURLToPath(new URL(path + name, import.meta.url)),
  )
  return paths.find((path) => existsSync(path)) ?? name
}

async function chooseKinds(
  { kinds }: BenchWishes,
  {
    base,
    programs,
    launchers,
    note,
  }: {
    readonly base: string | undefined
    readonly programs: readonly BenchProgram[]
    readonly launchers: ReadonlyMap<Mpi, string>
    readonly note: (text: string) => void
  },
): Promise<readonly Kind[]> {
  const hasOsv =
    base?.includes('/') ||
    (await openOsvBase(osvStore(process.env), base).then(
      () => true,
      () => false,
    ))
  const stock = [...launchers.keys()].map((mpi) => STOCK_KINDS[mpi])
  const noStock =
    stock.length > 0
      ? `the launcher of this MPI is ${stock.join(' or ')}`
      : 'there is no stock launcher of this MPI (--mpirun)'
  const noLauncher = (kind: StockKind) => (stock.includes(kind) ? {} : { [kind]: noStock })
  const missing: Partial<Record<Kind, string>> = {
    ...(hasOsv ? {} : { osv: 'there is no OSv base (leet image import osv DIR)' }),
    ...(programs.every(({ facts }) => failsInOsv(facts))
      ? { osv: 'MPI_Init of MPICH with UCX fails there' }
      : {}),
    ...noLauncher('mpirun'),
    ...noLauncher('mpiexec'),
  }
  const others: readonly Kind[] = ['linux', 'osv', 'host']
  const wanted = kinds ?? [...others, ...(stock.length > 0 ? stock : (['mpirun'] as const))]
  for (const kind of wanted) {
    const why = missing[kind]
    if (why === undefined) continue
    if (kinds) throw usageError(`${kind} cannot be measured: ${why}`, undefined, '--kinds')
    note(`Without ${KIND_NAMES[kind]}: ${why}.`)
  }
  return wanted.filter((kind) => missing[kind] === undefined)
}

/** The program that a run is of. */
function programOfRun({ workload, mpi }: PlannedRun, programs: readonly BenchProgram[]): BenchProgram {
  const found = programs.find(
    (each) => each.mpi === mpi && (workload === 'image' || each.workload === workload),
  )
  if (found) return found
  throw new LeetError({
    code: 'LEET_E_BENCH',
    what: 'what was planned can no longer be run here',
    where: workloadName({ workload, mpi }),
    hint: 'a bench of its own (--out DIR)',
    exitCode: 2,
  })
}

function mpisIn(programs: readonly BenchProgram[]): readonly (Mpi | undefined)[] {
  return [...new Set(programs.map(({ mpi }) => mpi))]
}

function mpiNames(programs: readonly BenchProgram[]): string | undefined {
  const names = programs.flatMap(({ mpi, facts }) =>
    mpi ? [`${MPI_NAMES[mpi]} ${facts.version ?? ''}`.trim()] : [],
  )
  return names.length > 0 ? [...new Set(names)].join(', ') : undefined
}
