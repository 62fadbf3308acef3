import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compareMedians,
  compareSamples,
  medianOf,
  rankSumDistribution,
  repetitionsToTell,
  seededRandom,
  spreadOf,
} from '../../../launcher/bench/statistics.ts'

const positive = fc.double({ min: 1e-6, max: 1e6, noNaN: true })
const sample = (least: number) => fc.array(positive, { minLength: least, maxLength: 9 })
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)

/** Every way to choose m of m + n places: the distribution by counting. */
function counted(m: number, n: number): number[] {
  const counts = new Array<number>(m * n + 1).fill(0)
  for (let places = 0; places < 2 ** (m + n); places++) {
    const first = Array.from({ length: m + n }, (_, place) => (places >> place) & 1)
    if (sum(first) !== m) continue
    let pairs = 0
    first.forEach((one, place) => {
      if (one) pairs += first.slice(0, place).filter((other) => other === 0).length
    })
    counts[pairs] = (counts[pairs] as number) + 1
  }
  const all = sum(counts)
  return counts.map((count) => count / all)
}

describe('the distribution of Mann and Whitney', () => {
  it.each([
    [1, 1],
    [3, 2],
    [4, 4],
    [5, 6],
  ])('is what counting all orders of %i and %i values gives', (m, n) => {
    const exact = counted(m, n)
    rankSumDistribution(m, n).forEach((probability, pairs) => {
      expect(probability).toBeCloseTo(exact[pairs] as number, 12)
    })
  })

  it('sums to one, however many values there are', () => {
    expect(sum(rankSumDistribution(40, 60))).toBeCloseTo(1, 10)
  })
})

describe('the comparison of two samples', () => {
  it('turns round with its samples', () => {
    fc.assert(
      fc.property(sample(1), sample(1), (a, b) => {
        const [there, back] = [compareSamples(a, b), compareSamples(b, a)]
        expect(there.p).toBeCloseTo(back.p, 12)
        expect(there.ratio > 0 && there.p > 0 && there.p <= 1).toBe(true)
        const opposite = { more: 'less', less: 'more', noise: 'noise', unknown: 'unknown' } as const
        expect(back.verdict).toBe(opposite[there.verdict])
        if (there.interval && back.interval) {
          expect(back.interval[0]).toBeCloseTo(1 / there.interval[1], 6)
        }
      }),
    )
  })

  it('has its factor inside of its interval, and a verdict that the test shares', () => {
    fc.assert(
      fc.property(sample(4), sample(4), (a, b) => {
        const { ratio, interval, p, verdict } = compareSamples(a, b)
        expect(interval).toBeDefined()
        const [low, high] = interval as readonly [number, number]
        expect(low <= ratio && ratio <= high).toBe(true)
        if (verdict !== 'noise') expect(p).toBeLessThanOrEqual(0.05)
        expect(verdict).toBe(low > 1 ? 'more' : high < 1 ? 'less' : 'noise')
      }),
    )
  })

  it('scales with a sample', () => {
    fc.assert(
      fc.property(sample(4), sample(4), fc.integer({ min: -8, max: 8 }), (a, b, power) => {
        const factor = 2 ** power
        const scaled = compareSamples(
          a.map((value) => value * factor),
          b,
        )
        expect(scaled.ratio).toBeCloseTo(compareSamples(a, b).ratio * factor, 6)
      }),
    )
  })

  it('says that three runs each cannot tell anything, however far they are apart', () => {
    expect(compareSamples([100, 101, 102], [1, 1.1, 1.2]).verdict).toBe('unknown')
    expect(compareSamples([100, 101, 102, 103], [1, 1.1, 1.2, 1.3]).verdict).toBe('more')
  })

  it('calls equal values noise', () => {
    const same = [7, 7, 7, 7, 7]
    expect(compareSamples(same, same)).toMatchObject({ ratio: 1, verdict: 'noise', p: 1 })
  })

  it('holds what its interval promises', () => {
    const random = seededRandom(1)
    const draw = () => Math.exp(0.2 * (random() + random() + random() - 1.5))
    const factor = 1.3
    let covered = 0
    let wrong = 0
    const trials = 2000
    for (let trial = 0; trial < trials; trial++) {
      const a = Array.from({ length: 6 }, draw)
      const b = Array.from({ length: 6 }, draw)
      if (compareSamples(a, b).verdict !== 'noise') wrong++
      const [low, high] = compareSamples(
        a.map((value) => value * factor),
        b,
      ).interval as readonly [number, number]
      if (low <= factor && factor <= high) covered++
    }
    // Of 6 and 6 values the exact level is 95.9 %; a thousandth of all seeds would be outside of this.
    expect(covered / trials).toBeGreaterThan(0.945)
    expect(wrong / trials).toBeLessThan(0.055)
    expect(covered + wrong).toBe(trials)
  })
})

/** Distribution of the median of a bootstrap sample of an odd number of values, exactly (Efron, Annals of Statistics 7, 1979). */
function bootstrapMedian(values: readonly number[]): { value: number; probability: number }[] {
  const sorted = [...values].sort((a, b) => a - b)
  const n = sorted.length
  const choose = (k: number): number => (k === 0 ? 1 : (choose(k - 1) * (n - k + 1)) / k)
  // That at most half of the draws are among the first k values.
  const above = (k: number) =>
    sum(Array.from({ length: (n + 1) / 2 }, (_, j) => choose(j) * (k / n) ** j * (1 - k / n) ** (n - j)))
  return sorted.map((value, index) => ({ value, probability: above(index) - above(index + 1) }))
}

describe('the ratio of medians', () => {
  const values = fc.array(positive, { minLength: 5, maxLength: 5 })

  it('has the interval of the exact bootstrap, but for chance', () => {
    fc.assert(
      fc.property(values, values, (a, b) => {
        const { ratio, interval } = compareMedians(a, b)
        expect(ratio).toBe(medianOf(a) / medianOf(b))
        const [low, high] = interval as readonly [number, number]
        const exact = bootstrapMedian(a).flatMap((above) =>
          bootstrapMedian(b).map((below) => ({
            value: above.value / below.value,
            probability: above.probability * below.probability,
          })),
        )
        const below = (limit: number) =>
          sum(exact.map(({ value, probability }) => (value < limit * (1 - 1e-9) ? probability : 0)))
        const upTo = (limit: number) =>
          sum(exact.map(({ value, probability }) => (value <= limit * (1 + 1e-9) ? probability : 0)))
        // Of 2,000 resamples the share below a limit of 2.5 % has a standard deviation of 0.35 %.
        expect(below(low)).toBeLessThan(0.04)
        expect(upTo(low)).toBeGreaterThan(0.01)
        expect(below(high)).toBeLessThan(0.99)
        expect(upTo(high)).toBeGreaterThan(0.96)
      }),
      { numRuns: 30 },
    )
  })

  it('is the same each time, and has no interval of three values', () => {
    const [a, b] = [
      [1, 2, 3, 4, 9],
      [2, 2.5, 3, 3.5],
    ] as const
    expect(compareMedians(a, b)).toEqual(compareMedians(a, b))
    expect(compareMedians([1, 2, 3], [4, 5, 6])).toEqual({ ratio: 0.4, interval: undefined })
  })
})

describe('the repetitions that would tell a difference', () => {
  it('are the more the nearer the samples are, and the wider they spread', () => {
    const sampleOf = (factor: number, width: number) =>
      [-1, -0.5, 0, 0.5, 1].map((at) => factor * Math.exp(width * at))
    const needed = (factor: number, width: number) =>
      repetitionsToTell(sampleOf(factor, width), sampleOf(1, width)) as number
    expect(needed(1.1, 0.1)).toBeGreaterThan(needed(1.2, 0.1))
    expect(needed(1.1, 0.2)).toBeGreaterThan(needed(1.1, 0.1))
    expect(needed(100, 0.1)).toBe(6)
    expect(repetitionsToTell(sampleOf(1, 0.1), sampleOf(1, 0.1))).toBeUndefined()
    expect(compareSamples(sampleOf(1.05, 0.1), sampleOf(1, 0.1)).needed).toBe(needed(1.05, 0.1))
    expect(compareSamples(sampleOf(2, 0.1), sampleOf(1, 0.1)).needed).toBeUndefined()
  })

  it('find it in four of five tries', () => {
    const random = seededRandom(2)
    // Nearly normal, of standard deviation 1.
    const normal = () => sum(Array.from({ length: 12 }, random)) - 6
    const draw = (count: number, factor: number) =>
      Array.from({ length: count }, () => factor * Math.exp(0.1 * normal()))
    const known = (factor: number) =>
      [-1, 1, -1, 1].map((at) => factor * Math.exp(0.1 * Math.sqrt(0.75) * at))
    const count = repetitionsToTell(known(1.1), known(1)) as number
    const trials = 1000
    let found = 0
    for (let trial = 0; trial < trials; trial++)
      if (compareSamples(draw(count, 1.1), draw(count, 1)).verdict === 'more') found++
    expect(found / trials).toBeGreaterThan(0.76)
    expect(found / trials).toBeLessThan(0.86)
  })
})

describe('the spread of a sample', () => {
  it('has its parts in order, from the least to the most', () => {
    fc.assert(
      fc.property(sample(1), (values) => {
        const { count, least, lowerQuartile, median, upperQuartile, most } = spreadOf(values)
        expect(count).toBe(values.length)
        expect([least, most]).toEqual([Math.min(...values), Math.max(...values)])
        const parts = [least, lowerQuartile, median, upperQuartile, most]
        for (const [index, part] of parts.slice(1).entries())
          expect(part).toBeGreaterThanOrEqual(parts[index] as number)
      }),
    )
  })

  it('names what is far from the others, and keeps it', () => {
    expect(spreadOf([1, 1.1, 1.2, 1.3, 9])).toMatchObject({ count: 5, most: 9, outliers: [9] })
    expect(spreadOf([1, 2, 3, 4, 5]).outliers).toEqual([])
  })

  it('knows medians and quartiles', () => {
    expect(spreadOf([4, 1, 3, 2])).toMatchObject({ lowerQuartile: 1.75, median: 2.5, upperQuartile: 3.25 })
  })
})
