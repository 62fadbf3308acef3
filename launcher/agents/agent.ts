// A node agent: connects to the controller of its job, does on its node what the controller asks, and ends with its link.
import { Deadline, LeetError, type Log, type Scope } from '../../common/index.ts'
import type { JobLayout, Preput } from '../../mpi-bridge/index.ts'
import { ownAddresses } from '../networks/own-addresses.ts'
import type { BootOrder, NodeEvent, NodeWorker, WorkerContext } from '../node/worker.ts'
import { AgentExchange } from './agent-exchange.ts'
import { decodeArguments, unpackOrders } from './arguments.ts'
import { connect } from './connect.ts'
import type { Invitation } from './invitation.ts'
import { Link } from './link.ts'
import { fromWire, type Message, toWire } from './messages.ts'
import { OutputValve } from './output-valve.ts'
import { takePlace } from './place.ts'
import { eventToWire } from './remote-worker.ts'

/** What an agent is made with. */
export interface AgentOptions {
  readonly invitation: Invitation
  readonly version: string
  /** Names of this node, one of which the job knows it by. */
  readonly names: readonly string[]
  /** The number of this node in the job, where the one who started the agent could tell. */
  readonly node?: number
  readonly makeWorker: (context: WorkerContext) => NodeWorker
  readonly log: Log
  /** With which the agent ends, its worker and its links. */
  readonly scope: Scope
  /** Until when the controller must have been reached. */
  readonly deadline: Deadline
}

/** An agent at work. */
export interface Agent {
  /** Resolves when the controller has ended the agent; rejects when it is gone. The worker has then been stopped. */
  readonly ended: Promise<void>
  /** Tells the controller of a signal that came to this process. */
  signalled(signal: NodeJS.Signals): void
}

/** A controller that is silent for so long is gone, in milliseconds: with the time to stop, 5 s in all. */
const SILENCE_MS = 3_500
/** How long a worker may take to stop when the controller is gone, in milliseconds. */
const STOP_MS = 1_500

/** Connects to the controller; rejects when it cannot be reached or refuses. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const scope = options.scope.child('the agent')
  const limits = scope.within({ deadline: options.deadline })
  const { socket, connection } = await connect(options.invitation, limits, 'the controller')
  return new Promise<Agent>((resolve, reject) => {
    const refused = (why: string) => reject(fromWire({ code: 'LEET_E_AGENT', what: why }, 'controller'))
    const link = new Link(socket, connection, SILENCE_MS, {
      message(message) {
        if (message.kind === 'welcome') {
          // The address that faces the controller faces the other nodes too, most likely.
          const facing = connection.localAddress ? [connection.localAddress] : []
          const addresses = [...new Set([...facing, ...ownAddresses()])]
          resolve(serve(link, message, addresses, scope, options))
          return
        }
        link.close()
        if (message.kind === 'refused') reject(fromWire(message.error))
        else refused('it did not welcome this agent')
      },
      closed: refused,
    })
    scope.onEnd('the link to the controller', () => link.close())
    const { version, node = -1, names } = options
    link.send({ kind: 'hello', version, node, names: [...names] })
  })
}

function serve(
  link: Link,
  { node, window, count, width, patience }: Message & { kind: 'welcome' },
  addresses: readonly string[],
  scope: Scope,
  { makeWorker, log, invitation: { key } }: AgentOptions,
): Agent {
  const tree = { count, width }
  link.bear(patience)
  const exchange = new AgentExchange(node, tree, link)
  const valve = new OutputValve(window, (hold) => worker.holdOutput(hold))
  const calls = new Map<number, AbortController>()
  let stopped = false
  const over = Promise.withResolvers<void>()
  over.promise.catch(() => {})

  const emit = (event: NodeEvent): void => {
    if (event.kind === 'output') {
      const { task, stream, data } = event
      valve.output(data.length, () => link.send({ kind: 'output', task, stream }, [data]))
      return
    }
    const send = () => link.send({ kind: 'event', event: eventToWire(event) })
    // What a rank wrote comes before its end.
    if (event.kind === 'ended' || event.kind === 'failed') valve.after(send)
    else send()
  }
  const worker = makeWorker({ scope, exchange, emit })
  scope.onEnd('the guests of this node', () => (stopped ? undefined : worker.stop()))
  const place = takePlace({ scope, node, tree, key, exchange, control: link, addresses, patience, log })

  function call(id: number, method: string, args: readonly unknown[]): void {
    const abort = new AbortController()
    calls.set(id, abort)
    perform(worker, method, args, AbortSignal.any([abort.signal, scope.signal]))
      .then(
        () => {
          stopped ||= method === 'stop'
          link.send({ kind: 'done', id })
        },
        (error) => link.send({ kind: 'done', id, error: toWire(error) }),
      )
      .finally(() => calls.delete(id))
  }

  function take(message: Message, body: Buffer): void {
    switch (message.kind) {
      case 'call':
        call(message.id, message.method, decodeArguments(message, body))
        break
      case 'abort':
        calls.get(message.id)?.abort(fromWire(message.error))
        break
      case 'input': {
        const { task } = message
        const taken = () => link.send({ kind: 'input-taken', task, bytes: body.length })
        worker.write(task, body).then(taken, taken)
        break
      }
      case 'input-end':
        worker.endInput(message.task)
        break
      case 'end':
        worker.end(message.graceMs)
        break
      case 'signal':
        worker.signal(message.signal as NodeJS.Signals, message.all ? 'all' : message.tasks)
        break
      case 'credit':
        valve.addCredit(message.bytes)
        break
      default:
        if (!exchange.take(message, body) && !place.take(message))
          throw new Error(`the controller sent ${message.kind}`)
    }
  }

  link.listen({
    message: take,
    closed(why) {
      if (stopped) {
        scope.end().then(over.resolve)
        return
      }
      const error = new LeetError({
        code: 'LEET_E_CONTROLLER_LOST',
        what: 'the controller of the job is gone',
        why,
      })
      log.warn(`${error.message}; ending the guests of this node`)
      exchange.detach(error)
      scope.fail(error)
      scope.end(Deadline.after(STOP_MS)).then(() => over.reject(error))
    },
  })
  return {
    ended: over.promise,
    signalled: (signal) => link.send({ kind: 'signalled', signal }),
  }
}

// The arguments come from a controller of this very version, which has them from its own types.
async function perform(
  worker: NodeWorker,
  method: string,
  args: readonly unknown[],
  signal: AbortSignal,
): Promise<void> {
  switch (method) {
    case 'reserve': {
      const [plan, node] = args as [BootOrder['plan'], number]
      return worker.reserve(plan, node, signal)
    }
    case 'boot': {
      const [plan, own] = args as [BootOrder['plan'], Omit<BootOrder, 'plan'>]
      return worker.boot({ plan, ...own }, signal)
    }
    case 'prove':
      return worker.prove(signal)
    case 'openJob':
      return worker.openJob(...(args as [JobLayout, Preput[]]))
    case 'start': {
      const [job, ...packed] = args as [string, ...Parameters<typeof unpackOrders>]
      return worker.start(job, unpackOrders(...packed))
    }
    case 'collect':
      return worker.collect(signal)
    case 'merge':
      return worker.merge(signal)
    case 'stop':
      return worker.stop()
    default:
      throw new LeetError({ code: 'LEET_E_LINK', what: `the controller asked for "${method}"` })
  }
}
