// `leet bench` from wishes to files: finds out what can be measured here, runs it, sums up and writes.
import { randomBytes, randomInt } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Deadline, LeetError, type Log, usageError } from '../../common/index.ts'
import { dashed, type OptionSpec } from '../../mpi-bridge/index.ts'
import { shellQuote } from '../../scheduler-adapters/index.ts'
import { findProgram, inspectProgram, type ProgramFacts } from '../images/inspect.ts'
import { openOsvBase, osvStore } from '../images/osv/base.ts'
import { Journal } from '../journal/journal.ts'
import { findQemu } from '../machines/qemu-program.ts'
import { findAllocation } from '../plan/facts.ts'
import type { MpiFlavour } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'
import { profileAdditions } from '../profiles/apply.ts'
import {
  commandOf,
  composeCommand,
  flavourOfVersion,
  leftOut,
  STOCK_KINDS,
  STOCK_LAUNCHERS,
  type StockLauncher,
} from './commands.ts'
import { environmentHere, loadNow, versionOf } from './environment.ts'
import { compareFields, readWritten } from './fields.ts'
import { compileMicro, findOsu } from './micro.ts'
import { type BenchWishes, MOST_SEED } from './options.ts'
import { missingRuns, planImages, planRuns } from './plan.ts'
import { reportPage } from './report/page.ts'
import {
  type CurveName,
  FORMAT,
  isStock,
  KIND_NAMES,
  type Kind,
  type PlannedRun,
  type Results,
  type Run,
  type Workload,
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

  const micro = join(directory, 'micro')
  if (wishes.micro && !kept)
    await compileMicro(wishes.mpicc, micro, { deadline: Deadline.after(COMPILE_MS), signal })
  const mpi = (wishes.micro ? await inspectProgram(micro, process.env) : facts)?.mpi
  const mpirun = await findStock(wishes.mpirun, mpi?.flavour ?? 'none')
  const kinds = kept?.kinds ?? (await chooseKinds(wishes, settings.image.osvBase, mpirun, note))
  const baseline =
    wishes.baseline ?? (['host', 'mpirun', 'mpiexec', ...kinds] as const).find((kind) => kinds.includes(kind))
  if (baseline === undefined || !kinds.includes(baseline))
    throw usageError(`${baseline} is not among the kinds`, kinds.join(', '), '--baseline')
  const osu = wishes.micro && wishes.osu ? findOsu(process.env.PATH ?? '') : undefined
  const programs = programsOf(wishes, micro, osu)
  const parts = {
    leetMpirun: ownPath('leet-mpirun'),
    mpirun,
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
    mpi: mpi && mpi.flavour !== 'none' ? `${mpi.flavour} ${mpi.version ?? ''}`.trim() : undefined,
    nodes: allocation.nodes.map(({ name }) => name),
    scheduler: allocation.scheduler,
  })

  const leet = ownPath('leet')
  const runCommandOf = ({ kind, workload }: PlannedRun, events: string) =>
    workload === 'image'
      ? composeCommand(leet, settings, kind, wishes.program[0] ?? micro, storeOf(runsDirectory))
      : commandOf(parts, kind, programs.get(workload) as readonly string[], events)
  const programFiles = digestsOf([
    ...(facts ? [facts.path] : []),
    ...[...programs].flatMap(([workload, [file]]) => (workload !== 'program' && file ? [file] : [])),
    ...(mpirun && kinds.some(isStock) ? [findProgram(mpirun.path, process.env, process.cwd())] : []),
  ])
  if (kept) {
    const now = { environment, programs: programFiles }
    refuseOthers(kept, now, (run) => runCommandOf(run, eventsOf(runsDirectory, run)))
    note(`Resumed at ${new Date().toISOString()} with ${kept.runs.length} of ${kept.plan.length} runs done.`)
  }

  const seed = kept?.seed ?? wishes.seed ?? randomInt(MOST_SEED + 1)
  const planned = kept?.plan ?? [
    // An image that is given is not composed.
    ...(settings.image.name === undefined ? planImages(kinds) : []),
    ...planRuns({ ...wishes, seed, kinds, workloads: [...programs.keys()] }),
  ]
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
  base: string | undefined,
  stock: StockLauncher | undefined,
  note: (text: string) => void,
): Promise<readonly Kind[]> {
  const hasOsv =
    base?.includes('/') ||
    (await openOsvBase(osvStore(process.env), base).then(
      () => true,
      () => false,
    ))
  const stockKind = stock && STOCK_KINDS[stock.flavour]
  const noStock = stockKind
    ? `the launcher of this MPI is ${stockKind}`
    : 'there is no stock launcher of this MPI (--mpirun)'
  const missing: Partial<Record<Kind, string>> = {
    ...(hasOsv ? {} : { osv: 'there is no OSv base (leet image import osv DIR)' }),
    ...(stockKind === 'mpirun' ? {} : { mpirun: noStock }),
    ...(stockKind === 'mpiexec' ? {} : { mpiexec: noStock }),
  }
  const others: readonly Kind[] = ['linux', 'osv', 'host']
  const wanted = kinds ?? [...others, stockKind ?? 'mpirun']
  for (const kind of wanted) {
    const why = missing[kind]
    if (why === undefined) continue
    if (kinds) throw usageError(`${kind} cannot be measured: ${why}`, undefined, '--kinds')
    note(`Without ${KIND_NAMES[kind]}: ${why}.`)
  }
  return wanted.filter((kind) => missing[kind] === undefined)
}

/** The launcher that belongs to an MPI, by what it says itself; LEET's own under such a name says neither. */
async function findStock(wish: string | undefined, flavour: MpiFlavour): Promise<StockLauncher | undefined> {
  const names = wish !== undefined ? [wish] : flavour === 'none' ? [] : STOCK_LAUNCHERS[flavour]
  for (const name of names) {
    const found = flavourOfVersion((await versionOf(name)) ?? '')
    if (found && (wish !== undefined || found === flavour)) return { path: name, flavour: found }
  }
  if (wish === undefined) return undefined
  throw new LeetError({
    code: 'LEET_E_BENCH',
    what: 'is not a launcher of Open MPI or MPICH',
    where: wish,
    hint: '--mpirun mpirun.openmpi, or a --kinds without it',
    exitCode: 2,
  })
}

function programsOf(
  { program, micro: wanted, sizes, microTime }: BenchWishes,
  micro: string,
  osu: Readonly<Record<CurveName, string>> | undefined,
): Map<Workload, readonly string[]> {
  const programs = new Map<Workload, readonly string[]>()
  if (wanted && !osu) programs.set('micro', [micro, sizes.join(','), String(microTime)])
  // Without options, which differ from version to version: their sizes are their own.
  for (const [curve, file] of Object.entries(osu ?? {})) programs.set(`osu-${curve as CurveName}`, [file])
  if (program.length > 0) programs.set('program', program)
  return programs
}
