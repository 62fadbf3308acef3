// Ratios that can be trusted on a noisy machine: two commands in turn, A B A B …, compared pair by pair.
import { spawnSync } from 'node:child_process'

/** A command to time; its output is thrown away. */
export interface Timed {
  readonly argv: readonly [string, ...string[]]
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

/** Ratios A/B of wall time, and both medians in milliseconds. */
export interface Ratio {
  readonly median: number
  readonly least: number
  readonly most: number
  readonly a: number
  readonly b: number
  readonly pairs: number
}

/** Wall time of a command in milliseconds; throws when it fails, since a failed run has no time. */
export function wallTime({ argv: [command, ...args], env, cwd }: Timed): number {
  const begin = performance.now()
  const { status, stderr, error } = spawnSync(command, args, {
    env,
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const took = performance.now() - begin
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: status ${status}: ${stderr}`)
  return took
}

/** Runs both in turn, `pairs` times after one warm-up. */
export function comparePairs(a: Timed, b: Timed, pairs: number): Ratio {
  wallTime(a)
  wallTime(b)
  const times = Array.from({ length: pairs }, () => [wallTime(a), wallTime(b)] as const)
  return ratioOf(times)
}

/** The ratio of measured pairs. */
export function ratioOf(times: readonly (readonly [number, number])[]): Ratio {
  const ratios = times.map(([timeA, timeB]) => timeA / timeB).sort((x, y) => x - y)
  return {
    median: median(ratios),
    least: ratios[0] as number,
    most: ratios.at(-1) as number,
    a: median(times.map(([timeA]) => timeA)),
    b: median(times.map(([, timeB]) => timeB)),
    pairs: times.length,
  }
}

/** One line: `NAME 1.04 (0.98 to 1.12, 7 pairs; 431 ms / 415 ms), target at most 1.10`. */
export function ratioLine(name: string, ratio: Ratio, target: number): string {
  const f = (value: number) => value.toFixed(2)
  return (
    `${name.padEnd(58)} ${f(ratio.median)} (${f(ratio.least)} to ${f(ratio.most)}, ${ratio.pairs} pairs; ` +
    `${ratio.a.toFixed(0)} ms / ${ratio.b.toFixed(0)} ms), target at most ${f(target)}`
  )
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
