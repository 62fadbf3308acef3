// Which processors each rank of a guest may use. The node decides, for it knows its processors. Pure.
// The order is that of Open MPI 4.1: ranks take one object after the other; when they are mapped by a larger object, they
// take turns among those.
import { LeetError } from '../../common/index.ts'
import type { BindTo, MapBy, Resource } from './placement.ts'

/** A hardware thread that ranks may use. The numbers of core, package and NUMA node only tell which are the same. */
export interface Processor {
  /** As the kernel numbers it. */
  readonly id: number
  readonly core: number
  readonly package: number
  readonly numa: number
}

/** What a job's ranks are bound to. */
export interface BindingWish extends BindTo {
  /** By what they are mapped. */
  readonly by?: MapBy['by']
  readonly perResource?: number
  /** All ranks are kept to these processors; bound to nothing smaller, each may use all of them. */
  readonly within?: readonly number[]
  /** The cores of each rank as a rankfile has them. */
  readonly slots?: Readonly<Record<number, string>>
}

/** The processors of each of so many ranks of a guest, by their kernel's numbers; none for a rank that is not bound. */
export function bindRanks(
  processors: readonly Processor[],
  wish: BindingWish,
  ranks: number,
  where: string,
): number[][] {
  const { to, count, overload, by, perResource, list, within } = wish
  if (list) {
    refuseAbsent(processors, list.flat(), where)
    return Array.from({ length: ranks }, (_, rank) => [...(list[rank % list.length] as readonly number[])])
  }
  if (within) {
    refuseAbsent(processors, within, where)
    const { within: _, ...inside } = wish
    const own = processors.filter(({ id }) => within.includes(id))
    if (to === 'none' || to === 'node') return Array.from({ length: ranks }, () => own.map(({ id }) => id))
    return bindRanks(own, inside, ranks, where)
  }
  if (to === 'none' || to === 'node') return Array.from({ length: ranks }, () => [])
  const larger = groups(processors, by !== undefined && isResource(by) && isLarger(by, to) ? by : 'node')
  const next = larger.map(() => 0)
  return Array.from({ length: ranks }, (_, rank) => {
    const turn = perResource === undefined ? rank : Math.floor(rank / perResource)
    const home = turn % larger.length
    const objects = groups(larger[home] as Processor[], to)
    const first = next[home] as number
    next[home] = first + count
    // Of cores and threads each rank has its own; a larger object is shared as long as it has a core for each.
    const cores = groups(larger[home] as Processor[], 'core').length
    const room = to === 'core' || to === 'hwthread' ? objects.length : Math.max(objects.length, cores)
    if (first + count > room && !overload) throw tooMany(ranks, to, count, where)
    const own = Array.from({ length: count }, (_, i) => objects[(first + i) % objects.length] as Processor[])
    return [...new Set(own.flat().map(({ id }) => id))].sort((a, b) => a - b)
  })
}

function refuseAbsent(processors: readonly Processor[], ids: readonly number[], where: string): void {
  const known = new Set(processors.map(({ id }) => id))
  const absent = ids.find((id) => !known.has(id))
  if (absent === undefined) return
  throw new LeetError({
    code: 'LEET_E_BINDING',
    what: `there is no processor ${absent}`,
    where,
    why: `there are ${[...known].sort((a, b) => a - b).join(', ')}`,
    exitCode: 2,
  })
}

/** The processors of the cores that a rankfile names, such as `0-1` or `1:0,1:2`. */
export function coresOf(processors: readonly Processor[], slots: string, where: string): number[] {
  return slots.split(',').flatMap((field) => {
    const [range = '', socket] = field.split(':').toReversed()
    const own = socket === undefined ? processors : (groups(processors, 'package')[Number(socket)] ?? [])
    const cores = groups(own, 'core')
    const [first = 0, last = first] = range.split('-').map(Number)
    if (last < first || last >= cores.length) {
      throw new LeetError({
        code: 'LEET_E_BINDING',
        what: `slot ${field} of the rankfile is not there`,
        where,
        why: `there are ${cores.length} cores`,
        exitCode: 2,
      })
    }
    return cores.slice(first, last + 1).flatMap((core) => core.map(({ id }) => id))
  })
}

/** In the words and with the picture of Open MPI 4's `--report-bindings`. */
export function describeBinding(processors: readonly Processor[], cpus: readonly number[]): string {
  const bound = new Set(cpus)
  if (cpus.length === 0 || processors.every(({ id }) => bound.has(id))) {
    return 'is not bound (or bound to all available processors)'
  }
  let core = 0
  const words: string[] = []
  const picture = groups(processors, 'package').map((own, socket) => {
    const cores = groups(own, 'core').map((threads) => {
      for (const [hwt, { id }] of threads.entries()) {
        if (bound.has(id)) words.push(`socket ${socket}[core ${core}[hwt ${hwt}]]`)
      }
      core++
      return threads.map(({ id }) => (bound.has(id) ? 'B' : '.')).join('')
    })
    return `[${cores.join('/')}]`
  })
  return `bound to ${words.join(', ')}: ${picture.join('')}`
}

const SIZES: readonly Resource[] = [
  'hwthread',
  'core',
  'l1cache',
  'l2cache',
  'l3cache',
  'numa',
  'package',
  'node',
]

function isResource(by: NonNullable<MapBy['by']>): by is Resource {
  return (SIZES as readonly string[]).includes(by)
}

function isLarger(a: Resource, b: Resource): boolean {
  return SIZES.indexOf(a) > SIZES.indexOf(b)
}

/** The objects of a kind, in the order of their first processors; caches are taken to be those of a core or a package. */
function groups(processors: readonly Processor[], kind: Resource): Processor[][] {
  const key = ({ id, core, package: socket, numa }: Processor) => {
    switch (kind) {
      case 'hwthread':
        return `${id}`
      case 'core':
      case 'l1cache':
      case 'l2cache':
        return `${socket},${core}`
      case 'numa':
        return `${numa}`
      case 'l3cache':
      case 'package':
        return `${socket}`
      case 'node':
        return ''
    }
  }
  return [...Map.groupBy(processors, key).values()]
}

function tooMany(ranks: number, to: Resource, count: number, where: string): LeetError {
  return new LeetError({
    code: 'LEET_E_BINDING',
    what: `${ranks} ranks cannot each be bound to ${count === 1 ? 'a' : `${count} of`} ${to}: there are too few`,
    where,
    hint: `--bind-to ${to}:overload-allowed, or fewer ranks`,
    exitCode: 2,
  })
}
