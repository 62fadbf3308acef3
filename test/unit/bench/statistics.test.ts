import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareSamples, rankSumDistribution, spreadOf } from '../../../launcher/bench/statistics.ts'

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

/** Numbers that look random and are the same in every run (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
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
    const random = numbers(1)
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

  it('knows medians and quartiles', () => {
    expect(spreadOf([4, 1, 3, 2])).toMatchObject({ lowerQuartile: 1.75, median: 2.5, upperQuartile: 3.25 })
  })
})
