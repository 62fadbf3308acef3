// The life of a job, a node, a guest or a channel: what was made in it is released when it ends, however it ends. Node.js
// 22 has no AsyncDisposableStack, and releases here have deadlines.
import { abortReason, Deadline, type WaitLimits, waitFor } from './deadline.ts'
import { messageOf } from './errors.ts'

/** How a scope is opened. */
export interface ScopeOptions {
  /** What it is the life of: `the job`. */
  readonly name: string
  /** Hears of releases that failed or took too long, in a sentence: how the scope ends does not depend on them. */
  readonly warn: (message: string) => void
  /** When this fires, the scope's signal does. */
  readonly signal?: AbortSignal
}

/** Undoes what was made. Must heed the deadline; it is left alone after it anyway. */
export type Release = (limits: WaitLimits) => Promise<void> | void

/** How long a release may take unless told, in milliseconds. */
const RELEASE_MS = 10_000

/** What lives together and ends together. */
export class Scope {
  /** Fires when the scope fails or ends: nothing is to be begun in it any more. */
  readonly signal: AbortSignal
  readonly #abort = new AbortController()
  readonly #options: ScopeOptions
  readonly #releases: { readonly what: string; readonly ms: number; readonly release: Release }[] = []
  #closing: Promise<void> | undefined

  private constructor(options: ScopeOptions) {
    this.#options = options
    this.signal = options.signal ? AbortSignal.any([options.signal, this.#abort.signal]) : this.#abort.signal
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
      await scope.#close()
    }
  }

  /**
   * Has `release` called when the scope ends, after all that is told later. `what` completes "could not end …". In a scope that
   * has ended it is called at once.
   */
  onEnd(what: string, release: Release, ms = RELEASE_MS): void {
    if (this.#closing) void this.#release({ what, ms, release })
    else this.#releases.push({ what, ms, release })
  }

  /** The scope has failed: all that is at work in it is told by the signal. The first reason counts. */
  fail(error: unknown): void {
    this.#abort.abort(error)
  }

  /** Throws the reason when the scope has failed or ended. */
  check(): void {
    if (this.signal.aborted) throw abortReason(this.signal)
  }

  #close(): Promise<void> {
    this.#closing ??= this.#releaseAll()
    return this.#closing
  }

  async #releaseAll(): Promise<void> {
    this.#abort.abort()
    for (let next = this.#releases.pop(); next; next = this.#releases.pop()) await this.#release(next)
  }

  async #release({ what, ms, release }: { what: string; ms: number; release: Release }): Promise<void> {
    const limits = { deadline: Deadline.after(ms) }
    try {
      await waitFor(Promise.resolve(release(limits)), limits, { what: `the end of ${what}` })
    } catch (error) {
      this.#options.warn(`${this.#options.name} could not end ${what}: ${messageOf(error)}`)
    }
  }
}
