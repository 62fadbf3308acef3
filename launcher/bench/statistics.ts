// Whether one sample is larger than another, by which factor, how sure that is, and what it would take to know. Pure.
//
// Whether: the test of Mann and Whitney, exact, and the interval that belongs to it (Hodges and Lehmann, Annals of
// Mathematical Statistics 34, 1963; Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd edition, 4.3).
// It assumes no distribution, only that one sample is the other one times a factor, and with few repetitions it says that
// nothing can be said. The interval leaves 1 out exactly when the test rejects equality.
//
// How the medians stand to each other: their ratio with its bootstrap interval, by percentiles (Efron, Tibshirani: An
// Introduction to the Bootstrap, 1993, chapter 13). Not BCa: its acceleration comes from the jackknife, which fails for
// medians (the same, 11.6). Of few values the interval is too narrow, so that it decides nothing, and of samples of which
// the test can tell nothing there is none. The random numbers begin with the same seed each time: a report of the same
// results is the same.
//
// What it would take: repetitions of each by which a difference like the one measured would be found, from the spread of
// the logarithms. See `repetitionsToTell`.

/** What a sample looks like. */
export interface Spread {
  readonly count: number
  readonly least: number
  readonly lowerQuartile: number
  readonly median: number
  readonly upperQuartile: number
  readonly most: number
  /** What is far from the others, by Tukey's fences (Exploratory Data Analysis, 1977); it counts like any other value. */
  readonly outliers: readonly number[]
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
  /** Of each sample so many values would probably tell this difference from noise; undefined unless it is within noise. */
  readonly needed: number | undefined
}

/** How the medians of two samples stand to each other. */
export interface MedianRatio {
  readonly ratio: number
  /** By bootstrap; undefined when the samples are too small to tell anything. */
  readonly interval: readonly [number, number] | undefined
}

/** The confidence of intervals; a difference counts when 1 is outside. */
export const CONFIDENCE = 0.95

/** Least, quartiles and most of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = ascending(values)
  const [lowerQuartile, upperQuartile] = [quantile(sorted, 0.25), quantile(sorted, 0.75)]
  const fence = FENCE * (upperQuartile - lowerQuartile)
  return {
    count: sorted.length,
    least: quantile(sorted, 0),
    lowerQuartile,
    median: medianOf(values),
    upperQuartile,
    most: quantile(sorted, 1),
    outliers: sorted.filter((value) => value < lowerQuartile - fence || value > upperQuartile + fence),
  }
}

/** Distances between the quartiles beyond which a value is an outlier. */
const FENCE = 1.5

/** Median of at least one value. */
export function medianOf(values: readonly number[]): number {
  return quantile(ascending(values), 0.5)
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
  if (outside < 0) return { ratio, interval: undefined, p, verdict: 'unknown', needed: undefined }
  const low = quotients[outside] as number
  const high = quotients[quotients.length - 1 - outside] as number
  const verdict = low > 1 ? 'more' : high < 1 ? 'less' : 'noise'
  return {
    ratio,
    interval: [low, high],
    p,
    verdict,
    needed: verdict === 'noise' ? repetitionsToTell(sample, reference) : undefined,
  }
}

/** How many resamples; Efron and Tibshirani want a thousand or two for an interval. */
const RESAMPLES = 2000

/** The ratio of the medians of `sample` and `reference` with its percentile interval: both are drawn again, with replacement. */
export function compareMedians(sample: readonly number[], reference: readonly number[]): MedianRatio {
  const ratioOf = (a: readonly number[], b: readonly number[]) => medianOf(a) / medianOf(b)
  const ratio = ratioOf(sample, reference)
  if (leftOut(rankSumDistribution(sample.length, reference.length)) < 0) return { ratio, interval: undefined }
  const random = seededRandom(1)
  const drawn = Array.from({ length: RESAMPLES }, () =>
    ratioOf(drawnFrom(sample, random), drawnFrom(reference, random)),
  )
  const sorted = ascending(drawn)
  const outside = (1 - CONFIDENCE) / 2
  return { ratio, interval: [quantile(sorted, outside), quantile(sorted, 1 - outside)] }
}

function drawnFrom(values: readonly number[], random: () => number): number[] {
  return values.map(() => values[Math.floor(random() * values.length)] as number)
}

/** Numbers from 0 to 1 that look random and are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Quantiles of the normal distribution: 97.5 % for a two-sided test at 95 %, and 80 % for its power. */
const [Z_CONFIDENCE, Z_POWER] = [1.959964, 0.841621]

/**
 * How many values of each sample tell the difference that was measured from noise in four of five tries (power 80 %, at
 * 95 %): 2 ((z₀.₉₇₅ + z₀.₈) σ / ln r)² of a test of means, with the samples' common standard deviation σ of logarithms and
 * their distance ln r; times π/3, for the test of Mann and Whitney (Lehmann: Nonparametrics, 1975, chapter 2, sections 3
 * and 4: what it loses where a test of means is best). undefined when the samples' middles are the same.
 */
export function repetitionsToTell(
  sample: readonly number[],
  reference: readonly number[],
): number | undefined {
  const logs = [sample, reference].map((values) => values.map(Math.log))
  const [here, there] = logs.map(meanOf) as [number, number]
  const squares = logs.flatMap((values) => values.map((value) => (value - meanOf(values)) ** 2))
  const variance = sumOf(squares) / (squares.length - 2)
  const count = ((2 * Math.PI) / 3) * (Z_CONFIDENCE + Z_POWER) ** 2 * (variance / (here - there) ** 2)
  // What was measured was not enough.
  const least = Math.min(sample.length, reference.length) + 1
  return Number.isFinite(count) ? Math.max(least, Math.ceil(count)) : undefined
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}

function meanOf(values: readonly number[]): number {
  return sumOf(values) / values.length
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
