// The nodes of a job at the controller's hand: this process alone when the job is on this node, else one agent on each
// node, started by the scheduler so that it ends them with the job.
import { hostname } from 'node:os'
import type { LeetError, Log, Scope, WaitLimits } from '../../common/index.ts'
import { createLocalExchange, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import { type Allocation, nodeOfThisProcess } from '../../scheduler-adapters/index.ts'
import type { Journal } from '../journal/journal.ts'
import { createLocalWorker } from '../node/local-worker.ts'
import type { NodeEvent, NodeWorker } from '../node/worker.ts'
import { hasDevices } from '../plan/devices.ts'
import type { JobPlan } from '../plan/plan.ts'
import { version } from '../plan/version.ts'

/** What the nodes are opened with. */
export interface NodesContext {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly journal: Journal
  readonly log: Log
  /** With which the nodes end, and what was started to reach them. */
  readonly scope: Scope
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

function openThisNode({ journal, log, scope, onReport, onEvent }: NodesContext): JobNodes {
  const exchange = createLocalExchange(onReport)
  const emit = (event: NodeEvent) => onEvent(0, event)
  const worker = createLocalWorker({ exchange, journal, log, scope, emit })
  return { exchange, workers: [worker] }
}

async function openAgents(context: NodesContext, limits: WaitLimits): Promise<JobNodes> {
  const { plan, log } = context
  // The links end first, which ends the agents.
  const agents = context.scope.child('the agents')
  const links = context.scope.child('the links to the agents')
  const [{ startHub }, { startAgents }] = await Promise.all([
    import('../agents/hub.ts'),
    import('./agent-starters.ts'),
  ])
  const hub = await startHub({
    scope: links,
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
  const starters = await startAgents({ ...context, scope: agents }, hub.invitation, limits)
  // An agent that does not start fails their scope.
  await hub.ready(agents.within(limits)).finally(starters.forgetSecret)
  return hub
}
