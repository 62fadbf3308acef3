// A node that starts no process: it answers calls at once, records them, and tells what a test has it tell.
import type { NodeWorker, WorkerContext } from '../../launcher/node/worker.ts'

/** A simulated node: what it was asked, and the way to make it tell something. */
export interface SimulatedWorker extends NodeWorker {
  readonly context: WorkerContext
  /** Calls in the order in which they came, as `method(arguments)`. */
  readonly calls: { readonly method: string; readonly args: readonly unknown[] }[]
  /** Bytes of input by task, and whether it has ended. */
  readonly input: Map<number, { data: Buffer[]; ended: boolean }>
  held: boolean
  /** Replaces the answer to a call. */
  answers: Partial<
    Record<'boot' | 'start' | 'collect' | 'merge' | 'stop', (signal: AbortSignal) => Promise<void>>
  >
  /** Replaces how input is taken. */
  takeInput: (task: number, data: Uint8Array) => Promise<void>
}

/** Makes a simulated node. */
export function simulateWorker(context: WorkerContext): SimulatedWorker {
  const never = new AbortController().signal
  const inputOf = (task: number) => {
    const input = worker.input.get(task) ?? { data: [], ended: false }
    worker.input.set(task, input)
    return input
  }
  const note = (method: string, ...args: unknown[]) => {
    worker.calls.push({ method, args })
  }
  const worker: SimulatedWorker = {
    context,
    calls: [],
    input: new Map(),
    held: false,
    answers: {},
    takeInput: async (task, data) => {
      inputOf(task).data.push(Buffer.from(data))
    },
    async reserve(plan, node) {
      note('reserve', plan, node)
    },
    async boot(order, signal) {
      note('boot', order)
      await worker.answers.boot?.(signal)
    },
    async prove() {
      note('prove')
    },
    async openJob(layout, preput) {
      note('openJob', layout, preput)
    },
    async start(job, ranks) {
      note('start', job, ranks)
      await worker.answers.start?.(never)
    },
    write: (task, data) => worker.takeInput(task, data),
    endInput(task) {
      inputOf(task).ended = true
    },
    end: (graceMs) => note('end', graceMs),
    signal: (signal, tasks) => note('signal', signal, tasks),
    holdOutput(hold) {
      worker.held = hold
    },
    async collect(signal) {
      note('collect')
      await worker.answers.collect?.(signal)
    },
    async merge(signal) {
      note('merge')
      await worker.answers.merge?.(signal)
    },
    async stop() {
      note('stop')
      await worker.answers.stop?.(never)
    },
  }
  return worker
}
