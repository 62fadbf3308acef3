// The controller's side of its agents: listens while they come, knows which node each is on, and gives the controller one
// worker per node and the exchange. Once all are there nobody else can connect.
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Deadline, LeetError, type Log, type WaitLimits, waitFor } from '../../common/index.ts'
import type { Exchange, RankReport } from '../../mpi-bridge/index.ts'
import type { NodeEvent, NodeWorker } from '../node/worker.ts'
import { ControllerExchange } from './controller-exchange.ts'
import { type Invitation, newJobKey, ownAddresses } from './invitation.ts'
import { Link, MOST_MESSAGE } from './link.ts'
import { type Message, toWire } from './messages.ts'
import { RemoteWorker } from './remote-worker.ts'
import { serverTls } from './tls.ts'

/** What a hub is made with. Callbacks must not throw. */
export interface HubOptions {
  /** Names of the job's nodes, in the order of the plan. */
  readonly nodes: readonly string[]
  /** Version of LEET: agents of another are refused. */
  readonly version: string
  readonly log: Log
  /** What ranks do, as their process managers see it. */
  readonly onReport: (report: RankReport) => void
  readonly onEvent: (node: number, event: NodeEvent) => void
  /** An agent, or its node, is gone before it was told to stop. The error names the node. */
  readonly onLost: (node: number, error: LeetError) => void
  /** An agent got a signal, which may have come from the scheduler to it alone. */
  readonly onSignal: (node: number, signal: NodeJS.Signals) => void
  /** Numeric addresses that the agents are told; all of this node's unless told. */
  readonly addresses?: readonly string[]
}

/** The agents of one job, from the controller. */
export interface AgentHub {
  /** What the agents must be given when they are started. Contains the job's key. */
  readonly invitation: Invitation
  readonly exchange: Exchange
  /** One worker for each node, in their order. They work from `ready` on. */
  readonly workers: readonly NodeWorker[]
  /** Waits until all agents are there; rejects with the names of those that are not. */
  ready(limits: WaitLimits): Promise<void>
  /** Ends the links, which ends the agents. Workers should have been stopped before. */
  close(): Promise<void>
}

type Hello = Message & { readonly kind: 'hello' }

/** An agent that is silent for so long is gone, with its node, in milliseconds. */
const SILENCE_MS = 10_000
/** How long links may take to close in order, in milliseconds. */
const CLOSE_MS = 1_000
/** How long a connection may take to say what it is, in milliseconds. */
const HELLO_MS = 10_000
/** Bytes of output that all agents together may send before it was taken, and the least and most for one. */
const OUTPUT_BYTES = 64 * 2 ** 20
const LEAST_WINDOW = 64 * 1024
const MOST_WINDOW = 2 ** 20
/** A thousand agents come at once. */
const BACKLOG = 4096

/** Starts to listen for the agents of a job. */
export async function startHub(options: HubOptions): Promise<AgentHub> {
  const { nodes, version, log } = options
  const [{ createServer }, { WebSocketServer }] = await Promise.all([import('node:https'), import('ws')])
  const key = newJobKey()
  const window = Math.min(MOST_WINDOW, Math.max(LEAST_WINDOW, Math.floor(OUTPUT_BYTES / nodes.length)))
  const exchange = new ControllerExchange(nodes, options.onReport)
  const workers = nodes.map((name, node) => new RemoteWorker(name, (event) => options.onEvent(node, event)))
  const links = new Map<number, Link>()
  const strangers: string[] = []
  let closing = false
  let arrived: () => void = () => {}
  let refuse: (error: LeetError) => void = () => {}
  const complete = new Promise<void>((resolve, reject) => {
    arrived = resolve
    refuse = reject
  })
  complete.catch(() => {})
  let drain: () => void = () => {}
  const drained = new Promise<void>((resolve) => {
    drain = resolve
  })

  const server = createServer({ ...serverTls(key), handshakeTimeout: HELLO_MS, headersTimeout: HELLO_MS })
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: MOST_MESSAGE })
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      if (closing && sockets.size === 0) drain()
    })
  })
  // Whoever does not have the key is not worth more than a line.
  server.on('tlsClientError', (error, socket) =>
    log.detail(`refused a connection from ${socket.remoteAddress}: ${error.message}`),
  )
  webSockets.on('connection', (socket, request: IncomingMessage) => {
    const from = request.socket.remoteAddress ?? 'somewhere'
    const late = setTimeout(() => link.end('it did not say which node it is on'), HELLO_MS)
    const link = new Link(socket, request.socket, SILENCE_MS, {
      message(message) {
        clearTimeout(late)
        admit(link, message, from)
      },
      closed(why) {
        clearTimeout(late)
        log.detail(`a connection from ${from} ended before it was an agent: ${why}`)
      },
    })
  })

  // The node that an agent is on, or why it is not wanted.
  function placeOf(hello: Hello, from: string): number | LeetError {
    const where = hello.names[0] ?? from
    const no = (what: string, hint?: string) => new LeetError({ code: 'LEET_E_AGENT', what, where, hint })
    if (hello.version !== version) {
      const error = no(
        `the agent is LEET ${hello.version}, this is LEET ${version}`,
        'the same installation must be on the path of all nodes',
      )
      refuse(error)
      return error
    }
    const node = hello.node >= 0 ? hello.node : nodes.findIndex((name) => hello.names.some(isSameHost(name)))
    if (node < 0 || node >= nodes.length) {
      strangers.push(where)
      return no('an agent came from a node that is not of this job')
    }
    return links.has(node) ? no('the node has an agent already', 'start one agent per node') : node
  }

  function admit(link: Link, hello: Message, from: string): void {
    if (hello.kind !== 'hello') throw new Error('it did not say hello')
    const node = placeOf(hello, from)
    if (node instanceof LeetError) {
      link.send({ kind: 'refused', error: toWire(node) })
      link.close()
      return
    }
    links.set(node, link)
    const worker = workers[node] as RemoteWorker
    link.listen({
      message(message, body) {
        if (worker.take(message, body) || exchange.take(node, message, body)) return
        if (message.kind !== 'signalled') throw new Error(`the agent sent ${message.kind}`)
        options.onSignal(node, message.signal as NodeJS.Signals)
      },
      closed(why) {
        const error = new LeetError({
          code: 'LEET_E_AGENT_LOST',
          what: 'the agent of this node is gone',
          where: nodes[node],
          why,
          hint: 'its node may be down, or something killed it; see the scheduler’s log of that node',
        })
        worker.detach(error)
        exchange.detach(node, error)
        if (closing) return
        refuse(error)
        options.onLost(node, error)
      },
    })
    worker.attach(link, window)
    exchange.attach(node, link)
    link.send({ kind: 'welcome', node, window })
    if (links.size === nodes.length) {
      // Connections that exist go on; nobody else gets in.
      server.close()
      arrived()
    }
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, backlog: BACKLOG }, resolve)
  })
  const { port } = server.address() as AddressInfo

  return {
    invitation: { addresses: options.addresses ?? ownAddresses(), port, key },
    exchange,
    workers,
    async ready({ deadline, signal }) {
      await waitFor(complete, { deadline, signal }, { what: 'the agents of all nodes' }).catch((error) => {
        throw error.code === 'LEET_E_DEADLINE' ? missing() : error
      })
    },
    async close() {
      closing = true
      server.close()
      for (const link of links.values()) link.close()
      if (sockets.size === 0) return
      const subject = { what: 'the agents to close their links' }
      await waitFor(drained, { deadline: Deadline.after(CLOSE_MS) }, subject).catch(() => {})
      for (const socket of sockets) socket.destroy()
    },
  }

  function missing(): LeetError {
    const absent = nodes.filter((_, node) => !links.has(node))
    const shown = absent.slice(0, 8).join(', ') + (absent.length > 8 ? `, … (${absent.length} in all)` : '')
    return new LeetError({
      code: 'LEET_E_AGENT',
      what: `no agent came from ${shown}`,
      why: strangers.length > 0 ? `agents came from ${strangers.slice(0, 8).join(', ')} instead` : undefined,
      hint: `can these nodes reach port ${port} of this one (${(options.addresses ?? ownAddresses()).join(', ')})?`,
    })
  }
}

// Schedulers and hosts do not agree whether a name has its domain.
function isSameHost(name: string): (other: string) => boolean {
  const short = (host: string) => host.split('.')[0]?.toLowerCase()
  return (other) =>
    other.toLowerCase() === name.toLowerCase() ||
    (short(other) === short(name) && !(other.includes('.') && name.includes('.')))
}
