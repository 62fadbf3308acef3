// The controller's side of its agents: listens while they come, knows which node each is on, and gives the controller one
// worker per node and the exchange. Once all are there nobody else can connect.
import { LeetError, type Log, type Scope, shortList, type WaitLimits, waitFor } from '../../common/index.ts'
import type { Exchange, RankReport } from '../../mpi-bridge/index.ts'
import { ownAddresses } from '../networks/own-addresses.ts'
import type { NodeEvent, NodeWorker } from '../node/worker.ts'
import { ControllerExchange } from './controller-exchange.ts'
import { type Invitation, newJobKey } from './invitation.ts'
import { type Link, PATIENCE_MS } from './link.ts'
import { listenForLinks } from './listen.ts'
import { type Message, toWire } from './messages.ts'
import { RemoteWorker } from './remote-worker.ts'
import { childrenOf, parentOf } from './tree.ts'

/** What a hub is made with. Callbacks must not throw. */
export interface HubOptions {
  /** With which the links end, and with them the agents. Workers should have been stopped before. */
  readonly scope: Scope
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
  /** Most children of anybody in the tree along which fence data goes. */
  readonly width: number
  /** How long controller and agents bear each other's silence while the other's host answers, in milliseconds. */
  readonly patienceMs?: number
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
}

/** An agent that is silent for so long is gone, with its node, in milliseconds. */
const SILENCE_MS = 10_000
/** Bytes of output that all agents together may send before it was taken, and the least and most for one. */
const OUTPUT_BYTES = 64 * 2 ** 20
const LEAST_WINDOW = 64 * 1024
const MOST_WINDOW = 2 ** 20
/** How long an agent that a neighbour cannot reach has to be found gone by itself, in milliseconds. */
const ASTRAY_MS = 12_000

/** Starts to listen for the agents of a job. */
export async function startHub(options: HubOptions): Promise<AgentHub> {
  const { scope, nodes, version, log } = options
  const tree = { count: nodes.length, width: options.width }
  const patience = options.patienceMs ?? PATIENCE_MS
  const key = newJobKey()
  const window = Math.min(MOST_WINDOW, Math.max(LEAST_WINDOW, Math.floor(OUTPUT_BYTES / nodes.length)))
  const exchange = new ControllerExchange(nodes, tree, options.onReport)
  const workers = nodes.map((name, node) => new RemoteWorker(name, (event) => options.onEvent(node, event)))
  const links = new Map<number, Link>()
  /** Where agents let their children in the tree connect. */
  const doors = new Map<number, Message & { readonly kind: 'parent' }>()
  const numberOf = nodeFinder(nodes)
  const strangers: string[] = []
  let closing = false
  let arrived: () => void = () => {}
  let refuse: (error: LeetError) => void = () => {}
  const complete = new Promise<void>((resolve, reject) => {
    arrived = resolve
    refuse = reject
  })
  complete.catch(() => {})
  const listener = await listenForLinks({ scope, key, silenceMs: SILENCE_MS, log, admit })
  scope.onEnd('the links', () => {
    closing = true
    for (const link of links.values()) link.close()
  })
  const addresses = options.addresses ?? ownAddresses()

  // The node that an agent is on, or why it is not wanted.
  function nodeOf(hello: Message & { readonly kind: 'hello' }, from: string): number | LeetError {
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
    const node = hello.node >= 0 ? hello.node : numberOf(hello.names)
    if (node === undefined || node >= nodes.length) {
      strangers.push(where)
      return no('an agent came from a node that is not of this job')
    }
    return links.has(node) ? no('the node has an agent already', 'start one agent per node') : node
  }

  function admit(link: Link, hello: Message, from: string): void {
    if (hello.kind !== 'hello') throw new Error('it did not say hello')
    const node = nodeOf(hello, from)
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
        if (takePlacing(node, message)) return
        if (message.kind !== 'signalled') throw new Error(`the agent sent ${message.kind}`)
        options.onSignal(node, message.signal as NodeJS.Signals)
      },
      closed: (why) => lose(node, why),
    })
    worker.attach(link, window)
    exchange.attach(node, link)
    link.bear(patience)
    link.send({ kind: 'welcome', node, window, patience, ...tree })
    const door = doors.get(parentOf(node, tree))
    if (door) link.send(door)
    if (links.size < nodes.length) return
    // Connections that exist go on; nobody else gets in.
    listener.stop()
    arrived()
  }

  function takePlacing(node: number, message: Message): boolean {
    switch (message.kind) {
      case 'listening': {
        const { addresses: at, port } = message
        const door = { kind: 'parent', addresses: at, port } as const
        doors.set(node, door)
        for (const child of childrenOf(node, tree)) links.get(child)?.send(door)
        return true
      }
      case 'astray': {
        if (closing) return true
        // If the neighbour is gone that will be seen, and told, by its own link; else the way between the two is broken.
        scope.timer(ASTRAY_MS, () =>
          links.get(message.node)?.end(`${nodes[node]} cannot reach it: ${message.why}`),
        )
        return true
      }
      default:
        return false
    }
  }

  function lose(node: number, why: string): void {
    const error = new LeetError({
      code: 'LEET_E_AGENT_LOST',
      what: 'the agent of this node is gone',
      where: nodes[node],
      why,
      hint: 'its node may be down, or something killed it; see the scheduler’s log of that node',
    })
    workers[node]?.detach(error)
    if (closing) return
    exchange.detach(node, error)
    refuse(error)
    options.onLost(node, error)
  }

  // Why not all agents are there.
  function missing(): LeetError {
    const absent = nodes.filter((_, node) => !links.has(node))
    return new LeetError({
      code: 'LEET_E_AGENT',
      what: `no agent came from ${shortList(absent)}`,
      why: strangers.length > 0 ? `agents came from ${shortList(strangers)} instead` : undefined,
      hint: `can these nodes reach port ${listener.port} of this one (${addresses.join(', ')})?`,
    })
  }

  return {
    invitation: { addresses, port: listener.port, key },
    exchange,
    workers,
    async ready({ deadline, signal }) {
      await waitFor(complete, { deadline, signal }, { what: 'the agents of all nodes' }).catch((error) => {
        throw error.code === 'LEET_E_DEADLINE' ? missing() : error
      })
    },
  }
}

/** Finds nodes by their names: schedulers and hosts do not agree whether a name has its domain. */
function nodeFinder(nodes: readonly string[]): (names: readonly string[]) => number | undefined {
  const short = (name: string) => name.split('.')[0] as string
  const byName = new Map(nodes.map((name, node) => [name.toLowerCase(), node]))
  const byShort = new Map(nodes.map((name, node) => [short(name.toLowerCase()), node]))
  const find = (name: string): number | undefined => {
    const exact = byName.get(name)
    if (exact !== undefined) return exact
    const node = byShort.get(short(name))
    // Two domains are two hosts.
    return node !== undefined && name.includes('.') && nodes[node]?.includes('.') ? undefined : node
  }
  return (names) => names.map((name) => find(name.toLowerCase())).find((node) => node !== undefined)
}
