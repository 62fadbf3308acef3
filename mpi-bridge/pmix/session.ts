// One rank's connection after its handshake: frames in, replies and events out, each in one write.
import type { Socket } from 'node:net'
import type { RankConnection } from '../context.ts'
import { Status } from './constants.ts'
import { EVENT_TAG, FIRST_REQUEST_TAG, type Frame, frameHeader } from './frames.ts'
import { replyWith } from './requests.ts'
import type { Proc } from './values.ts'
import { type Format, Writer } from './wire.ts'

/** Requests that a client may have waiting for their reply. */
export const MAX_OUTSTANDING = 1024

/**
 * Clients of OpenPMIx 3.2 to 6.1 lose a header when `read()` gives them only a part of it. That may happen to a header
 * right behind a message that the network is still carrying. So after a message of this many bytes the next one waits
 * until the client has answered it, or for a while.
 */
const LARGE_MESSAGE_BYTES = 8192
const LARGE_MESSAGE_REST_MS = 50

/** Bytes that may wait for a client that does not read. */
const MAX_UNREAD_BYTES = 64 * 2 ** 20

/**
 * How a request is answered: by a status, a message, the parts of one, or a promise. `later`: by `reply`. `none`: the
 * client waits for no answer.
 */
export type Answer = number | Writer | readonly Uint8Array[] | Promise<number | Writer> | 'later' | 'none'

/** Answers requests. Never throws. */
export type RequestHandler = (session: Session, frame: Frame) => void

/** A header and the parts of its payload. */
interface Message {
  readonly bytes: number
  readonly parts: readonly Uint8Array[]
}

/** A connected rank. */
export class Session {
  readonly proc: Proc
  readonly guest: number
  readonly format: Format
  readonly connection: RankConnection
  /** Ends waits whose answers nobody would read any more. */
  readonly waits = new Set<() => void>()
  /** Requests without a reply yet. */
  outstanding = 0
  finalised = false
  private readonly socket: Socket
  private readonly handler: RequestHandler
  private held: Message[] | undefined
  private heldBytes = 0
  private rest: NodeJS.Timeout | undefined
  private open = true

  constructor(socket: Socket, connection: RankConnection, format: Format, handler: RequestHandler) {
    this.socket = socket
    this.connection = connection
    this.format = format
    this.proc = { nspace: connection.job.id, rank: connection.rank }
    this.guest = connection.guest
    this.handler = handler
    socket.setNoDelay(true)
    socket.on('drain', () => socket.resume())
  }

  /** Takes a message of the client. */
  receive(frame: Frame): void {
    if (!this.open || frame.tag < FIRST_REQUEST_TAG) return
    if (this.held) this.release()
    this.outstanding++
    this.handler(this, frame)
  }

  /** Answers the request with that tag; a promise that is not kept is answered with an error. */
  reply(tag: number, answer: Answer): void {
    if (answer === 'later') return
    if (answer instanceof Promise) {
      answer.then(
        (kept) => this.reply(tag, kept),
        () => this.reply(tag, Status.ERROR),
      )
      return
    }
    this.outstanding--
    if (answer === 'none') return
    if (typeof answer === 'number') this.send(tag, [replyWith(this.format, answer, 16).result()])
    else if (answer instanceof Writer) this.send(tag, [answer.result()])
    else this.send(tag, answer)
  }

  sendEvent(payload: Uint8Array): void {
    this.send(EVENT_TAG, [payload])
  }

  /** The socket has closed. */
  closed(): void {
    this.open = false
    clearTimeout(this.rest)
    this.held = undefined
    for (const cancel of this.waits) cancel()
    this.waits.clear()
  }

  private send(tag: number, payload: readonly Uint8Array[]): void {
    if (!this.open) return
    const bytes = payload.reduce((sum, part) => sum + part.length, 0)
    this.pass({ bytes, parts: [frameHeader(tag, bytes), ...payload] })
    if (this.socket.writableLength + this.heldBytes > MAX_UNREAD_BYTES) {
      this.connection.drop('it does not read what it asked for')
    }
  }

  private pass(message: Message): void {
    if (this.held) {
      this.held.push(message)
      this.heldBytes += message.bytes
    } else {
      this.write(message)
    }
  }

  private write({ bytes, parts }: Message): void {
    const large = bytes >= LARGE_MESSAGE_BYTES
    if (large) {
      // Parts of large messages are shared by many clients. Corked, they go to the system in one call.
      this.socket.cork()
      for (const part of parts) this.socket.write(part)
      this.socket.uncork()
      this.held = []
      this.rest = setTimeout(() => this.release(), LARGE_MESSAGE_REST_MS)
    } else {
      this.socket.write(Buffer.concat(parts))
    }
    // A client that asks faster than it reads is not listened to until it has read.
    if (this.socket.writableNeedDrain) this.socket.pause()
  }

  private release(): void {
    clearTimeout(this.rest)
    const messages = this.held ?? []
    this.held = undefined
    this.heldBytes = 0
    // A large one among them holds back those that follow it.
    for (const message of messages) this.pass(message)
  }
}
