// A row of a table of options: spellings, variable, key, help and default of an option together with what its words become.
// Whoever reads an option has its row, and with it the type of what he gets: there is no other way to read one. Pure.
import { usageError } from '../../common/index.ts'
import { nearest, type OptionDefault, type OptionSpec } from '../../mpi-bridge/index.ts'
import { isNegated, type OptionSources, type Said, whatWasSaid } from './sources.ts'

/** An option that becomes a `T`. */
export interface Row<T> extends OptionSpec {
  /** What the occurrences that count become; what none of them becomes is the default. A refusal is a usage error. */
  readonly read: (said: readonly Said[]) => T
}

/** Reads the word of an option; `where` is what said it. */
export interface Parse<T> {
  (text: string, where: string): T
  /** The words that it takes, where they are few. */
  readonly words?: readonly string[]
}

/** What a row says of its option; several flags, and several words that it takes, have blanks between them. */
interface Words extends Omit<OptionSpec, 'flags' | 'takes' | 'scope' | 'group' | 'repeats' | 'joined'> {
  readonly flags: string
  readonly scope?: OptionSpec['scope']
}

/** Without words of its own that would be parsed. */
type Unsaid = { readonly default?: { readonly found: string } }

type Switch = Words & Unsaid
type Value<T> = Words & { readonly takes: string; readonly parse: Parse<T> }
type Usual<T> = Value<T> & { readonly default: { readonly word: string } }
type List<T> = Words &
  Unsaid & {
    readonly takes: string
    /** Of one occurrence. */
    readonly parse: (said: Said) => readonly T[]
    readonly joined?: boolean
  }

/** Makes the rows of a group of options; the group is their heading in the help. */
export interface RowsOf {
  /** Given or not; one that is spelled `--no-…` is true unless it is given. */
  readonly flag: (row: Switch) => Row<boolean>
  /** One word, and one where nobody says any. */
  readonly value: <T>(row: Usual<T>) => Row<T>
  /** One word; undefined unless somebody says it. */
  readonly wish: <T>(row: Value<T> & Unsaid) => Row<T | undefined>
  /** May be given more than once; the values of all occurrences, from weak to strong. */
  readonly list: <T>(row: List<T>) => Row<readonly T[]>
}

/** The makers of rows for the options under this heading. */
export function rowsOf(group: string): RowsOf {
  const optionOf = ({ flags, takes = '', ...more }: Words & { readonly takes?: string }): OptionSpec => ({
    scope: 'job',
    ...more,
    flags: flags.split(' '),
    takes: takes === '' ? [] : takes.split(' '),
    group,
  })
  const taking = <T>({ parse, ...words }: Value<T>) => optionOf({ words: parse.words, ...words })
  return {
    flag(row) {
      const option = optionOf(row)
      return { ...option, read: (said) => said.length > 0 !== isNegated(option) }
    },
    value(row) {
      const unsaid = { words: [row.default.word], where: row.key, source: 'default' }
      return { ...taking(row), read: (said) => wordOf(said.at(-1) ?? unsaid, row.parse) }
    },
    wish(row) {
      const read = (last: Said | undefined) => (last ? wordOf(last, row.parse) : undefined)
      return { ...taking(row), read: (said) => read(said.at(-1)) }
    },
    list({ parse, ...words }) {
      return { ...optionOf(words), repeats: true, read: (said) => said.flatMap(parse) }
    },
  }
}

function wordOf<T>({ words: [text = ''], where }: Said, parse: Parse<T>): T {
  return parse(text, where)
}

/** What was said of options, by their rows. */
export interface OptionReader {
  readonly get: <T>(row: Row<T>) => T
  /** Whether anybody said anything of it. */
  readonly has: (option: OptionSpec) => boolean
}

/** Reads options from where they may be said. */
export function optionReader(sources: OptionSources): OptionReader {
  return {
    get: (row) => row.read(whatWasSaid(row, sources)),
    has: (option) => whatWasSaid(option, sources).length > 0,
  }
}

/** The default of an option, for people; undefined when there is none. */
export function defaultOf({ default: usual }: { readonly default?: OptionDefault }): string | undefined {
  if (!usual) return undefined
  if ('found' in usual) return usual.found
  return usual.note === undefined ? usual.word : `${usual.word}, ${usual.note}`
}

/** What an option is for, with its default. */
export function describeOption(option: OptionSpec): string {
  const usual = defaultOf(option)
  return usual === undefined ? option.help : `${option.help} (default: ${usual})`
}

/** The words that may stand behind an option, its default first: for completion. */
export function wordsOf({ words = [], default: usual }: OptionSpec): string[] {
  return [...new Set([...(usual && 'word' in usual ? [usual.word] : []), ...words])]
}

/** One of these words, in whatever case. */
export function oneOf<const T extends string>(known: readonly T[]): Parse<T> {
  const parse = (text: string, where: string): T => {
    const found = known.find((word) => word === text.toLowerCase())
    if (found) return found
    throw usageError(`"${text}" is none of ${known.join(', ')}`, nearest(text, known), where)
  }
  return Object.assign(parse, { words: known })
}

/** Any text but the empty one. */
export function nonEmpty(text: string, where: string): string {
  if (text === '' || text.includes('\0')) throw usageError('is empty', undefined, where)
  return text
}
