// What the user sees while guests boot: on a terminal one line that is rewritten and then wiped, elsewhere plain lines.
// The programs' own output is never touched.
import type { Log } from '../../common/index.ts'
import type { EventListener } from '../job/events.ts'

/** Something to write progress to, such as `process.stderr`. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** How often the seconds are told anew. */
const TICK_MS = 1000

/** Follows a job's events until its ranks start. */
export class Progress {
  readonly #stream: ProgressStream
  readonly #verbose: boolean
  readonly #guests = new Map<string, string>()
  readonly #since = performance.now()
  #expected = 0
  #shown = false
  #quiet = false
  #composing = false
  #ticker: NodeJS.Timeout | undefined

  constructor(stream: ProgressStream, verbose: boolean) {
    this.#stream = stream
    this.#verbose = verbose
  }

  readonly listener: EventListener = (event) => {
    switch (event.event) {
      case 'plan':
        this.#expected = event.kind === 'host' ? 0 : event.guests
        return
      case 'guest':
        this.#guests.set(event.guest, event.state)
        if (event.state === 'hung') {
          this.clear()
          this.#line(`guest ${event.guest} ${event.detail}`)
        }
        if (this.#stream.isTTY) this.#draw()
        else if (this.#verbose && event.state !== 'hung')
          this.#line(`${event.guest}: ${event.state}${event.detail ? ` (${event.detail})` : ''}`)
        return
      case 'phase':
        if (event.phase === 'image' && this.#expected > 0) this.#compose(event.state === 'begin')
        if (event.phase === 'boot' && event.state === 'end' && this.#expected > 0) {
          this.clear()
          const count = `${this.#expected} guest${this.#expected === 1 ? '' : 's'}`
          if (this.#verbose || this.#stream.isTTY) this.#line(`${count} ready after ${this.#seconds()}`)
        }
        if (event.phase === 'boot' && event.state === 'end') clearInterval(this.#ticker)
        // From here on the screen belongs to the program.
        if (event.phase === 'launch') this.#end()
        return
      case 'end':
        this.#end()
        return
      default:
    }
  }

  // An image that is found takes no time: only one that is composed is worth a word.
  #compose(begins: boolean): void {
    this.#composing = begins
    if (!begins) this.clear()
    if (begins && this.#stream.isTTY) this.#ticker ??= setInterval(() => this.#draw(), TICK_MS).unref()
  }

  #end(): void {
    clearInterval(this.#ticker)
    this.#quiet = true
  }

  /** Wipes the line, so that something else can be written. */
  clear(): void {
    if (this.#shown) this.#stream.write('\r\u001b[K')
    this.#shown = false
  }

  #draw(): void {
    if (this.#quiet) return
    const counts = new Map<string, number>()
    for (const state of this.#guests.values()) counts.set(state, (counts.get(state) ?? 0) + 1)
    const states = [...counts].map(([state, count]) => `${count} ${state}`).join(', ')
    const what = this.#composing ? 'composing the image' : `${this.#guests.size} of ${this.#expected} guests`
    const text = `leet: ${[what, states].filter(Boolean).join(': ')} (${this.#seconds()})`
    // A terminal that does not know its width says 0.
    this.#stream.write(`\r\u001b[K${text.slice(0, (this.#stream.columns || 80) - 1)}`)
    this.#shown = true
  }

  #line(text: string): void {
    this.#stream.write(`leet: ${text}\n`)
  }

  #seconds(): string {
    return `${((performance.now() - this.#since) / 1000).toFixed(1)} s`
  }
}

/** The log of a command that shows progress: the line is wiped before anything else is written. */
export function clearing(log: Log, progress: Progress): Log {
  const after =
    (say: (line: string) => void) =>
    (line: string): void => {
      progress.clear()
      say(line)
    }
  return { note: after(log.note), warn: after(log.warn), detail: after(log.detail) }
}
