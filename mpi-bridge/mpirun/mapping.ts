// Which rank lives in which guest. Guests are to a mapping what nodes are to mpirun. Pure.
import { usageError } from '../../common/index.ts'

/** What a mapping needs to know. */
export interface MappingRequest {
  readonly ranks: number
  /** Slots of each guest, in the order of the guests. */
  readonly slots: readonly number[]
  /** Ranks per guest, when the user said so. */
  readonly ppn?: number
  /** Spread over all guests evenly, because the user asked for just so many guests. */
  readonly spread: boolean
}

/**
 * Ranks of each guest, ascending, in contiguous blocks. As mpirun does: fills the slots of one guest after the other;
 * more ranks than slots are dealt out in proportion to the slots. Guests may end up with no rank.
 */
export function mapRanks({ ranks, slots, ppn, spread }: MappingRequest): number[][] {
  return blocks(countsOf({ ranks, slots, ppn, spread }))
}

function countsOf({ ranks, slots, ppn, spread }: MappingRequest): number[] {
  if (ppn !== undefined) {
    if (ppn * slots.length < ranks) {
      throw usageError(
        `${ranks} ranks do not fit into ${slots.length} guest${slots.length === 1 ? '' : 's'} of ${ppn}`,
        `--guests ${Math.ceil(ranks / ppn)}`,
        '-ppn',
      )
    }
    return fill(
      ranks,
      slots.map(() => ppn),
    )
  }
  if (spread) {
    const even = slots.map(() => 1)
    return proportional(ranks, even)
  }
  const total = slots.reduce((sum, count) => sum + count, 0)
  return ranks <= total ? fill(ranks, slots) : proportional(ranks, slots)
}

function fill(ranks: number, capacity: readonly number[]): number[] {
  let left = ranks
  return capacity.map((room) => {
    const taken = Math.min(room, left)
    left -= taken
    return taken
  })
}

// Largest remainder: each gets its whole share, what is left goes to the earliest.
function proportional(ranks: number, weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const counts = weights.map((weight) => Math.floor((ranks * weight) / total))
  let left = ranks - counts.reduce((sum, count) => sum + count, 0)
  return counts.map((count) => (left-- > 0 ? count + 1 : count))
}

function blocks(counts: readonly number[]): number[][] {
  let next = 0
  return counts.map((count) => Array.from({ length: count }, () => next++))
}
