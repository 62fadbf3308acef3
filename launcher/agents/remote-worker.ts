// A node of the job as the controller sees it when its worker is in an agent: the same calls, over a link.
import { abortReason, Deadline, LeetError, waitFor } from '../../common/index.ts'
import type { JobLayout, Preput } from '../../mpi-bridge/index.ts'
import type { BootOrder, NodeEvent, NodeWorker, RankOrder } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'
import { encodeArguments, packOrders, shared } from './arguments.ts'
import type { Link } from './link.ts'
import { type CallMethod, fromWire, type Message, toWire } from './messages.ts'

/** Input of a task that may be on its way, in bytes. */
const INPUT_WINDOW = 256 * 1024
/** How long an agent may take to end what is on its node: longer than it gives its guests. */
const STOP_MS = 20_000

interface Call {
  resolve(): void
  reject(error: Error): void
}

/** A NodeWorker whose calls go to an agent. The hub gives it its link and the messages that are for it. */
export class RemoteWorker implements NodeWorker {
  readonly #node: string
  readonly #emit: (event: NodeEvent) => void
  readonly #calls = new Map<number, Call>()
  /** Bytes of input on their way, and who waits for them to become fewer, by task. */
  readonly #input = new Map<number, { bytes: number; waiting: (() => void)[] }>()
  #link: Link | undefined
  #lost: LeetError | undefined
  #nextCall = 0
  #window = 0
  /** Bytes of output that were taken and for which the agent has no credit yet. */
  #owed = 0
  #held = false

  /** `node` is the name of the node, `emit` hears what happens on it. */
  constructor(node: string, emit: (event: NodeEvent) => void) {
    this.#node = node
    this.#emit = emit
  }

  /** The agent is there; it may send `window` bytes of output before it needs credit. */
  attach(link: Link, window: number): void {
    this.#link = link
    this.#window = window
  }

  /** The agent is gone: all that was asked of it fails with `error`, all that will be too. */
  detach(error: LeetError): void {
    this.#link = undefined
    this.#lost = error
    for (const call of this.#calls.values()) call.reject(error)
    this.#calls.clear()
    for (const { waiting } of this.#input.values()) for (const resolve of waiting) resolve()
    this.#input.clear()
  }

  reserve(plan: JobPlan, node: number, signal: AbortSignal): Promise<void> {
    return this.#abortable('reserve', [shared(plan), node], signal)
  }

  boot(order: BootOrder, signal: AbortSignal): Promise<void> {
    const { plan, ...own } = order
    return this.#abortable('boot', [shared(plan), own], signal)
  }

  prove(signal: AbortSignal): Promise<void> {
    return this.#abortable('prove', [], signal)
  }

  openJob(layout: JobLayout, preput: readonly Preput[]): Promise<void> {
    return this.#call('openJob', [shared(layout), preput])
  }

  start(job: string, ranks: readonly RankOrder[]): Promise<void> {
    return this.#call('start', [job, ...packOrders(ranks)])
  }

  // Also when the signal has fired: only the node knows what is kept there.
  collect(signal: AbortSignal): Promise<void> {
    return this.#call('collect', [], signal)
  }

  merge(signal: AbortSignal): Promise<void> {
    return this.#call('merge', [], signal)
  }

  async stop(): Promise<void> {
    // What is gone has stopped: agents end their node when they lose the controller.
    if (!this.#link) return
    const limits = { deadline: Deadline.after(STOP_MS) }
    await waitFor(this.#call('stop', []), limits, { what: 'the agent to end its guests', where: this.#node })
  }

  async write(task: number, data: Uint8Array): Promise<void> {
    if (!this.#link) return
    this.#link.send({ kind: 'input', task }, [data])
    const input = this.#input.get(task) ?? { bytes: 0, waiting: [] }
    this.#input.set(task, input)
    input.bytes += data.length
    if (input.bytes >= INPUT_WINDOW) await new Promise<void>((resolve) => input.waiting.push(resolve))
  }

  endInput(task: number): void {
    this.#link?.send({ kind: 'input-end', task })
  }

  end(graceMs: number): void {
    this.#link?.send({ kind: 'end', graceMs })
  }

  signal(signal: NodeJS.Signals, tasks: readonly number[] | 'all'): void {
    const all = tasks === 'all'
    this.#link?.send({ kind: 'signal', signal, tasks: all ? [] : [...tasks], all })
  }

  // The agent holds its ranks back by itself when it gets no more credit.
  holdOutput(hold: boolean): void {
    this.#held = hold
    this.#giveCredit()
  }

  /** Takes a message of the agent; false when it is not for a worker. */
  take(message: Message, body: Buffer): boolean {
    switch (message.kind) {
      case 'done': {
        const call = this.#calls.get(message.id)
        this.#calls.delete(message.id)
        if (message.error) call?.reject(fromWire(message.error, this.#node))
        else call?.resolve()
        return true
      }
      case 'output':
        this.#emit({
          kind: 'output',
          task: message.task,
          stream: message.stream === 'stderr' ? 'stderr' : 'stdout',
          data: body,
        })
        this.#owed += body.length
        this.#giveCredit()
        return true
      case 'event':
        this.#emit(eventFromWire(message.event, this.#node))
        return true
      case 'input-taken': {
        const input = this.#input.get(message.task)
        if (!input) return true
        input.bytes -= message.bytes
        if (input.bytes < INPUT_WINDOW) for (const resolve of input.waiting.splice(0)) resolve()
        return true
      }
      default:
        return false
    }
  }

  #giveCredit(): void {
    if (this.#held || this.#owed < this.#window / 4) return
    this.#link?.send({ kind: 'credit', bytes: this.#owed })
    this.#owed = 0
  }

  /** A call that is not begun once the signal has fired, and then fails with its reason whatever the node says. */
  async #abortable(method: CallMethod, args: readonly unknown[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await this.#call(method, args, signal).catch((error) => {
      throw signal.aborted ? abortReason(signal) : error
    })
  }

  #call(method: CallMethod, args: readonly unknown[], signal?: AbortSignal): Promise<void> {
    const link = this.#link
    return new Promise<void>((resolve, reject) => {
      if (!link) return reject(this.#lost ?? absent(this.#node))
      const id = this.#nextCall++
      // The agent ends the call when it can; how it ended is its answer.
      const onAbort = () =>
        link.send({ kind: 'abort', id, error: toWire(abortReason(signal as AbortSignal)) })
      const settled =
        <T extends unknown[]>(settle: (...result: T) => void) =>
        (...result: T) => {
          signal?.removeEventListener('abort', onAbort)
          settle(...result)
        }
      this.#calls.set(id, { resolve: settled(resolve), reject: settled(reject) })
      const { sizes, packed, body } = encodeArguments(args)
      link.send({ kind: 'call', id, method, sizes, packed }, body)
      if (signal?.aborted) onAbort()
      else signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

/** An event that travels as JSON. */
export function eventToWire(event: Exclude<NodeEvent, { kind: 'output' }>): object {
  return 'error' in event ? { ...event, error: toWire(event.error) } : event
}

function eventFromWire(event: object, node: string): NodeEvent {
  return ('error' in event ? { ...event, error: fromWire(event.error, node) } : event) as NodeEvent
}

function absent(node: string): LeetError {
  return new LeetError({ code: 'LEET_E_AGENT_LOST', what: 'there is no agent on this node', where: node })
}
