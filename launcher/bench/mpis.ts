// Which MPIs a bench measures: what is run of each, and the launcher that comes with it. A program has one MPI; without a
// program all are measured whose compilers are here.
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError, messageOf, type WaitLimits } from '../../common/index.ts'
import { inspectProgram } from '../images/inspect.ts'
import type { MpiFacts } from '../images/mpi.ts'
import { flavourOfVersion, STOCK_LAUNCHERS } from './commands.ts'
import { versionOf } from './environment.ts'
import { compileMicro, findOsu, isOnPath } from './micro.ts'
import type { BenchWishes } from './options.ts'
import type { PlannedProgram } from './plan.ts'
import { type CurveName, MPI_NAMES, type Mpi, ofMpi, type Workload } from './results.ts'

/** A program that is measured, with its words. */
export interface BenchProgram extends PlannedProgram {
  readonly argv: readonly [string, ...string[]]
  /** What is known of its MPI. */
  readonly facts: MpiFacts
}

/** The MPI of a program as far as a bench knows it. */
export function mpiOf({ flavour }: MpiFacts): Mpi | undefined {
  return flavour === 'none' ? undefined : flavour
}

/** What is to be known before benchmarks are found. */
interface BenchmarkContext {
  /** Where they are compiled to. */
  readonly directory: string
  /** The one MPI that is asked for, or that the user's program has. */
  readonly own: Mpi | undefined
  /** They have been compiled before. */
  readonly isResumed: boolean
  readonly note: (text: string) => void
  readonly limits: WaitLimits
}

/** What measures MPI: OSU's programs, which have one MPI, or LEET's own for the only MPI that matters, or for each. */
export async function findBenchmarks(
  wishes: BenchWishes,
  context: BenchmarkContext,
): Promise<readonly BenchProgram[]> {
  if (!wishes.micro) return []
  const osu = wishes.osu ? findOsu(process.env.PATH ?? '') : undefined
  if (osu) {
    const { mpi } = await inspectProgram(osu.latency, process.env)
    // Without options, which differ from version to version: their sizes are their own.
    return Object.entries(osu).map(([curve, file]) => benchmark(`osu-${curve as CurveName}`, [file], mpi))
  }
  const { directory, own, isResumed, note } = context
  const compiled = isResumed ? compiledIn(directory) : await compileEach(compilersFor(wishes, own), context)
  const words = [wishes.sizes.join(','), String(wishes.microTime)]
  const all: BenchProgram[] = []
  for (const file of compiled) {
    const { mpi } = await inspectProgram(file, process.env)
    all.push(benchmark('micro', [file, ...words], mpi))
  }
  if (own === undefined && wishes.program.length === 0) return all
  const chosen = all.find(({ mpi }) => mpi === own) ?? all[0]
  if (own && chosen && chosen.mpi !== own)
    note(`The MPI benchmark is not of ${MPI_NAMES[own]}, which the program has: no compiler of it was found.`)
  return chosen ? [chosen] : []
}

function benchmark(workload: Workload, argv: BenchProgram['argv'], facts: MpiFacts): BenchProgram {
  return { workload, argv, facts, ...ofMpi(mpiOf(facts)) }
}

/** MPI compilers: the usual one, and those that Debian has beside each other. */
const COMPILERS = ['mpicc', 'mpicc.openmpi', 'mpicc.mpich']

// Nobody knows the MPI of a script; it is taken to be that of `mpicc`.
function compilersFor({ mpicc, program }: BenchWishes, own: Mpi | undefined): readonly string[] {
  if (mpicc !== undefined) return [mpicc]
  const wanted = own ? ['mpicc', `mpicc.${own}`] : program.length > 0 ? ['mpicc'] : COMPILERS
  const here = wanted.filter((name) => isOnPath(name))
  return here.length > 0 ? here : ['mpicc']
}

/** Names of the compiled benchmark: of each MPI, and of one that nobody knows. */
const microName = (mpi: Mpi | undefined) => (mpi === undefined ? 'micro' : `micro-${mpi}`)

/** Compiles the benchmark with each compiler; of two with the same MPI the first counts. */
async function compileEach(
  compilers: readonly string[],
  { directory, note, limits }: BenchmarkContext,
): Promise<readonly string[]> {
  const compiled = new Set<string>()
  const refusals: unknown[] = []
  const made = join(directory, 'compiled')
  for (const compiler of compilers) {
    try {
      await compileMicro(compiler, made, limits)
    } catch (error) {
      refusals.push(error)
      continue
    }
    const { mpi } = await inspectProgram(made, process.env)
    const file = join(directory, microName(mpiOf(mpi)))
    if (compiled.has(file)) rmSync(made)
    else renameSync(made, file)
    compiled.add(file)
  }
  if (compiled.size === 0) throw refusals[0]
  for (const refusal of refusals) note(`An MPI is left out: ${messageOf(refusal)}`)
  return [...compiled]
}

function compiledIn(directory: string): readonly string[] {
  const names = [undefined, ...(Object.keys(MPI_NAMES) as Mpi[])].map(microName)
  return names.map((name) => join(directory, name)).filter((file) => existsSync(file))
}

/** The launcher that comes with each MPI, by what it says itself; LEET's own under such a name says neither. A wish is the first. */
export async function findLaunchers(
  wish: string | undefined,
  mpis: ReadonlySet<Mpi>,
): Promise<ReadonlyMap<Mpi, string>> {
  const launchers = new Map<Mpi, string>()
  if (wish !== undefined) launchers.set(await mpiOfLauncher(wish), wish)
  for (const mpi of mpis) {
    for (const name of launchers.has(mpi) ? [] : STOCK_LAUNCHERS[mpi]) {
      if (flavourOfVersion((await versionOf(name)) ?? '') !== mpi) continue
      launchers.set(mpi, name)
      break
    }
  }
  return launchers
}

async function mpiOfLauncher(launcher: string): Promise<Mpi> {
  const mpi = flavourOfVersion((await versionOf(launcher)) ?? '')
  if (mpi) return mpi
  throw new LeetError({
    code: 'LEET_E_BENCH',
    what: 'is not a launcher of Open MPI or MPICH',
    where: launcher,
    hint: '--mpirun mpirun.openmpi, or a --kinds without it',
    exitCode: 2,
  })
}
