// Axes: where a value lies between the ends of a plot, and at which values it is labelled. Pure.

/** An axis. */
export interface Scale {
  /** Per cent of the way from the first end to the last; outside of 0 to 100 for values outside. */
  at(value: number): number
  readonly ticks: readonly number[]
}

/** An axis from 0 to at least `most` with some four ticks: 1, 2 or 5 times a power of ten, or a power of two. */
export function linearScale(most: number, steps: 'decimal' | 'binary' = 'decimal'): Scale {
  const step = steps === 'binary' ? binaryStep(most / 4) : decimalStep(most / 4)
  const end = Math.max(step, Math.ceil(most / step - 1e-9) * step)
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, index) => index * step)
  return { at: (value) => (100 * value) / end, ticks }
}

function decimalStep(least: number): number {
  if (!(least > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(least))
  return ([1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9)) as number) * power
}

function binaryStep(least: number): number {
  return least > 0 ? 2 ** Math.ceil(Math.log2(least)) : 1
}

/** A logarithmic axis over whole powers of `base` that holds all values, with at most `labels` ticks. All are positive. */
export function logScale(values: readonly number[], base: 2 | 10, labels: number): Scale {
  const log = (value: number) => Math.log(value) / Math.log(base)
  const first = Math.floor(log(Math.min(...values)) + 1e-9)
  const last = Math.max(first + 1, Math.ceil(log(Math.max(...values)) - 1e-9))
  const step = Math.max(1, Math.ceil((last - first) / Math.max(1, labels - 1)))
  const ticks: number[] = []
  for (let power = first; power <= last; power += step) ticks.push(base ** power)
  return { at: (value) => (100 * (log(value) - first)) / (last - first), ticks }
}

const FACTORS = [1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1e3, 1e4, 1e5, 1e6]

/** A logarithmic axis of factors that holds all of them, with 1 in its middle. All are positive. */
export function factorScale(factors: readonly number[]): Scale {
  const most = Math.max(...factors.map((factor) => Math.max(factor, 1 / factor)))
  const end = FACTORS.find((factor) => factor >= most * (1 - 1e-9)) ?? most
  // Far enough from the end for the labels of both.
  const between = FACTORS.findLast((factor) => factor ** 1.6 <= end)
  const above = between === undefined ? [end] : [between, end]
  const ticks = [...above.map((factor) => 1 / factor).reverse(), 1, ...above]
  return { at: (value) => 50 + (50 * Math.log(value)) / Math.log(end), ticks }
}
