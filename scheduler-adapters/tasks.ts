// Counts per node as Slurm writes them: `4(x2),3` is 4, 4, 3 (sbatch(1), SLURM_TASKS_PER_NODE).
import { usageError } from '../common/index.ts'
import { HOST_LIMIT } from './hostlist.ts'

/** One count per node, in the order of nodes; at most `limit` of them, refused before they are made. */
export function expandCounts(text: string, where: string, limit = HOST_LIMIT): number[] {
  const refuse = (why: string) =>
    usageError(`${JSON.stringify(text.slice(0, 80))} is not a list of counts: ${why}`, undefined, where)
  const counts: number[] = []
  for (const item of text.split(',')) {
    const match = /^(\d{1,9})(?:\(x(\d{1,9})\))?$/.exec(item)
    if (!match) throw refuse(`"${item.slice(0, 40)}" is neither N nor N(xM)`)
    const repeat = Number(match[2] ?? 1)
    if (counts.length + repeat > limit) throw refuse(`it stands for more than ${limit} nodes`)
    for (let i = 0; i < repeat; i++) counts.push(Number(match[1]))
  }
  return counts
}
