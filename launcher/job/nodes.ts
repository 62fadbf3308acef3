// The nodes of a job at the controller's hand: this process alone when the job is on this node, else one agent on each
// node, started by the scheduler so that it ends them with the job.
import { hostname } from 'node:os'
import type { LeetError, Log, WaitLimits } from '../../common/index.ts'
import { createLocalExchange, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import { type Allocation, nodeOfThisProcess } from '../../scheduler-adapters/index.ts'
import type { Journal } from '../journal/journal.ts'
import { createLocalWorker } from '../node/local-worker.ts'
import type { NodeEvent, NodeWorker } from '../node/worker.ts'
import { hasDevices } from '../plan/devices.ts'
import type { JobPlan } from '../plan/plan.ts'
import { version } from '../plan/version.ts'
import type { AgentStarters } from './agent-starters.ts'

/** What the nodes are opened with. */
export interface NodesContext {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly journal: Journal
  readonly log: Log
  /** In a batch job work through agents even on this node: they are steps of the job, and end with it. */
  readonly asSteps?: boolean
  readonly onReport: (report: RankReport) => void
  readonly onEvent: (node: number, event: NodeEvent) => void
  /** A node, or its agent, is gone. */
  readonly onLost: (node: number, error: LeetError) => void
  /** The scheduler sent a signal to an agent. */
  readonly onSignal: (node: number, signal: NodeJS.Signals) => void
}

/** The nodes of a job. */
export interface JobNodes {
  readonly workers: readonly NodeWorker[]
  readonly exchange: Exchange
  /** Ends what was started to reach the nodes; workers were stopped before. */
  close(): Promise<void>
}

/** Opens the nodes of a plan; resolves when each can be worked with. */
export async function openNodes(context: NodesContext, limits: WaitLimits): Promise<JobNodes> {
  const asSteps = context.asSteps && context.allocation.jobId !== undefined
  return isHere(context) && !asSteps ? openThisNode(context) : openAgents(context, limits)
}

/** Whether the whole job is on this node. */
export function isHere({ plan, allocation }: Pick<NodesContext, 'plan' | 'allocation'>): boolean {
  const here = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })
  return plan.nodes.length === 1 && here !== undefined && here.name === plan.nodes[0]?.name
}

/** Whether ranks may find a fabric or an accelerator. Of other nodes nothing is known, guests have none. */
export function mayHaveDevices(context: Pick<NodesContext, 'plan' | 'allocation'>): boolean {
  return context.plan.guestKind === 'host' && (!isHere(context) || hasDevices())
}

function openThisNode({ journal, log, onReport, onEvent }: NodesContext): JobNodes {
  const exchange = createLocalExchange(onReport)
  const worker = createLocalWorker({ exchange, journal, log, emit: (event) => onEvent(0, event) })
  return { exchange, workers: [worker], close: async () => {} }
}

async function openAgents(context: NodesContext, limits: WaitLimits): Promise<JobNodes> {
  const { plan, log } = context
  const [{ startHub }, { startAgents }] = await Promise.all([
    import('../agents/hub.ts'),
    import('./agent-starters.ts'),
  ])
  const hub = await startHub({
    nodes: plan.nodes.map((node) => node.name),
    width: plan.treeWidth,
    patienceMs: plan.limits.silence,
    version: version(),
    log,
    onReport: context.onReport,
    onEvent: context.onEvent,
    onLost: context.onLost,
    onSignal: context.onSignal,
  })
  let starters: AgentStarters | undefined
  try {
    starters = await startAgents(context, hub.invitation, limits)
    const signals = [starters.failed, ...(limits.signal ? [limits.signal] : [])]
    await hub.ready({ deadline: limits.deadline, signal: AbortSignal.any(signals) })
  } catch (error) {
    await hub.close()
    await starters?.close()
    throw error
  } finally {
    starters?.forgetSecret()
  }
  return {
    workers: hub.workers,
    exchange: hub.exchange,
    async close() {
      await hub.close()
      await starters.close()
    },
  }
}
