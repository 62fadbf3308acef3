// Large messages to many links at once, with a bound on what is encrypted and waits for the network: what does not fit
// waits unencrypted, in memory that all its receivers share. Between two sends other work of this process gets its turn.
import type { Link } from './link.ts'
import type { Message } from './messages.ts'

/** Bytes that may be on their way in all links together. */
const MOST_BYTES = 16 * 2 ** 20

interface Item {
  readonly link: Link
  readonly message: Message
  readonly body: readonly Uint8Array[]
}

/** Sends in the order of `send`, as the bound allows. A message that is larger than the bound goes alone. */
export class SendQueue {
  readonly #waiting: Item[] = []
  #next = 0
  #bytes = 0

  send(link: Link, message: Message, body: readonly Uint8Array[]): void {
    this.#waiting.push({ link, message, body })
    this.#pass()
  }

  #pass(): void {
    while (this.#next < this.#waiting.length && this.#bytes < MOST_BYTES) {
      const { link, message, body } = this.#waiting[this.#next++] as Item
      const size = body.reduce((sum, part) => sum + part.length, 0)
      this.#bytes += size
      link.send(message, body, () => {
        this.#bytes -= size
        setImmediate(() => this.#pass())
      })
    }
    if (this.#next < this.#waiting.length) return
    this.#waiting.length = 0
    this.#next = 0
  }
}
