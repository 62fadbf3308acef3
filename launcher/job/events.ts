// What happens in a job, as a stream of typed events: the progress display, `--events FILE`, the timings and `leet bench`
// read it.
import { closeSync, openSync, statSync, writeSync } from 'node:fs'
import { LeetError, messageOf, type ResidentMemory } from '../../common/index.ts'
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
  /** The image that guests boot: its kernel, initial file system and disk together, in bytes. */
  | { readonly event: 'image'; readonly image: string; readonly bytes: number }
  /** The virtual machine of a guest that is ready: what runs its instructions, its vCPUs and its memory in bytes. */
  | {
      readonly event: 'machine'
      readonly guest: string
      readonly accelerator: string
      readonly cpus: number
      readonly memory: number
    }
  /** What a guest's hypervisor takes of its node's memory: when ready, and in the end. */
  | ({ readonly event: 'resident'; readonly guest: string } & ResidentMemory)
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
  | 'bound'
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

/** The time of an event in milliseconds since the epoch, from a clock that never jumps while the process lives. */
export const eventTime = (): number => performance.timeOrigin + performance.now()

/** Appends one JSON object a line to a file, with the event's time in seconds since the epoch. */
export function eventFile(path: string): {
  write: (event: JobEvent, at: number) => void
  close: () => void
} {
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
    write(event, at) {
      try {
        writeSync(fd, `${JSON.stringify({ time: at / 1000, ...event })}\n`)
      } catch {
        // A full disk must not end the job.
      }
    },
    close: () => closeSync(fd),
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

/** Tells what guests boot: the sizes of the image's files. */
export function imageEvent(image: string, files: readonly string[]): JobEvent {
  // One that somebody removes meanwhile its node will miss, and say so.
  const size = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0
  return { event: 'image', image, bytes: files.reduce((sum, file) => sum + size(file), 0) }
}
