// In which order the runs of a bench are done, and which are still to do. Pure.
import { canRun, type Kind, type Mpi, ofMpi, type PlannedRun, type Run } from './results.ts'
import { seededRandom } from './statistics.ts'

/** What is run on each kind that can: the user's program, or a benchmark of an MPI. */
export type PlannedProgram = Pick<PlannedRun, 'workload' | 'mpi'>

/**
 * All runs, in rounds: each round has every kind once with every program, so that whatever changes on the machine over
 * time changes for all kinds alike. The order of the kinds turns by one from round to round and is then mirrored
 * (AB BA; ABC BCA CAB CBA …), so that none of them always comes first, or always after the same other; which of them is
 * A, B and C is drawn anew for each such block of rounds, so that nothing on the machine keeps step with it.
 */
export function planRuns(order: {
  readonly kinds: readonly Kind[]
  readonly programs: readonly PlannedProgram[]
  readonly repetitions: number
  readonly warmup: number
  /** The same seed draws the same order. */
  readonly seed: number
}): PlannedRun[] {
  const { kinds, programs, repetitions, warmup, seed } = order
  const random = seededRandom(seed)
  const rounds = Array.from({ length: warmup + repetitions }, (_, index) => index + 1 - warmup)
  let drawn = kinds
  return rounds.flatMap((round, turn) => {
    if (turn % (2 * kinds.length) === 0) drawn = shuffled(kinds, random)
    return programs.flatMap(({ workload, mpi }) =>
      orderOf(drawn, turn)
        .filter((kind) => canRun(kind, mpi))
        .map((kind) => ({ round, kind, workload, ...ofMpi(mpi) })),
    )
  })
}

/** The runs that compose the image of each kind of guests for each MPI, once: they come before the rounds. */
export function planImages(kinds: readonly Kind[], mpis: readonly (Mpi | undefined)[]): PlannedRun[] {
  const guests = kinds.filter((kind) => kind === 'linux' || kind === 'osv')
  return mpis.flatMap((mpi) => guests.map((kind) => ({ round: 1, kind, workload: 'image', ...ofMpi(mpi) })))
}

function orderOf<T>(items: readonly T[], turn: number): T[] {
  const by = turn % items.length
  const turned = [...items.slice(by), ...items.slice(0, by)]
  return Math.floor(turn / items.length) % 2 === 0 ? turned : turned.reverse()
}

// Fisher and Yates.
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const left = [...items]
  return items.flatMap(() => left.splice(Math.floor(random() * left.length), 1))
}

/** After so many failures, and no success, the same run is not done again. */
const FAILURES = 2

/** Runs of the same program on the same kind. */
export function sameRuns({ kind, workload, mpi }: PlannedRun, done: readonly Run[]): Run[] {
  return done.filter((run) => run.kind === kind && run.workload === workload && run.mpi === mpi)
}

/** Planned runs with their numbers that were not done, without those that only fail. */
export function missingRuns(
  plan: readonly PlannedRun[],
  done: readonly Run[],
): { readonly number: number; readonly run: PlannedRun }[] {
  const numbers = new Set(done.map(({ number }) => number))
  const isHopeless = (run: PlannedRun) => {
    const same = sameRuns(run, done)
    return same.length >= FAILURES && same.every(({ failure }) => failure !== undefined)
  }
  return plan
    .map((run, index) => ({ number: index + 1, run }))
    .filter(({ number, run }) => !numbers.has(number) && !isHopeless(run))
}
