// Key-value pairs as they came from other nodes: looked up in the messages themselves, with an index of numbers
// beside them. A job of thousands of ranks brings every node tens of thousands of pairs at each fence, most of which
// nobody there ever asks for; as strings in a Map they would cost many times their size, and time of every collection.
import { randomInt } from 'node:crypto'

/** Separates keys and values in a message: `key NUL value NUL key NUL value`. */
export const SEPARATOR = '\0'

/** Slots are two numbers: the message's number from 1 (0: free) and where its key begins. */
const SLOT = 2
const LEAST_SLOTS = 64

/** Pairs of messages; later messages win over earlier ones. */
export class MessagePairs {
  readonly #messages: Buffer[] = []
  #slots = new Int32Array(LEAST_SLOTS * SLOT)
  #used = 0
  /** Makes it hard to choose keys that fall on one another. */
  readonly #seed = randomInt(2 ** 32)

  /** Takes the pairs of a message; the bytes are kept, not copied. Gives the message's number. */
  add(bytes: Uint8Array): number {
    const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const number = this.#messages.push(message)
    for (let at = 0; at < message.length; ) {
      const middle = message.indexOf(0, at)
      if (middle < 0) break
      this.#insert(number, at, middle)
      const end = message.indexOf(0, middle + 1)
      at = end < 0 ? message.length : end + 1
    }
    return number
  }

  get(key: string): string | undefined {
    const slot = this.#find(key)
    if (slot < 0) return undefined
    const message = this.#messages[(this.#slots[slot] as number) - 1] as Buffer
    const begin = (this.#slots[slot + 1] as number) + key.length + 1
    const end = message.indexOf(0, begin)
    return message.toString('latin1', begin, end < 0 ? message.length : end)
  }

  /** Number of the latest message that has the key; 0 when none has. */
  messageOf(key: string): number {
    const slot = this.#find(key)
    return slot < 0 ? 0 : (this.#slots[slot] as number)
  }

  #find(key: string): number {
    const mask = this.#slots.length - 1
    let hash = this.#seed
    for (let index = 0; index < key.length; index++) hash = step(hash, key.charCodeAt(index))
    for (let slot = place(hash, mask); ; slot = (slot + SLOT) & mask) {
      const number = this.#slots[slot] as number
      if (number === 0) return -1
      if (this.#is(number, this.#slots[slot + 1] as number, key)) return slot
    }
  }

  #is(number: number, at: number, key: string): boolean {
    const message = this.#messages[number - 1] as Buffer
    if (message[at + key.length] !== 0) return false
    for (let index = 0; index < key.length; index++) {
      if (message[at + index] !== key.charCodeAt(index)) return false
    }
    return true
  }

  #insert(number: number, begin: number, end: number): void {
    if ((this.#used + 1) * 2 * SLOT > this.#slots.length) this.#grow()
    const message = this.#messages[number - 1] as Buffer
    const mask = this.#slots.length - 1
    for (let slot = place(this.#hash(message, begin, end), mask); ; slot = (slot + SLOT) & mask) {
      const other = this.#slots[slot] as number
      const at = this.#slots[slot + 1] as number
      if (other !== 0 && !sameKey(this.#messages[other - 1] as Buffer, at, message, begin, end)) continue
      if (other === 0) this.#used++
      this.#slots[slot] = number
      this.#slots[slot + 1] = begin
      return
    }
  }

  #hash(message: Buffer, begin: number, end: number): number {
    let hash = this.#seed
    for (let index = begin; index < end; index++) hash = step(hash, message[index] as number)
    return hash
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Int32Array(old.length * 2)
    const mask = this.#slots.length - 1
    for (let from = 0; from < old.length; from += SLOT) {
      const number = old[from] as number
      if (number === 0) continue
      const message = this.#messages[number - 1] as Buffer
      const begin = old[from + 1] as number
      let slot = place(this.#hash(message, begin, message.indexOf(0, begin)), mask)
      while (this.#slots[slot] !== 0) slot = (slot + SLOT) & mask
      this.#slots[slot] = number
      this.#slots[slot + 1] = begin
    }
  }
}

/** One step of FNV-1a (draft-eastlake-fnv), with 32 bits. */
function step(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193)
}

/** The slot where the search for a key begins. */
function place(hash: number, mask: number): number {
  return ((hash ^ (hash >>> 15)) * SLOT) & mask
}

function sameKey(a: Buffer, at: number, b: Buffer, begin: number, end: number): boolean {
  const length = end - begin
  return a[at + length] === 0 && a.compare(b, begin, end, at, at + length) === 0
}
