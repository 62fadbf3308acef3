// What a solver of OpenFOAM says of its time. Each iteration ends with a line `ExecutionTime = 1.23 s  ClockTime = 1 s`
// (Time::printExecutionTime): processor time of the first rank, and seconds by the clock, mostly whole ones. Pure.

/** The iterations that a log tells of. */
export interface Iterations {
  readonly count: number
  /** Seconds for each by the clock; undefined when it counted too coarsely for so short a run. */
  readonly seconds?: number
  /** Seconds of the first rank's processor for each. */
  readonly processorSeconds?: number
}

const LINE = /^(?:\[\S*: *)?ExecutionTime = (\d+(?:\.\d+)?) s +ClockTime = (\d+(?:\.\d+)?) s/gm
/** How many ticks of its clock a run must last: then at most a twentieth of it is the clock's. */
const TICKS = 20

/** The iterations of a log, timed from the end of the first to the end of the last; undefined when there are none to time. */
export function iterationsOf(log: string): Iterations | undefined {
  const lines = [...log.matchAll(LINE)]
  const count = lines.length
  if (count < 2) return undefined
  const between = (column: 1 | 2) => Number(lines.at(-1)?.[column]) - Number(lines[0]?.[column])
  const [processor, clock] = [between(1), between(2)]
  const tick = lines.some(([, , text]) => text?.includes('.')) ? 0.01 : 1
  return {
    count,
    ...(clock >= TICKS * tick ? { seconds: clock / (count - 1) } : {}),
    ...(processor > 0 ? { processorSeconds: processor / (count - 1) } : {}),
  }
}
