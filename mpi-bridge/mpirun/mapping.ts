// Which rank lives in which guest. Guests are to a mapping what nodes are to mpirun, and the maps are those that
// `mpirun --display-map` of Open MPI 4.1 shows for the same hosts. Pure.
import { usageError } from '../../common/index.ts'
import type { MapBy, RankBy } from './placement.ts'

/** A guest (on the bare host: a node) as a mapping sees it. */
export interface MappingNode {
  readonly slots: number
  /** Never more ranks than so many. */
  readonly maxSlots?: number
  /** How many there are of the resource by which ranks are mapped, for `ppr:N:RESOURCE`; 1 unless told. */
  readonly resources?: number
  /** Processors, for `pe=N`; as many as slots unless told. */
  readonly cpus?: number
}

/** What a mapping needs to know. */
export interface MappingRequest {
  /** Ranks of each program of the job. */
  readonly programs: readonly number[]
  readonly nodes: readonly MappingNode[]
  readonly mapBy?: MapBy
  /** Usual: node by node, unless ranks are mapped by node. */
  readonly rankBy?: RankBy
}

/**
 * Ranks of each node, ascending. Usually the slots of one node are filled after the other. More ranks than slots are
 * dealt out evenly beyond them, as `mpirun --oversubscribe` does. Nodes may end up with no rank.
 */
export function mapRanks(request: MappingRequest): number[][] {
  const { programs, nodes, mapBy } = request
  const placed: number[][] = nodes.map(() => [])
  const rankBy = request.rankBy ?? (mapBy?.by === 'node' && !mapBy.perResource ? 'node' : 'slot')
  refuseOversubscription(request)
  let next = 0
  for (const ranks of programs) {
    const counts = countsOf(
      ranks,
      nodes,
      placed.map((own) => own.length),
      mapBy,
    )
    number(counts, rankBy, (node) => (placed[node] as number[]).push(next++))
  }
  return placed
}

function refuseOversubscription({ programs, nodes, mapBy }: MappingRequest): void {
  const ranks = sum(programs)
  const slots = sum(nodes.map((node) => node.slots))
  if (mapBy?.oversubscribe === false && ranks > slots) {
    throw usageError(
      `${ranks} ranks are more than ${slots} slots`,
      'fewer ranks, or --oversubscribe',
      '--nooversubscribe',
    )
  }
  const most = sum(nodes.map((node) => node.maxSlots ?? Number.POSITIVE_INFINITY))
  if (ranks > most) {
    throw usageError(
      `${ranks} ranks are more than the ${most} that max_slots allows`,
      'fewer ranks, or more hosts',
      '-n',
    )
  }
}

/** How many of a program's ranks go to each node, of which `used` are taken. */
function countsOf(
  ranks: number,
  nodes: readonly MappingNode[],
  used: readonly number[],
  mapBy: MapBy | undefined,
): number[] {
  const most = nodes.map((node, n) => (node.maxSlots ?? Number.POSITIVE_INFINITY) - (used[n] as number))
  const room = (limit: (node: MappingNode) => number) =>
    nodes.map((node, n) => Math.max(0, Math.min(limit(node) - (used[n] as number), most[n] as number)))
  const { perResource, processors } = mapBy ?? {}
  if (perResource !== undefined) {
    const capacity = room(({ resources = 1 }) => perResource * resources)
    if (sum(capacity) < ranks) throw tooFew(ranks, nodes.length, perResource, mapBy?.by)
    return fill(ranks, capacity)
  }
  if (mapBy?.span) return level(ranks, most)
  const slots = room((node) =>
    processors === undefined ? node.slots : Math.floor((node.cpus ?? node.slots) / processors),
  )
  const free = sum(slots)
  if (processors !== undefined && ranks > free) {
    throw usageError(
      `${ranks} ranks of ${processors} processors each are more than there are`,
      'fewer ranks, or a smaller pe=N',
      '--map-by',
    )
  }
  if (mapBy?.by === 'node') return level(ranks, ranks <= free ? slots : most)
  if (ranks <= free) return fill(ranks, slots)
  const beyond = level(
    ranks - free,
    most.map((count, n) => count - (slots[n] as number)),
  )
  return slots.map((count, n) => count + (beyond[n] as number))
}

function tooFew(ranks: number, nodes: number, perResource: number, by: MapBy['by']): Error {
  const guests = `${nodes} guest${nodes === 1 ? '' : 's'}`
  return by === 'node'
    ? usageError(
        `${ranks} ranks do not fit into ${guests} of ${perResource}`,
        `--guests ${Math.ceil(ranks / perResource)}`,
        '-ppn',
      )
    : usageError(
        `${ranks} ranks do not fit into ${guests} with ${perResource} on each ${by}`,
        'fewer ranks, or a larger ppr:N',
        '--map-by',
      )
}

function fill(ranks: number, capacity: readonly number[]): number[] {
  let left = ranks
  return capacity.map((room) => {
    const taken = Math.min(room, left)
    left -= taken
    return taken
  })
}

// Dealt out one by one, past nodes that are full: what a whole round can take is given at once.
function level(ranks: number, capacity: readonly number[]): number[] {
  const counts = capacity.map(() => 0)
  for (let left = ranks; left > 0; ) {
    const open = counts.flatMap((count, n) => (count < (capacity[n] as number) ? [n] : []))
    const least = Math.min(...open.map((n) => (capacity[n] as number) - (counts[n] as number)))
    const each = Math.min(least, Math.floor(left / open.length))
    for (const n of each > 0 ? open : open.slice(0, left)) counts[n] = (counts[n] as number) + (each || 1)
    left -= each > 0 ? each * open.length : Math.min(left, open.length)
  }
  return counts
}

function number(counts: readonly number[], rankBy: RankBy, take: (node: number) => void): void {
  if (rankBy === 'slot') {
    for (const [node, count] of counts.entries()) for (let i = 0; i < count; i++) take(node)
    return
  }
  const rounds = Math.max(0, ...counts)
  for (let round = 0; round < rounds; round++) {
    for (const [node, count] of counts.entries()) if (round < count) take(node)
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
