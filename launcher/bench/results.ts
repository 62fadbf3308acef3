// What leet bench found out, as one plain value: all writers read it, and it is results.json as it is. Its fields as a
// JSON schema are in results-shape.ts.

/** What a run runs on: guests of a kind, the bare host under leet-mpirun, or under a stock launcher. */
export type Kind = 'linux' | 'osv' | 'host' | StockKind

/** The stock launchers: Open MPI's mpirun and MPICH's mpiexec. */
export type StockKind = 'mpirun' | 'mpiexec'

/** The MPIs that are measured. */
export type Mpi = 'openmpi' | 'mpich'

/** How people read an MPI, in the order of reports. */
export const MPI_NAMES: Readonly<Record<Mpi, string>> = { openmpi: 'Open MPI', mpich: 'MPICH' }

/** The field of what is of an MPI that is known. */
export function ofMpi(mpi: Mpi | undefined): { readonly mpi?: Mpi } {
  return mpi === undefined ? {} : { mpi }
}

/** The kind that runs under the stock launcher of an MPI. */
export const STOCK_KINDS: Readonly<Record<Mpi, StockKind>> = { openmpi: 'mpirun', mpich: 'mpiexec' }

/** Whether nothing of leet-mpirun has a part in runs of this kind. */
export function isStock(kind: Kind): kind is StockKind {
  return kind === 'mpirun' || kind === 'mpiexec'
}

/** Whether programs of an MPI run on a kind: a stock launcher has only its own. */
export function canRun(kind: Kind, mpi: Mpi | undefined): boolean {
  return !isStock(kind) || (mpi !== undefined && STOCK_KINDS[mpi] === kind)
}

/** How people read a kind. */
export const KIND_NAMES: Readonly<Record<Kind, string>> = {
  linux: 'Linux guests',
  osv: 'OSv guests',
  host: 'bare host',
  mpirun: 'stock mpirun',
  mpiexec: 'stock mpiexec',
}

/** Where something happens, in a sentence. */
export const KIND_PLACES: Readonly<Record<Kind, string>> = {
  linux: 'in Linux guests',
  osv: 'in OSv guests',
  host: 'on the bare host',
  mpirun: 'under stock mpirun',
  mpiexec: 'under stock mpiexec',
}

/** What is run: the user's program, the small MPI program, or one of OSU's in its place, or the making of the image. */
export type Workload = 'program' | 'micro' | `osu-${CurveName}` | 'image'

/** How people call what is run. */
export function workloadName({ workload, mpi }: Pick<PlannedRun, 'workload' | 'mpi'>): string {
  if (workload === 'program') return workload
  const name = mpi && MPI_NAMES[mpi]
  if (workload !== 'image') return `${name ?? 'MPI'} (${workload})`
  return `image${name === undefined ? '' : ` with ${name}`}, composed anew`
}

/** Figures over message size. */
export type CurveName = 'latency' | 'bandwidth' | 'allreduce'

/** Figures of a run that are one number. README.md of this folder defines each. */
export type ScalarName =
  | 'program'
  | 'job'
  | 'boot'
  | 'start'
  | 'launch-first'
  | 'launch-last'
  | 'iteration'
  | 'iteration-processor'
  | 'memory-ready'
  | 'memory-peak'
  | 'memory-share-ready'
  | 'memory-share-end'
  | 'image'
  | 'compose'

/** One measured number: seconds, bytes per second (bandwidth) or bytes (memory, image). */
export interface Measurement {
  readonly metric: ScalarName | CurveName
  /** Bytes of a message, for the figures over message size. */
  readonly size?: number
  readonly value: number
}

/** A span of a run, in seconds since its command was started. */
export interface Span {
  readonly name: string
  readonly from: number
  readonly to: number
}

/** What happened when: parts of the job, and of each guest. */
export interface Timeline {
  readonly job: readonly Span[]
  readonly guests: readonly { readonly guest: string; readonly stages: readonly Span[] }[]
}

/** A run that is to be done. */
export interface PlannedRun {
  /** From 1; warm-up rounds are 0 and below. */
  readonly round: number
  readonly kind: Kind
  readonly workload: Workload
  /** The MPI of what is run; undefined where nobody knows it. */
  readonly mpi?: Mpi
}

/** One run of one command. */
export interface Run extends PlannedRun {
  /** From 1, in the order in which they ran. */
  readonly number: number
  readonly command: readonly string[]
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Seconds from the start of the command to its end. */
  readonly seconds: number
  /** Why it does not count; undefined when all went well. */
  readonly failure?: string
  /** kvm or tcg; undefined without guests. */
  readonly accelerator?: string
  /** How many its log tells of, if it is a solver's. */
  readonly iterations?: number
  readonly measurements: readonly Measurement[]
  readonly timeline: Timeline
}

/** What the runs of a kind wrote of the case. */
export interface Fields {
  readonly kind: Kind
  /** How many files its first run wrote: new ones, and those of the case that it changed. */
  readonly files: number
  /** The first of them that one of its runs wrote otherwise than the first run of the baseline; undefined: none, bit by bit. */
  readonly differs?: string
}

/** Where it was measured: what to know before figures are compared with those of another day or machine. */
export interface Environment {
  readonly leet: string
  readonly host: string
  readonly system: string
  readonly kernel: string
  readonly processor: string
  readonly cpus: number
  readonly memory: number
  /** Load averages of one minute before and after. */
  readonly load: readonly [number, number]
  readonly qemu?: string
  readonly mpi?: string
  readonly nodes: readonly string[]
  readonly scheduler: string
}

/** A file that was run, by what is in it. */
export interface ProgramFile {
  readonly file: string
  readonly sha256: string
}

/** Which results are read and written: another number when a field has changed its meaning. */
export const FORMAT = 1

/** One bench. It is written after each run, so that one that was interrupted can go on. */
export interface Results {
  readonly format: typeof FORMAT
  /** ISO 8601; `ended` is when it was written last. */
  readonly begun: string
  readonly ended: string
  /** As typed. */
  readonly command: readonly string[]
  /** Where it was typed. */
  readonly directory: string
  /** The user's program with its arguments; undefined when only MPI was measured. */
  readonly program?: readonly string[]
  /** The directory of which each run of the program had a fresh copy. */
  readonly case?: string
  /** Of each kind whose runs had such a copy. */
  readonly fields?: readonly Fields[]
  readonly ranks: number
  readonly guests: number
  readonly kinds: readonly Kind[]
  /** What the others are compared with. */
  readonly baseline: Kind
  readonly repetitions: number
  readonly warmup: number
  /** What the order of the kinds was drawn with: `--seed` has it again. */
  readonly seed?: number
  /** Said while it ran, such as a kind that could not be had. */
  readonly notes: readonly string[]
  readonly environment: Environment
  readonly programs: readonly ProgramFile[]
  /** All runs in their order, done or not: number 1 is the first. */
  readonly plan: readonly PlannedRun[]
  readonly runs: readonly Run[]
}

/** The MPIs that are known to be measured. */
export function knownMpis({ plan }: Pick<Results, 'plan'>): readonly Mpi[] {
  return (Object.keys(MPI_NAMES) as Mpi[]).filter((mpi) => plan.some((run) => run.mpi === mpi))
}

/** What figures are split by: several MPIs have their own. Of a single one nobody needs to be told. */
export function mpisOf(results: Pick<Results, 'plan'>): readonly (Mpi | undefined)[] {
  const known = knownMpis(results)
  return known.length > 1 ? known : [undefined]
}

/** What the figures of an MPI are compared with: where the baseline is a stock launcher, that of this MPI. */
export function baselineOf(
  { kinds, baseline }: Pick<Results, 'kinds' | 'baseline'>,
  mpi: Mpi | undefined,
): Kind {
  const own = mpi && STOCK_KINDS[mpi]
  return isStock(baseline) && own !== undefined && kinds.includes(own) ? own : baseline
}
