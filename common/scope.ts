// The life of a job, a node, a guest or a channel: what was made in it is released when it ends, however it ends. Node.js
// 22 has no AsyncDisposableStack, and releases here have deadlines.
import { abortReason, Deadline, type WaitLimits, waitFor } from './deadline.ts'
import { messageOf } from './errors.ts'
import { setTimer, type Timer, type TimerOptions } from './timer.ts'

/** How a scope is opened. */
export interface ScopeOptions {
  /** What it is the life of: `the job`. */
  readonly name: string
  /** Hears of releases that failed or took too long, in a sentence: how the scope ends does not depend on them. */
  readonly warn: (message: string) => void
  /** When this fires, the scope's signal does. */
  readonly signal?: AbortSignal
}

/**
 * Undoes what was made. Must heed the deadline, and may use force after it: soon after it the release is left alone.
 */
export type Release = (limits: WaitLimits) => Promise<void> | void

/** How long a release may take unless told, in milliseconds. */
const RELEASE_MS = 10_000
/** How long after its deadline a release is waited for: what was asked in vain to end is then being killed. */
const FORCE_MS = 2_000

/** What lives together and ends together. */
export class Scope {
  readonly name: string
  /** Fires when the scope fails or ends: nothing is to be begun in it any more. */
  readonly signal: AbortSignal
  readonly #abort = new AbortController()
  readonly #warn: ScopeOptions['warn']
  readonly #kept: Kept[] = []
  /** Releases of what was made after the end had begun. */
  readonly #late: Promise<void>[] = []
  #deadline = Deadline.never
  #ending: Promise<void> | undefined

  private constructor({ name, warn, signal }: ScopeOptions) {
    this.name = name
    this.#warn = warn
    this.signal = signal ? AbortSignal.any([signal, this.#abort.signal]) : this.#abort.signal
  }

  /**
   * Runs `body` in a new scope and ends that. How the body ended is how this ends; what goes wrong with releases is a
   * warning.
   */
  static async run<T>(options: ScopeOptions, body: (scope: Scope) => Promise<T>): Promise<T> {
    const scope = new Scope(options)
    try {
      return await body(scope)
    } catch (error) {
      scope.fail(error)
      throw error
    } finally {
      await scope.end()
    }
  }

  /** Opens the scope of something that is not one call of a function. Whoever opens it sees to its end. */
  static open(options: ScopeOptions): Scope {
    return new Scope(options)
  }

  /** Opens a scope that fails and ends with this one, or before by itself. */
  child(name: string): Scope {
    const child = new Scope({ name, warn: this.#warn, signal: this.signal })
    this.onEnd(name, ({ deadline }) => child.end(deadline), Number.POSITIVE_INFINITY)
    return child
  }

  /**
   * Runs `body` for each item in a child of its own, side by side, and gives their results. The first that fails is the
   * error, and the others fail with it. They all end with this scope, side by side too, those still at work among them.
   */
  async each<T, R>(
    items: readonly T[],
    nameOf: (item: T) => string,
    body: (item: T, scope: Scope, index: number) => Promise<R>,
  ): Promise<R[]> {
    const { signal } = this
    const children = items.map((item) => new Scope({ name: nameOf(item), warn: this.#warn, signal }))
    const bodies = items.map(async (item, index) => {
      try {
        return await body(item, children[index] as Scope, index)
      } catch (error) {
        for (const child of children) child.fail(error)
        throw error
      }
    })
    const endAll = (deadline: Deadline) => Promise.all(children.map((child) => child.end(deadline)))
    this.onEnd(
      items.map(nameOf).join(', '),
      async ({ deadline }) => {
        await endAll(deadline)
        // Whoever is still at work may make something yet: it is released at once.
        await waitFor(Promise.allSettled(bodies), { deadline: deadline.within(RELEASE_MS) }, AT_WORK)
        await endAll(deadline)
      },
      Number.POSITIVE_INFINITY,
    )
    return Promise.all(bodies)
  }

  /**
   * Has `release` called when the scope ends, after all that is told later. `what` completes "could not end …". In a scope that
   * has ended it is called at once.
   */
  onEnd(what: string, release: Release, ms = RELEASE_MS): void {
    const kept = { what, ms, release }
    if (this.#ending) this.#late.push(this.#release(kept))
    else this.#kept.push(kept)
  }

  /** Calls `run` in `ms` milliseconds, unless the scope has ended by then or the timer was cancelled. */
  timer(ms: number, run: () => void, options?: TimerOptions): Timer {
    const timer = setTimer(ms, run, options)
    this.onEnd('a timer', () => timer.cancel())
    return timer
  }

  /** The limits of a wait in this scope: its signal is one more reason to give up. */
  within({ deadline, signal }: WaitLimits): WaitLimits & { readonly signal: AbortSignal } {
    return { deadline, signal: signal ? AbortSignal.any([signal, this.signal]) : this.signal }
  }

  /** The scope has failed: all that is at work in it is told by the signal. The first reason counts. */
  fail(error: unknown): void {
    this.#abort.abort(error)
  }

  /** Throws the reason when the scope has failed or ended. */
  check(): void {
    if (this.signal.aborted) throw abortReason(this.signal)
  }

  /**
   * Ends the scope: never rejects, and resolves when all is released, which each release may take until its own deadline
   * or this one. May be called again.
   */
  async end(deadline: Deadline = Deadline.never): Promise<void> {
    if (!this.#ending) {
      this.#deadline = deadline
      this.#ending = this.#releaseAll()
    }
    await this.#ending
    await Promise.all(this.#late)
  }

  async #releaseAll(): Promise<void> {
    this.#abort.abort()
    for (let next = this.#kept.pop(); next; next = this.#kept.pop()) await this.#release(next)
  }

  async #release({ what, ms, release }: Kept): Promise<void> {
    const deadline = this.#deadline.within(ms)
    try {
      const released = Promise.resolve(release({ deadline }))
      const limits = { deadline: new Deadline(deadline.at + FORCE_MS) }
      await waitFor(released, limits, { what: `the end of ${what}` })
    } catch (error) {
      this.#warn(`${this.name} could not end ${what}: ${messageOf(error)}`)
    }
  }
}

interface Kept {
  readonly what: string
  readonly ms: number
  readonly release: Release
}

const AT_WORK = { what: 'what is still at work' }
