// Waiting: every wait has a deadline and an AbortSignal, and says what it waited for when either ends it.
import { LeetError } from './errors.ts'
import { setTimer } from './timer.ts'

/** A point in time after which a wait is given up; one may be shared by several waits in a row. */
export class Deadline {
  /** Milliseconds of `performance.now()`; Infinity never expires. */
  readonly at: number

  constructor(at: number) {
    this.at = at
  }

  /** A deadline `ms` milliseconds from now. */
  static after(ms: number): Deadline {
    return new Deadline(performance.now() + ms)
  }

  static readonly never: Deadline = new Deadline(Number.POSITIVE_INFINITY)

  /** Milliseconds left, never negative. */
  remaining(): number {
    return Math.max(0, this.at - performance.now())
  }

  get expired(): boolean {
    return this.remaining() === 0
  }

  /** The earlier of this deadline and one `ms` milliseconds from now. */
  within(ms: number): Deadline {
    return new Deadline(Math.min(this.at, performance.now() + ms))
  }
}

/** What every wait takes. */
export interface WaitLimits {
  readonly deadline: Deadline
  readonly signal?: AbortSignal
}

/** What a wait says of itself when it expires. */
export interface WaitSubject {
  /** Completes "waited for …". */
  readonly what: string
  readonly where?: string
  /** Where to look or what to try. */
  readonly hint?: string
}

/**
 * Waits for `promise`, at most until the deadline or abort.
 * Rejects with `LEET_E_DEADLINE`, or with the signal's reason. The promise itself is not cancelled.
 */
export function waitFor<T>(promise: Promise<T>, limits: WaitLimits, subject: WaitSubject): Promise<T> {
  const { deadline, signal } = limits
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) {
      // Nobody waits for it any more, and how it ends must not end the process.
      promise.catch(() => {})
      reject(abortReason(signal))
      return
    }
    const started = performance.now()
    const finish = () => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    const onAbort = () => {
      finish()
      reject(abortReason(signal as AbortSignal))
    }
    const onTimer = () => {
      finish()
      reject(deadlineError(subject, performance.now() - started))
    }
    const timer = setTimer(deadline.remaining(), onTimer)
    signal?.addEventListener('abort', onAbort, { once: true })
    promise.then(
      (value) => {
        finish()
        resolve(value)
      },
      (error) => {
        finish()
        reject(error)
      },
    )
  })
}

/**
 * Asks `probe` again and again until it gives something other than undefined.
 * `intervalMs` is the pause between two tries. Errors of the probe end the wait.
 */
export async function poll<T>(
  probe: () => Promise<T | undefined> | T | undefined,
  intervalMs: number,
  limits: WaitLimits,
  subject: WaitSubject,
): Promise<T> {
  const started = performance.now()
  for (;;) {
    const value = await waitFor(Promise.resolve(probe()), limits, subject)
    if (value !== undefined) return value
    if (limits.deadline.expired) throw deadlineError(subject, performance.now() - started)
    await pause(Math.min(intervalMs, limits.deadline.remaining()), limits.signal)
  }
}

/** A pause that an AbortSignal ends early, by rejecting with its reason. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await atMost(ms, new Promise<void>(() => {}), undefined, signal)
}

/**
 * What a promise gives when that comes within `ms` milliseconds, else `otherwise`. Nothing is left behind that would keep
 * the process from ending.
 */
export async function atMost<T, U>(
  ms: number,
  promise: Promise<T>,
  otherwise: U,
  signal?: AbortSignal,
): Promise<T | U> {
  const late = Promise.withResolvers<U>()
  const timer = setTimer(ms, () => late.resolve(otherwise))
  const limits = { deadline: Deadline.never, signal }
  try {
    return await waitFor(Promise.race([promise, late.promise]), limits, { what: 'a pause' })
  } finally {
    timer.cancel()
  }
}

/** The reason of an aborted signal as an error. */
export function abortReason(signal: AbortSignal): Error {
  if (signal.reason instanceof LeetError) return signal.reason
  return new LeetError({ code: 'LEET_E_CANCELLED', what: 'cancelled', cause: signal.reason })
}

function deadlineError(subject: WaitSubject, waitedMs: number): LeetError {
  return new LeetError({
    code: 'LEET_E_DEADLINE',
    what: `waited ${(waitedMs / 1000).toFixed(1)} s for ${subject.what}`,
    where: subject.where,
    hint: subject.hint,
  })
}
