// Which files take part in staging, as --stage-in, --stage-only and --stage-out say it: paths and patterns, relative ones meant
// in the working directory, in the shell's words (`*`, `?`, `[…]` within a name, `**` for any directories). What is named takes
// part with all that is below it.
import { isAbsolute, resolve } from 'node:path'

/** Says what takes part, by paths. */
export interface StageFilter {
  /** Whether this file or directory takes part. */
  wants(path: string): boolean
  /** Whether something below this directory may take part: others need not be looked into. */
  reaches(path: string): boolean
}

/** Everything takes part. */
export const STAGE_ALL: StageFilter = { wants: () => true, reaches: () => true }

/** A filter of absolute paths; relative patterns are meant in each of `directories`. */
export function stageFilter(patterns: readonly string[], directories: readonly string[]): StageFilter {
  const parsed = patterns.flatMap((pattern) =>
    isAbsolute(pattern) ? [segmentsOf(pattern)] : directories.map((one) => segmentsOf(pattern, one)),
  )
  const best = (path: string) => {
    const names = namesOf(path)
    return Math.max(Reach.none, ...parsed.map((segments) => reachOf(segments, names)))
  }
  return {
    wants: (path) => best(path) === Reach.whole,
    reaches: (path) => best(path) !== Reach.none,
  }
}

/** The filter for paths that are relative to a directory. */
export function filterBelow({ wants, reaches }: StageFilter, directory: string): StageFilter {
  return {
    wants: (path) => wants(`${directory}/${path}`),
    reaches: (path) => reaches(`${directory}/${path}`),
  }
}

/** What takes part in one of the filters. */
export function anyFilter(filters: readonly StageFilter[]): StageFilter {
  return {
    wants: (path) => filters.some(({ wants }) => wants(path)),
    reaches: (path) => filters.some(({ reaches }) => reaches(path)),
  }
}

/** The absolute path below which lies all that a pattern may mean: what is before its first wildcard. */
export function plainPart(pattern: string, directory: string): string {
  const path = resolve(directory, pattern)
  const names = namesOf(path)
  const fixed = isAbsolute(pattern) ? 0 : namesOf(directory).length
  const wild = names.findIndex((name, index) => index >= fixed && /[*?[]/.test(name))
  return `/${names.slice(0, wild < 0 ? undefined : wild).join('/')}`
}

/** How much of a pattern the names of a path match: nothing, its beginning, or all of it. */
const Reach = { none: 0, partly: 1, whole: 2 } as const
type Segment = RegExp | '**'

function segmentsOf(pattern: string, directory = '/'): Segment[] {
  const segments: Segment[] = isAbsolute(pattern) ? [] : namesOf(directory).map(plainName)
  for (const name of namesOf(pattern)) {
    if (name === '..') segments.pop()
    else segments.push(name === '**' ? '**' : nameExpression(name))
  }
  return segments
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

function reachOf(segments: readonly Segment[], names: readonly string[]): number {
  const [segment, ...rest] = segments
  if (segment === undefined) return Reach.whole
  const [name, ...below] = names
  if (name === undefined) return rest.length === 0 && segment === '**' ? Reach.whole : Reach.partly
  if (segment === '**') return Math.max(reachOf(rest, names), reachOf(segments, below))
  return segment.test(name) ? reachOf(rest, below) : Reach.none
}

/** A name with wildcards. What is no complete `[…]` stands for itself. */
function nameExpression(name: string): RegExp {
  const source = name.replace(
    /\[([!^]?)(\]?[^\]]*)\]|[\s\S]/gu,
    (text, negation?: string, members?: string) => {
      if (members !== undefined && members !== '') {
        return `[${negation === '' ? '' : '^'}${members.replace(/[\\[\]^]/g, '\\$&')}]`
      }
      if (text === '*') return '.*'
      if (text === '?') return '.'
      return text.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&')
    },
  )
  try {
    return new RegExp(`^${source}$`, 'su')
  } catch {
    // Such as a range that runs backwards: nothing but the name itself.
    return plainName(name)
  }
}

function plainName(name: string): RegExp {
  return new RegExp(`^${name.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&')}$`, 'su')
}
