// Which files of a working directory take part in staging, as --stage-in and --stage-out say it: paths and patterns
// relative to that directory, in the shell's words (`*`, `?`, `[…]` within a name, `**` for any directories). What is named
// takes part with all that is below it.
import { isAbsolute, relative } from 'node:path'
import { usageError } from '../../common/index.ts'

/** Says what takes part, by paths relative to the directory that is staged. */
export interface StageFilter {
  /** Whether this file or directory takes part. */
  wants(path: string): boolean
  /** Whether something below this directory may take part: others need not be looked into. */
  reaches(path: string): boolean
}

/** Everything takes part. */
export const STAGE_ALL: StageFilter = { wants: () => true, reaches: () => true }

/** The word for no file at all; a file of this name is `./none`. */
const STAGE_NONE = 'none'

/**
 * The filter of some patterns for `directory`; without any, everything takes part. A pattern that leads out of the directory
 * is a usage error about `option`.
 */
export function stageFilter(
  patterns: readonly string[] | undefined,
  directory: string,
  option: string,
): StageFilter {
  if (patterns === undefined) return STAGE_ALL
  const parsed = patterns
    .filter((pattern) => pattern !== STAGE_NONE)
    .map((pattern) => segmentsOf(pattern, directory, option))
  const best = (path: string) => {
    const names = path.split('/')
    return Math.max(Reach.none, ...parsed.map((segments) => reachOf(segments, names)))
  }
  return {
    wants: (path) => best(path) === Reach.whole,
    reaches: (path) => best(path) !== Reach.none,
  }
}

/** How much of a pattern the names of a path match: nothing, its beginning, or all of it. */
const Reach = { none: 0, partly: 1, whole: 2 } as const
type Segment = RegExp | '**'

function segmentsOf(pattern: string, directory: string, option: string): Segment[] {
  const local = isAbsolute(pattern) ? relative(directory, pattern) : pattern
  const names = local.split('/').filter((name) => name !== '' && name !== '.')
  if (names.includes('..')) {
    throw usageError(
      `"${pattern}" is not below the working directory ${directory}`,
      'name files of the working directory; --file puts others into the image',
      option,
    )
  }
  return names.map((name) => (name === '**' ? '**' : nameExpression(name)))
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
    return new RegExp(`^${name.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&')}$`, 'su')
  }
}
