// What was found and why, for `leet explain allocation` and for refusals about slots.
import { formatSize } from '../common/index.ts'
import type { Allocation } from './adapter.ts'
import { foldHostlist } from './hostlist.ts'
import { adapterOf } from './resolve.ts'

/** Lines of plain text: source, nodes with their slots, and the origin of each figure. */
export function explainAllocation(allocation: Allocation): string[] {
  const { nodes, jobId, deadline, workDir, scratchDir, origins, scheduler } = allocation
  const { title, atCancel, neverRun } = adapterOf(scheduler)
  const slots = nodes.reduce((sum, node) => sum + node.slots, 0)
  return [
    `scheduler   ${title}${jobId ? `, job ${jobId}` : ''}${neverRun ? ' (adapter never run on the real thing)' : ''}`,
    `nodes       ${nodes.length}, ${slots} slots`,
    ...groupAlike(allocation).map((line) => `  ${line}`),
    `ends        ${deadline === undefined ? 'not told' : new Date(deadline).toISOString()}`,
    `submitted   ${workDir}`,
    `scratch     ${scratchDir}`,
    'why',
    ...origins.map(({ what, from }) => `  ${what}: ${from}`),
    `at cancel   ${atCancel}`,
  ]
}

/** Neighbouring nodes that are alike on one line: `node[1-3]  4 slots each, 8 CPUs, 16.0 GiB`. */
function groupAlike({ nodes }: Allocation): string[] {
  const groups: { names: string[]; facts: string }[] = []
  for (const { name, slots, maxSlots, cpus, memory } of nodes) {
    const facts = [
      `${slots} slot${slots === 1 ? '' : 's'}`,
      ...(maxSlots === undefined ? [] : [`at most ${maxSlots}`]),
      ...(cpus === undefined ? [] : [`${cpus} CPU${cpus === 1 ? '' : 's'}`]),
      ...(memory === undefined ? [] : [formatSize(memory)]),
    ].join(', ')
    const last = groups.at(-1)
    if (last?.facts === facts) last.names.push(name)
    else groups.push({ names: [name], facts })
  }
  return groups.map(
    ({ names, facts }) => `${foldHostlist(names, 'rfc29')}  ${facts}${names.length > 1 ? ' each' : ''}`,
  )
}
