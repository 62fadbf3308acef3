// One connection between the controller and an agent: whole messages both ways, signs of life, and one sentence on how
// it ended.
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { messageOf } from '../../common/index.ts'
import { decodeMessage, encodeHead, type Message } from './messages.ts'
import { isUnanswered } from './tcp-state.ts'

/** What happens on a link. */
export interface LinkListener {
  /** A message came. The body may be kept. Throwing ends the link. */
  message(message: Message, body: Buffer): void
  /** The link is over; the last that is heard of it. `why` says how. */
  closed(why: string): void
}

/** The largest message, in bytes. */
export const MOST_MESSAGE = 512 * 2 ** 20

/** Messages up to this size are copied into one frame. */
const SMALL = 4 * 1024
/**
 * Larger ones go in frames of at most this size, so that a link never has much encrypted and waiting for the network:
 * OpenSSL's buffers of a connection stay as large as they once became (measured: 70 KiB less for each of 1,000 links).
 */
const FRAME = 16 * 1024
/** While more than this waits for the network, large messages wait too, in memory that other links may share. */
const HIGH_WATER = 16 * 1024
// Silence is counted in turns of this process' own loop, so that one that was held up (suspended by the scheduler, short
// of CPU) reads what has arrived before it judges.
const TICK_MS = 500
const TICKS_PER_BEAT = 2
/**
 * A process that is silent for so long counts as gone though its host answers, unless told: it may be suspended, or short of
 * CPU.
 */
export const PATIENCE_MS = 120_000

/** A piece of a message; `last` ends it. */
interface Frame {
  readonly data: Uint8Array
  readonly last: boolean
}

/** One end of a link. */
export class Link {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #timer: NodeJS.Timeout
  #listener: LinkListener
  readonly #waiting: Frame[] = []
  #joined = false
  #over = false
  #patienceMs = PATIENCE_MS
  #why: string | undefined

  /**
   * Takes over an open WebSocket and its connection. The other end counts as gone when nothing came from it for
   * `silenceMs` milliseconds and its host does not answer either.
   */
  constructor(socket: WebSocket, connection: Socket, silenceMs: number, listener: LinkListener) {
    this.#socket = socket
    this.#connection = connection
    this.#listener = listener
    connection.setNoDelay(true)
    let [ticks, silent, heard] = [0, 0, connection.bytesRead]
    this.#timer = setInterval(() => {
      // Unsolicited pongs are the heartbeats of RFC 6455, 5.5.3: the other end need not answer.
      if (++ticks % TICKS_PER_BEAT === 0) socket.pong()
      silent = connection.bytesRead === heard ? silent + 1 : 0
      heard = connection.bytesRead
      const silence = silent * TICK_MS
      if (
        silence >= this.#patienceMs ||
        (silence > 0 && silence % silenceMs === 0 && isUnanswered(connection))
      ) {
        this.end(`no sign of life for ${silence / 1000} s`)
      }
    }, TICK_MS)
    socket.on('message', (data: Buffer) => {
      if (this.#over) return
      try {
        const { message, body } = decodeMessage(data)
        this.#listener.message(message, body)
      } catch (error) {
        this.end(messageOf(error))
      }
    })
    socket.on('error', (error) => {
      this.#why ??= error.message
    })
    socket.on('close', (code) => {
      this.#finish(code === 1000 ? 'the connection was closed' : `the connection broke (${code})`)
    })
  }

  /** How long the other end may be silent, in milliseconds, as long as its host answers. */
  bear(patienceMs: number): void {
    this.#patienceMs = patienceMs
  }

  /** From here on another listener hears what happens. */
  listen(listener: LinkListener): void {
    this.#listener = listener
  }

  /**
   * Sends a message with its body, given in parts. The parts are not copied when they are large: they must not change,
   * and the same bytes may go to many links at once.
   */
  send(message: Message, body: readonly Uint8Array[] = []): void {
    if (this.#over) return
    const head = encodeHead(message)
    const size = body.reduce((sum, part) => sum + part.length, head.length)
    if (size <= SMALL) this.#waiting.push({ data: Buffer.concat([head, ...body]), last: true })
    else this.#waiting.push(...framesOf([head, ...body]))
    this.#pass(size <= SMALL && this.#waiting.length === 1)
  }

  /** Ends the link in order, after what has left this process; what still waits is not sent. */
  close(): void {
    this.#socket.close(1000)
  }

  /** Ends the link at once. */
  end(why: string): void {
    this.#why ??= why
    this.#socket.terminate()
    this.#connection.destroy()
    this.#finish(why)
  }

  // Frames go in their order; heartbeats pass between them. `now` sends one whatever waits for the network.
  #pass(now: boolean): void {
    const { OPEN } = this.#socket
    while (this.#waiting.length > 0 && this.#socket.readyState === OPEN) {
      if (!now && this.#socket.bufferedAmount >= HIGH_WATER) return
      const { data, last } = this.#waiting.shift() as Frame
      this.#join()
      this.#socket.send(data, { binary: true, fin: last }, () => {
        // Not at once: when the network takes all that it is given, nothing else would get its turn.
        if (this.#waiting.length > 0) setImmediate(() => this.#pass(false))
      })
      if (now) return
    }
  }

  // What is sent in one turn goes to the network in one piece: many small messages then cost little more than one.
  #join(): void {
    if (this.#joined) return
    this.#joined = true
    this.#connection.cork()
    process.nextTick(() => {
      this.#joined = false
      this.#connection.uncork()
    })
  }

  #finish(how: string): void {
    if (this.#over) return
    this.#over = true
    this.#waiting.length = 0
    clearInterval(this.#timer)
    this.#listener.closed(this.#why ?? how)
  }
}

function framesOf(parts: readonly Uint8Array[]): Frame[] {
  const pieces = parts.flatMap((part) =>
    Array.from({ length: Math.ceil(part.length / FRAME) }, (_, i) =>
      part.subarray(i * FRAME, (i + 1) * FRAME),
    ),
  )
  return pieces.map((data, i) => ({ data, last: i === pieces.length - 1 }))
}
