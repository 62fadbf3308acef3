// In which order the runs of a bench are done. Pure.
import type { Kind, Workload } from './results.ts'

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
 * (AB BA; ABC BCA CAB CBA …), so that none of them always comes first, or always after the same other; which of them is
 * A, B and C is drawn anew for each such block of rounds, so that nothing on the machine keeps step with it.
 */
export function planRuns(order: {
  readonly kinds: readonly Kind[]
  readonly workloads: readonly Workload[]
  readonly repetitions: number
  readonly warmup: number
  /** The same seed draws the same order. */
  readonly seed: number
}): PlannedRun[] {
  const { kinds, workloads, repetitions, warmup, seed } = order
  const random = randomFrom(seed)
  const rounds = Array.from({ length: warmup + repetitions }, (_, index) => index + 1 - warmup)
  let drawn = kinds
  return rounds.flatMap((round, turn) => {
    if (turn % (2 * kinds.length) === 0) drawn = shuffled(kinds, random)
    return workloads.flatMap((workload) => orderOf(drawn, turn).map((kind) => ({ round, kind, workload })))
  })
}

/** The runs that compose the image of each kind of guests, once: they come before the rounds. */
export function planImages(kinds: readonly Kind[]): PlannedRun[] {
  const guests = kinds.filter((kind) => kind === 'linux' || kind === 'osv')
  return guests.map((kind) => ({ round: 1, kind, workload: 'image' }))
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

/** Numbers from 0 to below 1 that a seed of 32 bits determines (mulberry32, of Tommy Ettinger). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
