// The key-value space of one job on one node: what local ranks have put, and what the other nodes put before the
// last fence. Strings are Latin-1, one character a byte, and hold no NUL: that separates them between nodes.

/** Bytes that one rank may put: far more than MPI libraries do, little enough for the memory of a node. */
const RANK_BUDGET = 16 * 2 ** 20

/** Keys and values of a job. */
export class KeyValueSpace {
  readonly #values = new Map<string, string>()
  /** Bytes put so far by each rank. */
  readonly #spent = new Map<number, number>()
  /** Local puts since the last fence, key and value in turn; undefined when nobody else needs them. */
  #fresh: string[] | undefined
  /** Other nodes' puts that nobody has asked for yet: merged at the next use, off the way of the fence. */
  #unmerged: Uint8Array[] = []

  /** `shared`: the job has ranks on other nodes. */
  constructor(shared: boolean) {
    this.#fresh = shared ? [] : undefined
  }

  /**
   * Visible to local ranks at once, to others after the fence. `cost` is the size of the message that brought the
   * pair. False when the rank has put too much.
   */
  put(rank: number, key: string, value: string, cost: number): boolean {
    const spent = (this.#spent.get(rank) ?? 0) + cost
    if (spent > RANK_BUDGET) return false
    this.#spent.set(rank, spent)
    this.#merge()
    this.#values.set(key, value)
    this.#fresh?.push(key, value)
    return true
  }

  get(key: string): string | undefined {
    this.#merge()
    return this.#values.get(key)
  }

  /** A pair that every node knows by itself. */
  preset(key: string, value: string): void {
    this.#values.set(key, value)
  }

  /** What the other nodes need from this one at a fence. */
  takeFresh(): Uint8Array {
    if (!this.#fresh?.length) return new Uint8Array()
    const message = Buffer.from(this.#fresh.join('\0'), 'latin1')
    this.#fresh = []
    return message
  }

  /** Takes what another node gave at a fence. */
  receive(message: Uint8Array): void {
    if (message.length > 0) this.#unmerged.push(message)
  }

  #merge(): void {
    if (this.#unmerged.length === 0) return
    const messages = this.#unmerged
    this.#unmerged = []
    for (const message of messages) {
      const words = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
        .toString('latin1')
        .split('\0')
      for (let i = 0; i + 1 < words.length; i += 2) {
        this.#values.set(words[i] as string, words[i + 1] as string)
      }
    }
  }
}
