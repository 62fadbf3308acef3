// Where on its node each guest runs: its vCPUs on processors of the job, near each other and near the guest's memory, the
// other threads of the hypervisor elsewhere where there is room. Only the node knows which processors the job has there.
import { readFileSync } from 'node:fs'
import { LeetError, type Log, type Scope } from '../../common/index.ts'
import type { Processor } from '../../mpi-bridge/index.ts'
import { lockName, type NameLock } from '../journal/name-lock.ts'
import type { Placement } from '../machines/spec.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import type { Pinning } from '../plan/settings.ts'
import { nodeProcessors, parseCpuList } from './processors.ts'

/**
 * A processor for each vCPU of each guest; undefined when there are not as many. A guest stays within one NUMA node where
 * that is possible, in the one that it fills best. Pure.
 */
export function placeGuests(
  processors: readonly Processor[],
  guests: readonly Pick<GuestPlan, 'cpus'>[],
): Placement[] | undefined {
  const free = Map.groupBy(processors, ({ numa }) => numa)
  if (guests.reduce((sum, { cpus }) => sum + cpus, 0) > processors.length) return undefined
  const taken = new Map<number, Processor[]>()
  // The largest first: the small ones fit into what is left.
  const order = [...guests.keys()].sort((a, b) => (guests[b]?.cpus ?? 0) - (guests[a]?.cpus ?? 0))
  for (const index of order) {
    const own: Processor[] = []
    const left = () => (guests[index]?.cpus ?? 0) - own.length
    while (left() > 0) {
      const nodes = [...free.values()].sort((a, b) => a.length - b.length)
      const enough = Math.min(left(), nodes.at(-1)?.length ?? 0)
      const list = nodes.find(({ length }) => length >= enough) as Processor[]
      own.push(...list.splice(0, left()))
    }
    taken.set(index, own)
  }
  const spare = [...free.values()].flat()
  return guests.map((_, index) => {
    const own = taken.get(index) as Processor[]
    const nodes = new Set(own.map(({ numa }) => numa))
    const near = spare.filter(({ numa }) => nodes.has(numa))
    const others = [near, spare, own].find(({ length }) => length > 0) as Processor[]
    const [node] = nodes
    return {
      vcpus: ids(own),
      others: ids(others),
      ...(nodes.size === 1 && node !== undefined ? { memoryNode: node } : {}),
    }
  })
}

const ids = (processors: readonly Processor[]) => processors.map(({ id }) => id)

/** What processors are taken with. */
export interface PlacementContext {
  readonly log: Log
  /** Until it ends the processors are taken. */
  readonly scope: Scope
  /** Of the file system with /proc and /sys; `/` unless told. */
  readonly root?: string
}

/**
 * Takes processors of this node for `guests`, unless the plan says no; by itself only where the batch system gave the job
 * some of the node's processors: others would find theirs taken. Gives where each guest runs, in their order; nothing when they
 * run where the kernel has them run. `LEET_E_PLACEMENT` when it was asked for and cannot be.
 */
export async function reservePlacement(
  { pinning }: Pick<JobPlan, 'pinning'>,
  guests: readonly GuestPlan[],
  context: PlacementContext,
): Promise<readonly Placement[]> {
  const { log, root = '/' } = context
  const reserved = await reserveProcessors(pinning, guests, context)
  const hugePage = hugePageFor(guests, read(`${root}proc/meminfo`))
  if (hugePage === undefined) return reserved
  log.detail(`the memory of guests consists of huge pages of ${hugePage / 2 ** 20} MiB`)
  return guests.map((_, index) => ({ ...reserved[index], hugePage }))
}

/** Bytes of a huge page of the node's usual size when enough of them are free for all guests, else undefined. Pure. */
export function hugePageFor(
  guests: readonly Pick<GuestPlan, 'memory'>[],
  memoryInfo: string,
): number | undefined {
  const figure = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(memoryInfo)?.[1] ?? 0)
  const size = figure('Hugepagesize') * 1024
  const free = figure('HugePages_Free') - figure('HugePages_Rsvd')
  const pages = guests.reduce((sum, { memory }) => sum + Math.ceil(memory / size), 0)
  return size > 0 && pages > 0 && pages <= free ? size : undefined
}

async function reserveProcessors(
  pinning: Pinning,
  guests: readonly GuestPlan[],
  { log, scope, root = '/' }: PlacementContext,
): Promise<readonly Placement[]> {
  if (pinning === 'no') return []
  const processors = nodeProcessors(root)
  const confined = processors.length < onlineProcessors(root)
  if (pinning === 'auto' && !confined) return []
  // Another leet-mpirun of the same job has its guests on some.
  const locks = new Map<number, NameLock>()
  for (const { id } of processors) {
    const lock = await lockName(`processor/${id}`)
    if (lock) locks.set(id, lock)
  }
  const giveBack = () => {
    for (const lock of locks.values()) lock.release()
  }
  scope.onEnd('the processors of the guests', giveBack)
  const placements = placeGuests(
    processors.filter(({ id }) => locks.has(id)),
    guests,
  )
  if (!placements) {
    const wanted = guests.reduce((sum, { cpus }) => sum + cpus, 0)
    const why = `${wanted} vCPUs, and ${locks.size} of the job’s ${processors.length} processors are free`
    giveBack()
    if (pinning === 'yes') {
      throw new LeetError({
        code: 'LEET_E_PLACEMENT',
        what: 'not every vCPU can have a processor of its own',
        why,
        hint: 'fewer --guest-cpus, or --guest-pin no',
      })
    }
    log.detail(`vCPUs are not pinned: ${why}`)
    return confined ? guests.map(() => ({ others: ids(processors) })) : []
  }
  const used = new Set(placements.flatMap(({ vcpus }) => vcpus ?? []))
  for (const [id, lock] of locks) if (!used.has(id)) lock.release()
  const severalNodes = numaNodes(root) > 1
  return placements.map(({ memoryNode, ...rest }) =>
    severalNodes && memoryNode !== undefined ? { ...rest, memoryNode } : rest,
  )
}

/** In words, for who watches. */
export function describePlacement(placement: Placement | undefined): string | undefined {
  if (!placement?.vcpus) return undefined
  const { vcpus, others = [], memoryNode } = placement
  return [
    `vCPUs on processors ${vcpus.join(',')}`,
    ...(others.every((id) => vcpus.includes(id)) ? [] : [`other threads on ${others.join(',')}`]),
    ...(memoryNode === undefined ? [] : [`memory of NUMA node ${memoryNode}`]),
  ].join(', ')
}

function onlineProcessors(root: string): number {
  return parseCpuList(read(`${root}sys/devices/system/cpu/online`)).length
}

function numaNodes(root: string): number {
  return parseCpuList(read(`${root}sys/devices/system/node/has_memory`)).length
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return ''
  }
}
