// One connection between the controller and an agent: whole messages both ways, signs of life, and one sentence on how
// it ended.
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { messageOf } from '../../common/index.ts'
import { decodeMessage, encodeHead, type Message } from './messages.ts'

/** What happens on a link. */
export interface LinkListener {
  /** A message came. The body may be kept. Throwing ends the link. */
  message(message: Message, body: Buffer): void
  /** The link is over; the last that is heard of it. `why` says how. */
  closed(why: string): void
}

/** The largest message, in bytes. */
export const MOST_MESSAGE = 512 * 2 ** 20

/** Bodies up to this size are copied behind their head rather than sent as frames of their own. */
const SMALL_BODY = 16 * 1024
// Silence is counted in turns of this process' own loop, so that one that was held up (suspended by the scheduler, short
// of CPU) reads what has arrived before it judges.
const TICK_MS = 500
const TICKS_PER_BEAT = 2

/** One end of a link. */
export class Link {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #timer: NodeJS.Timeout
  #listener: LinkListener
  #over = false
  #why: string | undefined

  /**
   * Takes over an open WebSocket and its connection. The other end counts as gone when nothing came from it for
   * `silenceMs` milliseconds.
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
      if (silent * TICK_MS >= silenceMs) this.end(`no sign of life for ${silenceMs / 1000} s`)
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

  /** From here on another listener hears what happens. */
  listen(listener: LinkListener): void {
    this.#listener = listener
  }

  get over(): boolean {
    return this.#over
  }

  /** Bytes that were sent and have not left this process. */
  get pending(): number {
    return this.#socket.bufferedAmount
  }

  /** Sends a message with its body, given in parts. `sent` is called when it has left this process, or never will. */
  send(message: Message, body: readonly Uint8Array[] = [], sent: () => void = () => {}): void {
    if (this.#over) {
      sent()
      return
    }
    const head = encodeHead(message)
    const size = body.reduce((sum, part) => sum + part.length, 0)
    // Large bodies go as further frames of one message: not copied, and the same bytes may go to many links at once.
    const frames =
      size <= SMALL_BODY
        ? [Buffer.concat([head, ...body])]
        : [head, ...body.filter((part) => part.length > 0)]
    const last = frames.length - 1
    frames.forEach((frame, i) => {
      this.#socket.send(frame, { binary: true, fin: i === last }, i === last ? () => sent() : () => {})
    })
  }

  /** Ends the link in order, after what was sent. */
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

  #finish(how: string): void {
    if (this.#over) return
    this.#over = true
    clearInterval(this.#timer)
    this.#listener.closed(this.#why ?? how)
  }
}
