// Whether one sample is larger than another, by which factor, and how sure that is. Pure.
//
// Chosen: the test of Mann and Whitney, exact, and the interval that belongs to it (Hodges and Lehmann, Annals of
// Mathematical Statistics 34, 1963; Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd edition, 4.3).
// It assumes no distribution, only that one sample is the other one times a factor; it needs no random numbers, so that a
// report can be computed again; and with few repetitions it says that nothing can be said, where a bootstrap would
// draw an interval from two or three values that looks like any other. The interval leaves 1 out exactly when the test
// rejects equality.

/** What a sample looks like. */
export interface Spread {
  readonly count: number
  readonly least: number
  readonly lowerQuartile: number
  readonly median: number
  readonly upperQuartile: number
  readonly most: number
}

/** The factor between two samples. */
export interface Comparison {
  /** Median of all quotients of a value of one sample by one of the other (the estimate of Hodges and Lehmann). */
  readonly ratio: number
  /** The interval in which the factor lies with the confidence wanted; undefined when the samples are too small for one. */
  readonly interval: readonly [number, number] | undefined
  /** Of the test of Mann and Whitney: how often samples without any difference would look as different as these. */
  readonly p: number
  /** `unknown`: too few values to tell. */
  readonly verdict: 'more' | 'less' | 'noise' | 'unknown'
}

/** The confidence of intervals; a difference counts when 1 is outside. */
export const CONFIDENCE = 0.95

/** Least, quartiles and most of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = ascending(values)
  return {
    count: sorted.length,
    least: quantile(sorted, 0),
    lowerQuartile: quantile(sorted, 0.25),
    median: quantile(sorted, 0.5),
    upperQuartile: quantile(sorted, 0.75),
    most: quantile(sorted, 1),
  }
}

/** By which factor `sample` is larger than `reference`. All values are positive; neither sample is empty. */
export function compareSamples(sample: readonly number[], reference: readonly number[]): Comparison {
  const quotients = ascending(sample.flatMap((a) => reference.map((b) => a / b)))
  const ratio = quantile(quotients, 0.5)
  const above = quotients.filter((q) => q > 1).length
  const below = quotients.filter((q) => q < 1).length
  const distribution = rankSumDistribution(sample.length, reference.length)
  // Ties count for both sides, which never makes a difference look surer than it is.
  const p = Math.min(1, 2 * cumulative(distribution, quotients.length - Math.max(above, below)))
  const outside = leftOut(distribution)
  if (outside < 0) return { ratio, interval: undefined, p, verdict: 'unknown' }
  const low = quotients[outside] as number
  const high = quotients[quotients.length - 1 - outside] as number
  return { ratio, interval: [low, high], p, verdict: low > 1 ? 'more' : high < 1 ? 'less' : 'noise' }
}

// How many quotients at either end of the sorted list are outside of the interval: with the next one the confidence
// would be too low. The interval begins at the one of that index; below 0 there is none.
function leftOut(distribution: readonly number[]): number {
  let index = -1
  let sum = 0
  for (const probability of distribution) {
    sum += probability
    if (sum > (1 - CONFIDENCE) / 2) break
    index++
  }
  return index
}

/**
 * Probability of each number of pairs (a, b) with a < b, 0 to m·n, when both samples come from one distribution.
 * The last of all values is of the first sample with probability m/(m+n), and then is above all n others.
 */
export function rankSumDistribution(m: number, n: number): number[] {
  // One row of the recursion at a time: rows[j] is the distribution for i and j values.
  let rows: number[][] = Array.from({ length: n + 1 }, () => [1])
  for (let i = 1; i <= m; i++) {
    const next: number[][] = [[1]]
    for (let j = 1; j <= n; j++) {
      const row = new Array<number>(i * j + 1).fill(0)
      const last = rows[j] as number[]
      const other = next[j - 1] as number[]
      for (let u = 0; u < last.length; u++) row[u + j] = ((last[u] as number) * i) / (i + j)
      for (let u = 0; u < other.length; u++)
        row[u] = (row[u] as number) + ((other[u] as number) * j) / (i + j)
      next.push(row)
    }
    rows = next
  }
  return rows[n] as number[]
}

function cumulative(distribution: readonly number[], until: number): number {
  return distribution.slice(0, until + 1).reduce((sum, probability) => sum + probability, 0)
}

function quantile(sorted: readonly number[], part: number): number {
  const at = part * (sorted.length - 1)
  const low = sorted[Math.floor(at)] as number
  const high = sorted[Math.ceil(at)] as number
  return low + (high - low) * (at - Math.floor(at))
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b)
}
