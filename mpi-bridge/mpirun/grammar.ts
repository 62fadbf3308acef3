// The words of an mpirun command line: options before each program, `:` between programs (MPMD), one or two dashes,
// `--flag VALUE` or `--flag=VALUE`, and nothing of ours after the program's name. Pure; one table says what there is.
// Sources: mpirun(1) of Open MPI 4.1 and 5.0, mpiexec(1) of MPICH 4.0.
import { usageError } from '../../common/index.ts'

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
  /** May be given more than once, every occurrence counts. */
  readonly repeats?: boolean
  readonly help: string
  /** Heading in the help. */
  readonly group: string
  /** Also read from this environment variable. */
  readonly environment?: string
}

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
      const values = takeValues(option, word, inline, segment, at)
      if (inline === undefined) at += option.takes.length
      const target = option.scope === 'job' ? job : own
      const before = target.get(option.key) ?? []
      if (
        before.length > 0 &&
        !option.repeats &&
        option.takes.length > 0 &&
        before[0]?.join() !== values.join()
      ) {
        throw usageError(
          `given twice, as "${before[0]?.join(' ')}" and "${values.join(' ')}"`,
          undefined,
          dashed(option),
        )
      }
      target.set(option.key, option.repeats ? [...before, values] : [values])
    }
    programs.push({ options: own, argv: segment.slice(at) })
  }
  return { options: job, programs }
}

/** An option as it is shown: `--guest-memory`, `-n`. */
export function dashed(option: OptionSpec): string {
  const flag = option.flags[0] as string
  return `${flag.length === 1 ? '-' : '--'}${flag}`
}

/** The known word nearest to `word`, if one is near enough to be what was meant. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(word, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

// A lone `:` separates programs only where one may end, that is after a program's name was seen.
function splitPrograms(table: readonly OptionSpec[], argv: readonly string[]): string[][] {
  const takes = new Map(
    table.flatMap((option) => option.flags.map((flag) => [flag, option.takes.length] as const)),
  )
  const segments: string[][] = [[]]
  let inProgram = false
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string
    const current = segments.at(-1) as string[]
    if (inProgram && word === ':') {
      segments.push([])
      inProgram = false
      continue
    }
    current.push(word)
    if (inProgram) continue
    if (word === '--') inProgram = true
    else if (word.startsWith('-') && word !== '-') {
      const { flag, inline } = splitFlag(word)
      const count = inline === undefined ? (takes.get(flag) ?? 0) : 0
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
  const values = segment.slice(at, at + option.takes.length)
  if (values.length < option.takes.length) {
    throw usageError(`needs ${option.takes.join(' ')} behind it`, undefined, word)
  }
  return values
}

function unknownOption(word: string, known: readonly string[]): Error {
  const { flag } = splitFlag(word)
  const near = nearest(flag, known)
  return usageError(
    'unknown option',
    near
      ? `${near.length === 1 ? '-' : '--'}${near}, or leet-mpirun --help for all options`
      : 'leet-mpirun --help for all options',
    word,
  )
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitute, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
