// What happens in a job, as a stream of typed events: the progress display, `--events FILE` and the timings read it.
import { closeSync, openSync, writeSync } from 'node:fs'
import { LeetError, messageOf } from '../../common/index.ts'
import type { GuestState } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'

/** One event of a job. */
export type JobEvent =
  | {
      readonly event: 'plan'
      readonly job: string
      readonly ranks: number
      readonly guests: number
      readonly kind: string
    }
  | { readonly event: 'phase'; readonly phase: Phase; readonly state: 'begin' | 'end' }
  | { readonly event: 'guest'; readonly guest: string; readonly state: GuestState; readonly detail?: string }
  | { readonly event: 'guest-lost'; readonly guest: string; readonly message: string }
  | {
      readonly event: 'rank'
      readonly job: number
      readonly rank: number
      readonly guest: string
      readonly state: RankState
      readonly detail?: string
    }
  | { readonly event: 'spawn'; readonly job: number; readonly ranks: number }
  | { readonly event: 'end'; readonly status: number; readonly reason?: string }

/** Parts of a job's life, in order. */
export type Phase = 'image' | 'boot' | 'launch' | 'run' | 'stop'

/** What is known of a rank. */
export type RankState =
  | 'started'
  | 'connected'
  | 'initialised'
  | 'finalised'
  | 'aborted'
  | 'lost'
  | 'ended'
  | 'failed'

/** Hears events in order. Must not throw. */
export type EventListener = (event: JobEvent) => void

/** A listener that appends one JSON object a line to a file; times are seconds since the epoch. */
export function eventFile(path: string): { listener: EventListener; close: () => void } {
  let fd: number
  try {
    fd = openSync(path, 'a', 0o600)
  } catch (error) {
    throw new LeetError({
      code: 'LEET_E_EVENTS_FILE',
      what: 'the events file cannot be written',
      where: path,
      why: messageOf(error),
      exitCode: 2,
      cause: error,
    })
  }
  return {
    listener: (event) => {
      try {
        writeSync(fd, `${JSON.stringify({ time: Date.now() / 1000, ...event })}\n`)
      } catch {
        // A full disk must not end the job.
      }
    },
    close: () => closeSync(fd),
  }
}

/** Adds up how long each phase took, in milliseconds, and when the first and last rank connected after launch. */
export class Timings {
  readonly #begun = new Map<Phase, number>()
  readonly #took = new Map<Phase, number>()
  #launched = 0
  #firstConnected: number | undefined
  #lastInitialised: number | undefined

  readonly listener: EventListener = (event) => {
    if (event.event === 'phase') {
      if (event.state === 'begin') this.#begun.set(event.phase, performance.now())
      else
        this.#took.set(event.phase, performance.now() - (this.#begun.get(event.phase) ?? performance.now()))
      if (event.phase === 'launch' && event.state === 'begin') this.#launched = performance.now()
    } else if (event.event === 'rank') {
      if (event.state === 'connected') this.#firstConnected ??= performance.now() - this.#launched
      if (event.state === 'initialised') this.#lastInitialised = performance.now() - this.#launched
    }
  }

  /** Lines such as `boot 3.21 s`. */
  lines(): string[] {
    const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
    const names: Record<Phase, string> = {
      image: 'image, composed or found',
      boot: 'boot of the guests, to ready',
      launch: 'ranks handed over',
      run: 'run, to the end of the last rank',
      stop: 'guests stopped, all removed',
    }
    const lines = [...this.#took].map(
      ([phase, ms]) => `${names[phase].padEnd(34)} ${seconds(ms).padStart(8)}`,
    )
    if (this.#firstConnected !== undefined)
      lines.push(
        `${'launch to first rank connected'.padEnd(34)} ${seconds(this.#firstConnected).padStart(8)}`,
      )
    if (this.#lastInitialised !== undefined)
      lines.push(
        `${'launch to last rank in MPI_Init'.padEnd(34)} ${seconds(this.#lastInitialised).padStart(8)}`,
      )
    return lines
  }
}

/** The first event of a job. */
export function planEvent(plan: JobPlan): JobEvent {
  return {
    event: 'plan',
    job: plan.jobId,
    ranks: plan.size,
    guests: plan.guests.length,
    kind: plan.guestKind,
  }
}
