// In which order the runs of a bench are done, and which are still to do. Pure.
import type { Kind, Run, Workload } from './results.ts'

/** A run that is to be done. */
export interface PlannedRun {
  /** From 1; warm-up rounds are 0 and below. */
  readonly round: number
  readonly kind: Kind
  readonly workload: Workload
}

/**
 * All runs, in rounds: each round has every kind once with every workload, so that whatever changes on the machine over
 * time changes for all kinds alike. The order of the kinds turns by one from round to round and is then mirrored
 * (AB BA; ABC BCA CAB CBA …), so that none of them always comes first, or always after the same other.
 */
export function planRuns(order: {
  readonly kinds: readonly Kind[]
  readonly workloads: readonly Workload[]
  readonly repetitions: number
  readonly warmup: number
}): PlannedRun[] {
  const { kinds, workloads, repetitions, warmup } = order
  const rounds = Array.from({ length: warmup + repetitions }, (_, index) => index + 1 - warmup)
  return rounds.flatMap((round) =>
    workloads.flatMap((workload) =>
      orderOf(kinds, round - 1 + warmup).map((kind) => ({ round, kind, workload })),
    ),
  )
}

function orderOf<T>(items: readonly T[], turn: number): T[] {
  const by = turn % items.length
  const turned = [...items.slice(by), ...items.slice(0, by)]
  return Math.floor(turn / items.length) % 2 === 0 ? turned : turned.reverse()
}

/** After so many failures, and no success, the same run is not done again. */
const FAILURES = 2

/** Runs of the same program on the same kind. */
export function sameRuns({ kind, workload }: PlannedRun, done: readonly Run[]): Run[] {
  return done.filter((run) => run.kind === kind && run.workload === workload)
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
