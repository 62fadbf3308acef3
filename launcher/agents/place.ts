// An agent's place in the tree of agents: it lets its children connect and connects to the one above, while guests boot.
// In a job of few nodes the controller is above all of them and there is nothing to do.
import { Deadline, type Log, messageOf, type Scope } from '../../common/index.ts'
import type { AgentExchange } from './agent-exchange.ts'
import { connect } from './connect.ts'
import { Link } from './link.ts'
import { type LinkListener, listenForLinks } from './listen.ts'
import type { Message } from './messages.ts'
import { childrenOf, parentOf, type Tree } from './tree.ts'

/** What a place is made with. */
export interface PlaceOptions {
  /** With which its links end. */
  readonly scope: Scope
  readonly node: number
  readonly tree: Tree
  readonly key: Uint8Array
  readonly exchange: AgentExchange
  /** The link to the controller. */
  readonly control: Link
  /** Addresses at which the others may reach this node, the likeliest first. */
  readonly addresses: readonly string[]
  /** How long neighbours may be silent, in milliseconds, as long as their hosts answer. */
  readonly patience: number
  readonly log: Log
}

/** The links of an agent to its neighbours in the tree. */
export interface Place {
  /** Takes a message of the controller; false when it is not about the tree. */
  take(message: Message): boolean
}

/** Neighbours are watched as the controller watches agents: it will have missed one that is gone before they do. */
const SILENCE_MS = 15_000
/** There is time while guests boot. */
const CONNECT_MS = 60_000

/** Starts to take a place in the tree. */
export function takePlace({
  scope,
  node,
  tree,
  key,
  exchange,
  control,
  addresses,
  patience,
  log,
}: PlaceOptions): Place {
  const parent = parentOf(node, tree)
  const awaited = new Set(childrenOf(node, tree))
  let listener: LinkListener | undefined

  const attach = (link: Link, other: number) => {
    scope.onEnd(`the link to the agent of node ${other}`, () => link.close())
    link.bear(patience)
    link.listen({
      message(message, body) {
        if (!exchange.take(message, body)) throw new Error(`a neighbour sent ${message.kind}`)
      },
      closed: (why) => astray(other, why),
    })
  }
  // The controller knows whether the neighbour is gone, or only the way to it.
  const astray = (other: number, why: string) => {
    if (!scope.signal.aborted) control.send({ kind: 'astray', node: other, why })
  }

  async function listen(): Promise<void> {
    listener = await listenForLinks({
      scope,
      key,
      log,
      silenceMs: SILENCE_MS,
      admit(link, first) {
        if (first.kind !== 'child' || !awaited.delete(first.node)) {
          throw new Error('not a child of this agent')
        }
        exchange.attachChild(first.node, link)
        attach(link, first.node)
        if (awaited.size === 0) listener?.stop()
      },
    })
    control.send({ kind: 'listening', addresses: [...addresses], port: listener.port })
  }

  async function climb(to: readonly string[], port: number): Promise<void> {
    const invitation = { addresses: to, port, key }
    const whom = `the agent of node ${parent}`
    const limits = scope.within({ deadline: Deadline.after(CONNECT_MS) })
    const { socket, connection } = await connect(invitation, limits, whom)
    const link = new Link(socket, connection, SILENCE_MS, { message() {}, closed() {} })
    link.send({ kind: 'child', node })
    attach(link, parent)
    exchange.attachParent(link)
  }

  if (awaited.size > 0) listen().catch((error) => control.end(messageOf(error)))
  return {
    take(message) {
      if (message.kind !== 'parent') return false
      climb(message.addresses, message.port).catch((error) => astray(parent, messageOf(error)))
      return true
    },
  }
}
