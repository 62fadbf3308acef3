// Where the time of a job went, from its events: what `--timings` prints and what `leet bench` measures are the same. Pure.
import type { JobEvent, Phase } from './events.ts'

/** Adds up what the events of one job tell; all times are milliseconds. */
export class Timings {
  readonly #begun = new Map<Phase, number>()
  readonly #took = new Map<Phase, number>()
  #firstConnected: number | undefined
  #lastInitialised: number | undefined
  #hung = 0

  /** Takes the next event, which happened at `at`. */
  add(event: JobEvent, at: number): void {
    if (event.event === 'phase') {
      if (event.state === 'begin') this.#begun.set(event.phase, at)
      else this.#took.set(event.phase, at - (this.#begun.get(event.phase) ?? at))
    } else if (event.event === 'guest') {
      if (event.state === 'hung') this.#hung += 1
    } else if (event.event === 'rank') {
      const launched = this.#begun.get('launch') ?? at
      if (event.state === 'connected') this.#firstConnected ??= at - launched
      if (event.state === 'initialised') this.#lastInitialised = at - launched
    }
  }

  /** How long a phase took; undefined when it has not ended. */
  took(phase: Phase): number | undefined {
    return this.#took.get(phase)
  }

  /** When a phase began. */
  begun(phase: Phase): number | undefined {
    return this.#begun.get(phase)
  }

  /** From the begin of the launch until the first rank was in MPI_Init. */
  get firstConnected(): number | undefined {
    return this.#firstConnected
  }

  /** From the begin of the launch until the last rank was through MPI_Init. */
  get lastInitialised(): number | undefined {
    return this.#lastInitialised
  }

  /** How many guests hung while they booted and were booted again. */
  get hung(): number {
    return this.#hung
  }

  /** Lines such as `boot 3.21 s`. */
  lines(): string[] {
    const names: Record<Phase, string> = {
      image: 'image, composed or found',
      boot: 'boot of the guests, to ready',
      launch: 'ranks handed over',
      run: 'run, to the end of the last rank',
      stop: 'guests stopped, all removed',
    }
    const parts: [string, number | undefined][] = [
      ...[...this.#took].map(([phase, ms]): [string, number] => [names[phase], ms]),
      ['launch to first rank connected', this.#firstConnected],
      ['launch to last rank in MPI_Init', this.#lastInitialised],
    ]
    const line = (name: string, figure: string) => `${name.padEnd(34)} ${figure.padStart(8)}`
    return [
      ...parts.flatMap(([name, ms]) => (ms === undefined ? [] : [line(name, `${(ms / 1000).toFixed(2)} s`)])),
      ...(this.#hung > 0 ? [line('guests that hung, booted again', `${this.#hung}`)] : []),
    ]
  }
}
