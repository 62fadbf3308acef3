// How comparisons are said. Pure.
import { digits, type Figure, SCALARS } from './figures.ts'
import { baselineOf, KIND_NAMES, MPI_NAMES, type Mpi, mpisOf, type Results } from './results.ts'
import { CONFIDENCE, type Comparison } from './statistics.ts'

/** A factor as people say it, for figures of which less is better: `2.31 times as long`, `12.0 % longer`. */
export function factorText(ratio: number, { unit, better }: Figure): string {
  const [longer, shorter] = unit === 'seconds' ? ['longer', 'less time'] : ['more', 'less']
  if (ratio >= 1.995)
    return `${digits(ratio)} times as ${unit === 'seconds' ? 'long' : better === 'more' ? 'fast' : 'much'}`
  const percent = Math.abs(ratio - 1) * 100
  return `${percent.toFixed(percent < 10 ? 1 : 0)} % ${ratio >= 1 ? longer : shorter}`
}

/** Whether a comparison is for the better. */
export function judgement(
  { verdict }: Comparison,
  { better }: Figure,
): 'better' | 'worse' | 'noise' | 'unknown' {
  if (verdict === 'noise' || verdict === 'unknown') return verdict
  return verdict === better ? 'better' : 'worse'
}

/** An interval as `0.98 to 1.04`. */
export function intervalText(interval: readonly [number, number]): string {
  return `${digits(interval[0])} to ${digits(interval[1])}`
}

/** A factor with its interval: `1.02, 95 % interval 0.98 to 1.04`. */
export function factorWithInterval({ ratio, interval }: Pick<Comparison, 'ratio' | 'interval'>): string {
  const around = interval ? `, ${CONFIDENCE * 100} % interval ${intervalText(interval)}` : ''
  return `${digits(ratio)}${around}`
}

/** Rounds by which the differences that are within noise would probably be told, as the end of a sentence. */
export function neededText(within: readonly Comparison[]): string {
  const needed = within.flatMap((each) => each.needed ?? [])
  if (needed.length === 0) return ''
  const most = Math.max(...needed)
  return `; if that is no chance, ${most > MOST_ROUNDS ? `more than ${MOST_ROUNDS}` : `about ${most}`} rounds would tell it`
}

/** What nobody waits for is not told exactly. */
const MOST_ROUNDS = 1000

/** The begin of a sentence about a figure; a program keeps its name. */
export function beginOf({ name, figure }: { readonly name: string; readonly figure: Figure }): string {
  return figure === SCALARS.program ? name : `${name.charAt(0).toUpperCase()}${name.slice(1)}`
}

/** The first few of many in words, and how many more there are. */
export function someOf(words: readonly string[]): string {
  const more = words.length - SHOWN
  return more > 1 ? `${words.slice(0, SHOWN).join(', ')} and ${more} more` : listOf(words)
}

/** So many of a list are read. */
const SHOWN = 4

/** A name with the MPI behind it, where that is not the only one. */
export function withMpi(name: string, mpi: Mpi | undefined): string {
  return mpi === undefined ? name : `${name} with ${MPI_NAMES[mpi]}`
}

/** What others are compared with: of several MPIs each has its own stock launcher. */
export function baselineNames(results: Results): string {
  return listOf([...new Set(mpisOf(results).map((mpi) => KIND_NAMES[baselineOf(results, mpi)]))])
}

/** `a, b and c`. */
export function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`
}
