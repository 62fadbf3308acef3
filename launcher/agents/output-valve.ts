// Output of ranks on its way to the controller, as much at a time as the controller has given credit for: a chatty rank
// fills its own pipe, not the memory of agent or controller, and signs of life never queue behind more than one window.

/** Something for the controller: `size` is counted against the credit, `send` sends it. */
interface Item {
  readonly size: number
  readonly send: () => void
}

/** Lets output pass while there is credit, and has its source held back while there is none. */
export class OutputValve {
  readonly #hold: (hold: boolean) => void
  readonly #waiting: Item[] = []
  #credit: number
  #held = false

  /** `window` is the first credit in bytes; `hold` stops the source of output and lets it go on. */
  constructor(window: number, hold: (hold: boolean) => void) {
    this.#credit = window
    this.#hold = hold
  }

  /** Sends output now or when there is credit; what was already read when the source is held waits here. */
  output(size: number, send: () => void): void {
    this.#waiting.push({ size, send })
    this.#pass()
  }

  /** Sends what must not overtake output that waits. */
  after(send: () => void): void {
    this.#waiting.push({ size: 0, send })
    this.#pass()
  }

  /** The controller has taken `bytes` more. */
  addCredit(bytes: number): void {
    this.#credit += bytes
    this.#pass()
  }

  #pass(): void {
    // The last item may overdraw the credit: it is one read of a pipe at most.
    while (this.#waiting.length > 0 && (this.#credit > 0 || this.#waiting[0]?.size === 0)) {
      const item = this.#waiting.shift() as Item
      this.#credit -= item.size
      item.send()
    }
    const hold = this.#credit <= 0
    if (hold !== this.#held) {
      this.#held = hold
      this.#hold(hold)
    }
  }
}
