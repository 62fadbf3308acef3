// What the user sees while guests boot and ranks are handed over: on a terminal lines that are kept up to date in their place
// and wiped before anything else is written, elsewhere plain lines. The programs' own output is never touched.
import type { Log } from '../../common/index.ts'
import type { EventListener, JobEvent } from '../job/events.ts'
import { LiveLines, type ProgressStream, sizeOf } from './live-lines.ts'
import { progressLines, type ShownGuest } from './progress-lines.ts'

/** How soon news is shown: what comes in between is shown at once. In milliseconds. */
const NEWS_MS = 100
/** How often the seconds are told anew. */
const TICK_MS = 1000

/** A guest of the plan. */
export interface ExpectedGuest {
  readonly name: string
  readonly ranks: readonly number[]
}

interface FollowedGuest {
  state: ShownGuest['state']
  detail: string | undefined
  told: number
  /** It hung, and may do so again. */
  hung: boolean
  readonly ranks: number
  started: number
}

/** Follows a job's events until its ranks run. */
export class Progress {
  readonly #stream: ProgressStream
  readonly #verbose: boolean
  /** On a terminal. */
  readonly #live: LiveLines | undefined
  readonly #guests = new Map<string, FollowedGuest>()
  readonly #since = performance.now()
  #composing = false
  #stage: 'boot' | 'up' | 'launch' | 'over' = 'boot'
  #timer: NodeJS.Timeout | undefined
  /** It is set for news, not for the seconds. */
  #newsAwaited = false

  constructor(stream: ProgressStream, verbose: boolean, terminal = process.env.TERM) {
    this.#stream = stream
    this.#verbose = verbose
    this.#live = stream.isTTY && terminal !== 'dumb' ? new LiveLines(stream) : undefined
  }

  /** Tells which guests are to be booted; of ranks without guests nothing is shown. */
  expect(guests: readonly ExpectedGuest[]): void {
    for (const { name, ranks } of guests) {
      const told = performance.now()
      this.#guests.set(name, {
        state: 'waiting',
        detail: undefined,
        told,
        hung: false,
        ranks: ranks.length,
        started: 0,
      })
    }
    this.#drawIn(NEWS_MS)
  }

  readonly listener: EventListener = (event) => {
    if (this.#guests.size === 0 || this.#stage === 'over') return
    switch (event.event) {
      case 'guest':
        this.#onGuest(event)
        break
      case 'guest-lost':
        this.#follow(event.guest, 'lost')
        break
      case 'rank': {
        const guest = this.#guests.get(event.guest)
        if (guest && event.state === 'started') guest.started += 1
        break
      }
      case 'phase':
        this.#onPhase(event)
        break
      case 'end':
        this.end()
        break
      default:
        return
    }
    this.#drawIn(NEWS_MS)
  }

  #onGuest({ guest, state, detail }: Extract<JobEvent, { event: 'guest' }>): void {
    this.#follow(guest, state, detail)
    if (state === 'hung') {
      this.clear()
      this.#line(`guest ${guest} ${detail}`)
    } else if (!this.#live && this.#verbose) {
      this.#line(`${guest}: ${state}${detail ? ` (${detail})` : ''}`)
    }
  }

  #follow(name: string, state: ShownGuest['state'], detail?: string): void {
    const guest = this.#guests.get(name)
    if (!guest) return
    Object.assign(guest, { state, detail, told: performance.now() })
    if (state === 'hung') guest.hung = true
    if (state === 'ready') guest.hung = false
  }

  #onPhase({ phase, state }: Extract<JobEvent, { event: 'phase' }>): void {
    const begins = state === 'begin'
    if (phase === 'image') this.#composing = begins
    if (phase === 'boot' && !begins) {
      this.clear()
      this.#stage = 'up'
      const count = `${this.#guests.size} guest${this.#guests.size === 1 ? '' : 's'}`
      const seconds = (this.#milliseconds() / 1000).toFixed(1)
      if (this.#verbose || this.#live) this.#line(`${count} ready after ${seconds} s`)
    }
    if (phase === 'launch' && begins) this.#stage = 'launch'
    // From here on the screen belongs to the program, or to what is said of the end.
    if ((phase === 'launch' && !begins) || phase === 'run' || phase === 'stop') this.end()
  }

  /** Wipes the lines, so that something else can be written; they come again. */
  clear(): void {
    this.#live?.wipe()
    this.#drawIn(NEWS_MS)
  }

  /** Wipes the lines for good. */
  readonly end = (): void => {
    this.#stage = 'over'
    this.#live?.wipe()
    clearTimeout(this.#timer)
  }

  #drawIn(ms: number): void {
    if (!this.#live || this.#guests.size === 0 || this.#stage === 'over' || this.#newsAwaited) return
    this.#newsAwaited = ms === NEWS_MS
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#draw(), ms).unref()
  }

  #draw(): void {
    this.#newsAwaited = false
    if (this.#stage === 'up') return
    const now = performance.now()
    const guests = [...this.#guests].map(([name, guest]): ShownGuest => {
      const again = guest.hung && guest.state !== 'lost'
      const detail = again && guest.state !== 'hung' ? `${guest.state} again` : guest.detail
      return {
        ...{ name, detail, ranks: guest.ranks, started: guest.started },
        state: again ? 'hung' : guest.state,
        still: Math.floor((now - guest.told) / 1000),
      }
    })
    const job = {
      guests,
      composing: this.#composing,
      launching: this.#stage === 'launch',
      seconds: Math.floor(this.#milliseconds() / 1000),
    }
    this.#live?.show(progressLines(job, sizeOf(this.#stream).rows))
    this.#drawIn(TICK_MS)
  }

  #line(text: string): void {
    this.#stream.write(`leet: ${text}\n`)
  }

  #milliseconds(): number {
    return performance.now() - this.#since
  }
}

/** The log of a command that shows progress: its lines are wiped before anything else is written. */
export function clearing(log: Log, progress: Progress): Log {
  const after =
    (say: (line: string) => void) =>
    (line: string): void => {
      progress.clear()
      say(line)
    }
  return { note: after(log.note), warn: after(log.warn), detail: after(log.detail) }
}
