// The words of an mpirun command line: options before each program, `:` between programs (MPMD), one or two dashes,
// `--flag VALUE` or `--flag=VALUE`, and nothing of ours after the program's name. Pure; one table says what there is.
// Sources: mpirun(1) of Open MPI 4.1 and 5.0, mpiexec(1) of MPICH 4.0.
import { usageError } from '../../common/index.ts'
import { nearest } from './words.ts'

/** One option of the table that drives parsing, help, completion and the reference page. */
export interface OptionSpec {
  /** Key in settings and in leet.yaml, such as `guest.memory`. */
  readonly key: string
  /** Spellings without dashes; the first is the one shown. */
  readonly flags: readonly string[]
  /** Placeholders of the words it takes; none for a switch. */
  readonly takes: readonly string[]
  /** `program`: may differ between programs separated by `:`; `job`: holds for the whole command. */
  readonly scope: 'job' | 'program'
  /** Its two words may also be one, as `NAME=VALUE`. */
  readonly joined?: boolean
  /** May be given more than once, every occurrence counts. */
  readonly repeats?: boolean
  /** It repeats, but as one choice: what the command line says replaces what files say, instead of adding to it. */
  readonly replaces?: boolean
  /** Makes sense on a command line only, not in a file. */
  readonly commandLineOnly?: boolean
  readonly help: string
  /** What holds when nobody says anything of it. */
  readonly default?: OptionDefault
  /** Words that may stand behind it, or begin what does: for completion. */
  readonly words?: readonly string[]
  /** Heading in the help. */
  readonly group: string
  /** Also read from this environment variable. */
  readonly environment?: string
  /** Another way to say another option: its key and the words behind it, `%` and `%2` for those that it takes itself. */
  readonly means?: readonly [key: string, ...words: string[]]
  /** Known to other launchers but without meaning here: accepted; this says why. */
  readonly noEffect?: string
  /** Known to other launchers but not to be had here: refused, with this advice. */
  readonly refused?: string
}

/**
 * What holds when nobody says anything of an option: `word` is as one would write it oneself; `found` says in words how it is
 * found where it depends on other things.
 */
export type OptionDefault = { readonly word: string; readonly note?: string } | { readonly found: string }

/** Occurrences of options: key → one list of words for each occurrence. */
export type OptionWords = ReadonlyMap<string, readonly (readonly string[])[]>

/** One program of the command line. */
export interface ProgramWords {
  readonly options: OptionWords
  readonly argv: readonly string[]
}

/** A command line taken apart; nothing is interpreted yet. */
export interface CommandWords {
  readonly options: OptionWords
  readonly programs: readonly ProgramWords[]
}

/** Takes an mpirun command line apart. Unknown or incomplete options are refused with the nearest known spelling. */
export function parseCommandWords(table: readonly OptionSpec[], argv: readonly string[]): CommandWords {
  const byFlag = new Map(table.flatMap((option) => option.flags.map((flag) => [flag, option] as const)))
  const job = new Map<string, string[][]>()
  const programs: ProgramWords[] = []
  for (const segment of splitPrograms(table, argv)) {
    const own = new Map<string, string[][]>()
    let at = 0
    while (at < segment.length) {
      const word = segment[at] as string
      if (word === '--') {
        at++
        break
      }
      if (!word.startsWith('-') || word === '-') break
      at++
      const { flag, inline } = splitFlag(word)
      const option = byFlag.get(flag)
      if (!option) throw unknownOption(word, [...byFlag.keys()])
      if (option.refused !== undefined) throw usageError('is not to be had here', option.refused, word)
      const words = takeValues(option, word, inline, segment, at)
      if (inline === undefined) at += countOfWords(option, segment[at])
      const { option: meant, values } = meaningOf(table, option, words)
      const target = meant.scope === 'job' ? job : own
      const before = target.get(meant.key) ?? []
      const collects = meant.repeats || meant.noEffect !== undefined
      if (before.length > 0 && !collects && meant.takes.length > 0 && before[0]?.join() !== values.join()) {
        throw usageError(
          `given twice, as "${before[0]?.join(' ')}" and "${values.join(' ')}"`,
          undefined,
          dashed(meant),
        )
      }
      target.set(meant.key, collects ? [...before, values] : [values])
    }
    programs.push({ options: own, argv: segment.slice(at) })
  }
  return { options: job, programs }
}

// What another way to say an option stands for; the words that it takes itself come in the place of `%` and `%2`.
function meaningOf(
  table: readonly OptionSpec[],
  option: OptionSpec,
  given: string[],
): { option: OptionSpec; values: string[] } {
  if (!option.means) return { option, values: given }
  const [key, ...words] = option.means
  const meant = table.find((other) => other.key === key) as OptionSpec
  return {
    option: meant,
    values: words.map((word) => word.replace(/%(2?)/, (_, second) => given[second ? 1 : 0] ?? '')),
  }
}

/** An option as it is shown: `--guest-memory`, `-n`. */
export function dashed(option: OptionSpec): string {
  const flag = option.flags[0] as string
  return dashedFlag(flag)
}

/** A flag with its dashes: one before the short ones and those of Hydra. */
export function dashedFlag(flag: string): string {
  return `${flag.length <= 2 ? '-' : '--'}${flag}`
}

// A lone `:` separates programs only where one may end, that is after a program's name was seen, or where one is missing.
function splitPrograms(table: readonly OptionSpec[], argv: readonly string[]): string[][] {
  const byFlag = new Map(table.flatMap((option) => option.flags.map((flag) => [flag, option] as const)))
  const segments: string[][] = [[]]
  let inProgram = false
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string
    const current = segments.at(-1) as string[]
    if (word === ':' && (inProgram || current.length === 0)) {
      segments.push([])
      inProgram = false
      continue
    }
    current.push(word)
    if (inProgram) continue
    if (word === '--') inProgram = true
    else if (word.startsWith('-') && word !== '-') {
      const { flag, inline } = splitFlag(word)
      const option = inline === undefined ? byFlag.get(flag) : undefined
      const count = option ? countOfWords(option, argv[at + 1]) : 0
      current.push(...argv.slice(at + 1, at + 1 + count))
      at += count
    } else inProgram = true
  }
  return segments
}

function splitFlag(word: string): { flag: string; inline: string | undefined } {
  const bare = word.replace(/^--?/, '')
  const equals = word.startsWith('--') ? bare.indexOf('=') : -1
  return equals < 0
    ? { flag: bare, inline: undefined }
    : { flag: bare.slice(0, equals), inline: bare.slice(equals + 1) }
}

/** How many words stand behind an option, of which the first is `next`. */
export function countOfWords({ takes, joined }: OptionSpec, next: string | undefined): number {
  return joined && next?.includes('=') ? 1 : takes.length
}

function takeValues(
  option: OptionSpec,
  word: string,
  inline: string | undefined,
  segment: readonly string[],
  at: number,
): string[] {
  if (inline !== undefined) {
    if (option.takes.length !== 1)
      throw usageError(`takes ${option.takes.length || 'no'} words, not "=${inline}"`, undefined, word)
    return [inline]
  }
  const [first = ''] = segment.slice(at)
  if (countOfWords(option, first) < option.takes.length) {
    const equals = first.indexOf('=')
    return [first.slice(0, equals), first.slice(equals + 1)]
  }
  const values = segment.slice(at, at + option.takes.length)
  if (values.length < option.takes.length) {
    throw usageError(`needs ${option.takes.join(' ')} behind it`, undefined, word)
  }
  return values
}

function unknownOption(word: string, known: readonly string[]): Error {
  const { flag } = splitFlag(word)
  // `-np4`: the number is a word of its own.
  const [, name = '', number] = /^(\D+)(\d+)$/.exec(flag) ?? []
  if (number !== undefined && known.includes(name))
    return usageError('unknown option', `${word.slice(0, -number.length)} ${number}`, word)
  const near = nearest(flag, known)
  return usageError(
    'unknown option',
    near
      ? `${near.length === 1 ? '-' : '--'}${near}, or leet-mpirun --help for all options`
      : 'leet-mpirun --help for all options',
    word,
  )
}
