// Waits for links: at the controller for those of its agents, at an agent for those of its children in the tree.
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Deadline, type Log, type Scope, waitFor } from '../../common/index.ts'
import { serverTls } from '../networks/tls.ts'
import { Link, MOST_MESSAGE } from './link.ts'
import type { Message } from './messages.ts'

/** What a listener is made with. */
export interface ListenOptions {
  /** With which it stops; links that are being closed have a moment, then all connections end. */
  readonly scope: Scope
  readonly key: Uint8Array
  /** Silence after which the other end of a link counts as gone, in milliseconds. */
  readonly silenceMs: number
  readonly log: Log
  /** The first message on a link, from the address `from`. Must listen to the link or close it; throwing ends it. */
  readonly admit: (link: Link, first: Message, from: string) => void
  /** Length of one of the turns in which a link must say what it is, in milliseconds; 1,000 unless told. */
  readonly turnMs?: number
}

/** A port at which holders of the job's key may connect. */
export interface LinkListener {
  readonly port: number
  /** Lets nobody else in; links that exist go on. */
  stop(): void
}

/** How long links may take to close in order, in milliseconds. */
const CLOSE_MS = 1_000
/** How long a connection may take to be encrypted, in milliseconds: with a thousand at once each waits for the others. */
const HANDSHAKE_MS = 30_000
// How long it may take after that to say what it is. Counted in turns of this process' own loop, as a link counts silence:
// one that was held up reads what has arrived before it judges.
const TURN_MS = 1_000
const HELLO_TURNS = 10
/** A thousand agents come at once. */
const BACKLOG = 4096

/** Opens a port of the system's choice, on all addresses of this node. */
export async function listenForLinks({
  scope,
  key,
  silenceMs,
  log,
  admit,
  turnMs = TURN_MS,
}: ListenOptions): Promise<LinkListener> {
  const [{ createServer }, { WebSocketServer }] = await Promise.all([import('node:https'), import('ws')])
  const server = createServer({
    ...serverTls(key),
    handshakeTimeout: HANDSHAKE_MS,
    headersTimeout: HANDSHAKE_MS,
  })
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: MOST_MESSAGE })
  const sockets = new Set<Socket>()
  let drained: () => void = () => {}
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      if (sockets.size === 0) drained()
    })
  })
  // Whoever does not have the key is not worth more than a line.
  server.on('tlsClientError', (error, socket) =>
    log.detail(`refused a connection from ${socket.remoteAddress}: ${error.message}`),
  )
  webSockets.on('connection', (socket, request: IncomingMessage) => {
    const from = request.socket.remoteAddress ?? 'somewhere'
    let turns = 0
    const late = setInterval(() => {
      if (++turns === HELLO_TURNS) link.end('it did not say what it is')
    }, turnMs)
    const link = new Link(socket, request.socket, silenceMs, {
      message(message) {
        clearInterval(late)
        admit(link, message, from)
      },
      closed(why) {
        clearInterval(late)
        log.detail(`a connection from ${from} ended before it was a link: ${why}`)
      },
    })
  })
  scope.onEnd('the port for links', async () => {
    server.close()
    if (sockets.size > 0) {
      const empty = new Promise<void>((resolve) => {
        drained = resolve
      })
      const subject = { what: 'the links to close' }
      await waitFor(empty, { deadline: Deadline.after(CLOSE_MS) }, subject).catch(() => {})
    }
    for (const socket of sockets) socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, backlog: BACKLOG }, resolve)
  })
  return { port: (server.address() as AddressInfo).port, stop: () => void server.close() }
}
