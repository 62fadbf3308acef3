// PMI_process_mapping: which ranks share a guest, in the notation that MPICH reads (RFC 13 of the Flux framework,
// "PMI_process_mapping"). Without it MPICH compares host names, and guests that share one try shared memory.
import type { GuestRanks, JobLayout } from '../job.ts'

/** Longest value of a PMI-1 `get_result` line of 1,024 bytes, `cmd=get_result rc=0 msg=success value=` included. */
export const MAX_VALUE = 1024 - 'cmd=get_result rc=0 msg=success value=\n'.length

/** `count` nodes from `first` on, each with the next `each` ranks. */
interface Block {
  readonly first: number
  readonly count: number
  readonly each: number
}

/**
 * The mapping of a job's ranks to its guests, without a space: MPICH cuts the value at one. A layout so irregular
 * that it does not fit a line is told as one rank per guest: slower, never wrong.
 */
export function processMapping(job: JobLayout): string {
  const nodes = nodesOfRanks(job)
  const blocks = shortest(blocksOf(nodes), nodes)
  const text = `(vector${blocks.map(({ first, count, each }) => `,(${first},${count},${each})`).join('')})`
  return text.length <= MAX_VALUE ? text : `(vector,(0,${job.size},1))`
}

/** Whether no two ranks share a guest. */
export function everyRankAlone(guests: readonly GuestRanks[]): boolean {
  return guests.every((guest) => guest.ranks.length <= 1)
}

/** The node of each rank; nodes are the guests that have ranks, numbered in the order of the layout. */
function nodesOfRanks(job: JobLayout): Int32Array {
  const nodes = new Int32Array(job.size)
  let node = 0
  for (const { ranks } of job.guests) {
    if (ranks.length === 0) continue
    for (const rank of ranks) nodes[rank] = node
    node++
  }
  return nodes
}

/** Runs of ranks on one node, and runs of such runs over consecutive nodes. */
function blocksOf(nodes: Int32Array): Block[] {
  const blocks: Block[] = []
  for (let rank = 0; rank < nodes.length; ) {
    const first = nodes[rank] as number
    let each = 1
    while (nodes[rank + each] === first) each++
    rank += each
    const last = blocks.at(-1)
    if (last && last.each === each && last.first + last.count === first) {
      blocks[blocks.length - 1] = { ...last, count: last.count + 1 }
    } else {
      blocks.push({ first, count: 1, each })
    }
  }
  return blocks
}

/** The shortest beginning of `blocks` that, repeated, deals the ranks out in the same way. */
function shortest(blocks: readonly Block[], nodes: Int32Array): readonly Block[] {
  for (let length = 1; length < blocks.length; length++) {
    const beginning = blocks.slice(0, length)
    if (deals(beginning, nodes)) return beginning
  }
  return blocks
}

function deals(blocks: readonly Block[], nodes: Int32Array): boolean {
  let rank = 0
  while (rank < nodes.length) {
    for (const { first, count, each } of blocks) {
      for (let node = first; node < first + count; node++) {
        for (let nth = 0; nth < each; nth++) {
          if (rank === nodes.length) return true
          if (nodes[rank++] !== node) return false
        }
      }
    }
  }
  return true
}
