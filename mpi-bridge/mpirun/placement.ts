// The words of --map-by, --rank-by and --bind-to, and what they mean. Words are taken in any case and may be shortened as
// long as they are unique. Pure.
// Sources: mpirun(1) of Open MPI 4.1 and 5.0; Hydra's `-bind-to` and `-map-by` (mpiexec.hydra -bind-to -help).
import { parseCount, usageError } from '../../common/index.ts'
import { nearest } from './words.ts'

/** Parts of a machine, the smallest first. */
const RESOURCES = ['hwthread', 'core', 'l1cache', 'l2cache', 'l3cache', 'numa', 'package', 'node'] as const
export type Resource = (typeof RESOURCES)[number]

/** Where ranks go. */
export interface MapBy {
  /** undefined: only qualifiers were given. */
  readonly by: 'slot' | 'seq' | 'rankfile' | Resource | undefined
  /** `ppr:N:RESOURCE`: so many ranks on each of them, never more. */
  readonly perResource?: number
  /** `pe=N`: so many cores for each rank. */
  readonly processors?: number
  /** Evenly over all nodes, as if they were one. */
  readonly span?: boolean
  /** More ranks than slots: allowed, refused, or (undefined) as it is usual. */
  readonly oversubscribe?: boolean
  /** Not on the node on which the command was given. */
  readonly noLocal?: boolean
  /** `rankfile:file=FILE` */
  readonly file?: string
}

/** In which order ranks that have their places are numbered: node by node, or dealt out over the nodes. */
export type RankBy = 'slot' | 'node'

/** What ranks are bound to. */
export interface BindTo {
  readonly to: 'none' | Resource
  /** So many of them for each rank. */
  readonly count: number
  /** More ranks than there are processors may be bound. */
  readonly overload: boolean
  /** Hydra's `user:`: the processors of one rank of a guest after the other, as the kernel numbers them; then again. */
  readonly list?: readonly (readonly number[])[]
  /** Open MPI's `cpu-list:ordered`: each rank of a guest has one of the processors that were named, in their order. */
  readonly ordered?: boolean
}

/** The highest number that a kernel gives a processor. */
const MOST_PROCESSORS = 8191

const OTHER_NAMES: Readonly<Record<string, Resource>> = { socket: 'package', board: 'node', machine: 'node' }
const RESOURCE_WORDS = [...RESOURCES, ...Object.keys(OTHER_NAMES)]
const resourceOf = (word: string) => (OTHER_NAMES[word] ?? word) as Resource

/** Reads `node`, `slot:pe=2`, `ppr:2:package:oversubscribe`, `:span`, `rankfile:file=FILE`. */
export function parseMapBy(text: string, where: string): MapBy {
  const [policy = '', ...fields] = text.split(':')
  let map: MapBy = { by: undefined }
  if (policy !== '') {
    const word = unabbreviated(policy, ['slot', 'seq', 'ppr', 'rankfile', ...RESOURCE_WORDS], where)
    if (word === 'ppr') {
      const [count = '', resource = ''] = fields.splice(0, 2)
      map = {
        by: resourceOf(unabbreviated(resource, RESOURCE_WORDS, `${where} ppr:N:RESOURCE`)),
        perResource: parseCount(count, `${where} ppr:N:RESOURCE`),
      }
    } else map = { by: word === 'slot' || word === 'seq' || word === 'rankfile' ? word : resourceOf(word) }
  }
  for (const qualifier of fields.flatMap((field) => field.split(','))) {
    map = { ...map, ...parseQualifier(qualifier, where) }
  }
  return map
}

const QUALIFIERS = [
  'pe',
  'oversubscribe',
  'nooversubscribe',
  'nolocal',
  'span',
  'file',
  'inherit',
  'noinherit',
]

function parseQualifier(text: string, where: string): Partial<MapBy> {
  const equals = text.indexOf('=')
  const value = text.slice(equals + 1)
  switch (unabbreviated(equals < 0 ? text : text.slice(0, equals), QUALIFIERS, where)) {
    case 'pe':
      return { processors: parseCount(equals < 0 ? '' : value, `${where} pe=N`, 1, 8192) }
    case 'oversubscribe':
      return { oversubscribe: true }
    case 'nooversubscribe':
      return { oversubscribe: false }
    case 'nolocal':
      return { noLocal: true }
    case 'span':
      return { span: true }
    case 'file':
      if (equals < 0 || value === '') throw usageError('names no file', 'rankfile:file=FILE', where)
      return { file: value }
    default:
      // Whether spawned ranks are placed by the same rule: here they always are placed among the job's guests.
      return {}
  }
}

/** Reads `slot`, `node`, and the finer units, which number ranks node by node as `slot` does. */
export function parseRankBy(text: string, where: string): RankBy {
  const [word = '', ...fields] = text.split(':')
  const unit = unabbreviated(word, ['slot', 'fill', 'span', ...RESOURCE_WORDS], where)
  for (const field of fields) unabbreviated(field, ['span', 'fill'], where)
  return unit === 'node' || unit === 'span' || fields.some((field) => /^s/i.test(field)) ? 'node' : 'slot'
}

/** Reads `none`, `core`, `core:2` (Hydra), `package:overload-allowed`, `user:0+2,1` (Hydra). */
export function parseBindTo(text: string, where: string): BindTo {
  const [word = '', ...fields] = text.split(':')
  if (word.toLowerCase() === 'user') {
    const list = fields
      .join(':')
      .split(',')
      .map((one) => one.split('+').map((id) => parseCount(id, `${where} user:`, 0, MOST_PROCESSORS)))
    return { to: 'hwthread', count: 1, overload: true, list }
  }
  if (word.toLowerCase() === 'cpu-list') {
    const ordered = fields.map((field) => unabbreviated(field, ['ordered'], where)).length > 0
    return { to: 'none', count: 1, overload: false, ...(ordered ? { ordered } : {}) }
  }
  const to = unabbreviated(word, ['none', ...RESOURCE_WORDS], where)
  let binding: BindTo = { to: to === 'none' ? 'none' : resourceOf(to), count: 1, overload: false }
  for (const field of fields.flatMap((one) => one.split(','))) {
    if (/^\d+$/.test(field)) binding = { ...binding, count: parseCount(field, where, 1, 8192) }
    else {
      const qualifier = unabbreviated(field, ['overload-allowed', 'no-overload', 'if-supported'], where)
      if (qualifier !== 'if-supported') binding = { ...binding, overload: qualifier === 'overload-allowed' }
    }
  }
  return binding
}

/** Reads numbers of processors, such as `0-3,8`. */
export function parseProcessors(text: string, where: string): number[] {
  return text.split(',').flatMap((field) => {
    const [first = '', last = first, ...more] = field.split('-')
    const from = parseCount(first, where, 0, MOST_PROCESSORS)
    const to = parseCount(last, where, from, MOST_PROCESSORS)
    if (more.length > 0) throw usageError(`"${field}" is no range of processors`, 'such as 0-3,8', where)
    return Array.from({ length: to - from + 1 }, (_, index) => from + index)
  })
}

/** The one of `known` that `word` is, or is the beginning of. */
export function unabbreviated<const T extends string>(word: string, known: readonly T[], where: string): T {
  const text = word.toLowerCase()
  const exact = known.find((one) => one === text)
  if (exact) return exact
  const found = text === '' ? [] : known.filter((one) => one.startsWith(text))
  if (found.length === 1) return found[0] as T
  if (found.length > 1) throw usageError(`"${word}" may be ${found.join(' or ')}`, undefined, where)
  throw usageError(`"${word}" is none of ${known.join(', ')}`, nearest(text, known), where)
}
