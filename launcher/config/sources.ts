// Who said what of an option: the command line before the environment, that before the files. Pure.
import { usageError } from '../../common/index.ts'
import { dashed, type OptionSpec, type OptionWords } from '../../mpi-bridge/index.ts'

/** One occurrence of an option. */
export interface Said {
  /** Its words; none for a switch. */
  readonly words: readonly string[]
  /** Flag, variable, or file with line and column: for messages. */
  readonly where: string
  /** What said it as a whole: `command line`, `environment`, or the path of a file. */
  readonly source: string
}

/** What one leet.yaml says, by key. A switch that is turned off has no occurrences, but is there. */
export interface ConfigFile {
  readonly path: string
  readonly options: ReadonlyMap<string, readonly Said[]>
}

/** Everything that can set an option. */
export interface OptionSources {
  readonly flags: OptionWords
  readonly environment: NodeJS.ProcessEnv
  /** From strong to weak. */
  readonly files: readonly ConfigFile[]
}

/**
 * The occurrences of an option that count, from weak to strong: those of the strongest source that names it. Options that
 * collect things, such as mounts, have those of all sources.
 */
export function whatWasSaid(spec: OptionSpec, { flags, environment, files }: OptionSources): readonly Said[] {
  const bySource = [
    flags.get(spec.key)?.map((words) => ({ words, where: dashed(spec), source: 'command line' })),
    fromEnvironment(spec, environment),
    ...files.map(({ options }) => options.get(spec.key)),
  ].filter((said) => said !== undefined)
  if (spec.repeats && !spec.replaces) return bySource.toReversed().flat()
  return bySource[0] ?? []
}

/** Whether a switch is said in files and variables the other way round: `finalize-rescue: false` for `--no-finalize-rescue`. */
export function isNegated({ key, flags, takes }: OptionSpec): boolean {
  return takes.length === 0 && flags[0] === `no-${key.replaceAll('.', '-')}`
}

// Of an option that may be repeated the variable has several, with blanks between them. A switch is true or false, as in files.
function fromEnvironment(spec: OptionSpec, environment: NodeJS.ProcessEnv): Said[] | undefined {
  const where = spec.environment
  const text = where === undefined ? undefined : environment[where]
  if (where === undefined || !text) return undefined
  if (spec.takes.length === 0) {
    if (text !== 'true' && text !== 'false') throw usageError('is either true or false', undefined, where)
    return (text === 'true') === isNegated(spec) ? [] : [{ words: [], where, source: 'environment' }]
  }
  const values = spec.repeats ? text.split(/\s+/).filter(Boolean) : [text]
  return values.map((value) => ({ words: [value], where, source: 'environment' }))
}
