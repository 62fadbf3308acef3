// The standard input of a rank in OSv: carried into the guest's memory in pieces, files that the compatibility library
// (launcher/osv-compat/input.c) passes on to the program and removes.
import { pause, type WaitLimits } from '../../common/index.ts'
import { OsvRefusal, type OsvRest } from './rest.ts'

/** What an input is made with. */
export interface OsvInputOptions {
  readonly rest: OsvRest
  /** Path in the guest; the pieces are `NAME.0`, `NAME.1`, …. */
  readonly name: string
  /** Of one request. */
  readonly limits: () => WaitLimits
}

/** A piece is about so long, in bytes: each costs an emulated guest a handshake. */
const PIECE = 1 << 20
/** So much of what a program has not read yet lies in the memory of its guest, in bytes. */
const AHEAD = 8 << 20
/** Milliseconds between two looks whether it has read on. */
const LOOK_MS = 100
const HEAD_DIGITS = 8

/** The input of one rank. What cannot be given to a guest that ends is dropped: the rank's end says more. */
export class OsvInput {
  readonly name: string
  readonly #options: OsvInputOptions
  #turn: Promise<void> = Promise.resolve()
  readonly #waiting: Uint8Array[] = []
  /** Bytes of what waits. */
  #size = 0
  #pieces = 0
  /** Bytes since the last piece of which it is known that it was read. */
  #ahead = 0
  #broken = false

  constructor(options: OsvInputOptions) {
    this.name = options.name
    this.#options = options
  }

  /** Resolves when more may be written. What comes while a piece is on its way goes with the next. */
  write(data: Uint8Array): Promise<void> {
    if (this.#broken) return this.#turn
    this.#waiting.push(data)
    this.#size += data.length
    const sent = this.#inTurn(async () => {
      const all = Buffer.concat(this.#waiting.splice(0))
      this.#size = 0
      if (all.length > 0) await this.#send(all)
    })
    return this.#size < PIECE ? Promise.resolve() : sent
  }

  /** The program reads what was written, and finds the end. */
  end(): Promise<void> {
    return this.#inTurn(() => this.#send(new Uint8Array()))
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      if (this.#broken) return
      try {
        await task()
      } catch {
        this.#broken = true
      }
    })
    return this.#turn
  }

  async #send(data: Uint8Array): Promise<void> {
    const { rest, limits } = this.#options
    const path = `${this.name}.${this.#pieces++}`
    const head = Buffer.from(data.length.toString(16).padStart(HEAD_DIGITS, '0'))
    await rest.uploadFile(path, Buffer.concat([head, data]), limits())
    this.#ahead += data.length
    if (this.#ahead < AHEAD) return
    while (await isThere(rest, path, limits())) await pause(LOOK_MS, limits().signal)
    this.#ahead = 0
  }
}

async function isThere(rest: OsvRest, path: string, limits: WaitLimits): Promise<boolean> {
  try {
    await rest.fileStatus(path, limits)
    return true
  } catch (error) {
    if (error instanceof OsvRefusal && error.status === 404) return false
    throw error
  }
}
