// One timer for all waits: those of Node.js fire at once when they are given more than 24.8 days.

/** The longest time that a timer of Node.js takes, in milliseconds (timers.setTimeout). */
const LONGEST_MS = 2 ** 31 - 1

/** A timer that was set. */
export interface Timer {
  /** It does not fire any more. May be called when it has. */
  cancel(): void
}

/** How a timer is set. */
export interface TimerOptions {
  /** It does not keep the process alive. */
  readonly unref?: boolean
}

/** Calls `run` once, in `ms` milliseconds however many; never for Infinity. */
export function setTimer(ms: number, run: () => void, { unref = false }: TimerOptions = {}): Timer {
  let timer: NodeJS.Timeout | undefined
  const at = performance.now() + ms
  const wait = () => {
    const left = at - performance.now()
    timer = setTimeout(left > LONGEST_MS ? wait : run, Math.min(Math.max(left, 0), LONGEST_MS))
    if (unref) timer.unref()
  }
  if (ms !== Number.POSITIVE_INFINITY) wait()
  return { cancel: () => clearTimeout(timer) }
}
