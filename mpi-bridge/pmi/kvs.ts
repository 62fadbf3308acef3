// The key-value space of one job on one node: what local ranks have put, and what the other nodes put before the
// last fence. Strings are Latin-1, one character a byte, and hold no NUL: that separates them between nodes.
import { MessagePairs, SEPARATOR } from './pairs.ts'

/** Bytes that one rank may put: far more than MPI libraries do, little enough for the memory of a node. */
const RANK_BUDGET = 16 * 2 ** 20

/** Keys that begin so are the process manager's: hydra refuses them too. */
const RESERVED = 'PMI_'

/** Why a put is refused: the key is the process manager's, or the rank has put too much. */
export type PutStatus = 'ok' | 'reserved' | 'full'

/** Keys and values of a job. */
export class KeyValueSpace {
  /** What local ranks put, and what every node knows by itself. */
  readonly #own = new Map<string, string>()
  readonly #others = new MessagePairs()
  /** Bytes put so far by each rank. */
  readonly #spent = new Map<number, number>()
  /** Local puts since the last fence, key and value in turn; undefined when nobody else needs them. */
  #fresh: string[] | undefined
  /** Other nodes' puts that nobody has asked for yet: taken in at the next use, off the way of the fence. */
  #unread: Uint8Array[] = []

  /** `shared`: the job has ranks on other nodes. */
  constructor(shared: boolean) {
    this.#fresh = shared ? [] : undefined
  }

  /**
   * Visible to local ranks at once, to others after the fence. `cost` is the size of the message that brought the
   * pair.
   */
  put(rank: number, key: string, value: string, cost: number): PutStatus {
    if (key.startsWith(RESERVED)) return 'reserved'
    const spent = (this.#spent.get(rank) ?? 0) + cost
    if (spent > RANK_BUDGET) return 'full'
    this.#spent.set(rank, spent)
    this.#read()
    this.#own.set(key, value)
    this.#fresh?.push(key, value)
    return 'ok'
  }

  get(key: string): string | undefined {
    this.#read()
    return this.#own.get(key) ?? this.#others.get(key)
  }

  /** A pair that every node knows by itself. */
  preset(key: string, value: string): void {
    this.#own.set(key, value)
  }

  /** What the other nodes need from this one at a fence. */
  takeFresh(): Uint8Array {
    if (!this.#fresh?.length) return new Uint8Array()
    const message = Buffer.from(this.#fresh.join(SEPARATOR), 'latin1')
    this.#fresh = []
    return message
  }

  /** Takes what another node gave at a fence; the bytes are kept. */
  receive(message: Uint8Array): void {
    if (message.length > 0) this.#unread.push(message)
  }

  #read(): void {
    if (this.#unread.length === 0) return
    const messages = this.#unread
    this.#unread = []
    const numbers = messages.map((message) => this.#others.add(message))
    // What others have put since is newer than what was put here before the fence.
    const first = numbers[0] as number
    for (const key of this.#own.keys()) if (this.#others.messageOf(key) >= first) this.#own.delete(key)
  }
}
