// A controller's hub and agents with simulated nodes in this process, joined by real sockets over loopback.
import { Deadline, type LeetError, type Scope, silentLog } from '../../../common/index.ts'
import { type Agent, startAgent } from '../../../launcher/agents/agent.ts'
import { type AgentHub, startHub } from '../../../launcher/agents/hub.ts'
import type { NodeEvent } from '../../../launcher/node/worker.ts'
import type { RankReport } from '../../../mpi-bridge/index.ts'
import { openScope } from '../../support/scope.ts'
import { type SimulatedWorker, simulateWorker } from '../../support/simulated-worker.ts'

export const VERSION = '1.2.3'
export const limits = () => ({ deadline: Deadline.after(50_000) })
export const never = new AbortController().signal

/** A hub, and what it told. */
export interface ObservedHub extends AgentHub {
  /** With which it ends, and the agents that were connected to it. */
  readonly scope: Scope
  readonly events: { node: number; event: NodeEvent }[]
  readonly reports: RankReport[]
  readonly lost: { node: number; error: LeetError }[]
  readonly signals: { node: number; signal: NodeJS.Signals }[]
}

export async function observedHub(nodes: readonly string[], width = 32): Promise<ObservedHub> {
  const seen = { events: [], reports: [], lost: [], signals: [] } as Pick<
    ObservedHub,
    'events' | 'reports' | 'lost' | 'signals'
  >
  const scope = openScope()
  const hub = await startHub({
    scope: scope.child('the hub'),
    nodes,
    version: VERSION,
    log: silentLog,
    onReport: (report) => seen.reports.push(report),
    onEvent: (node, event) => seen.events.push({ node, event }),
    onLost: (node, error) => seen.lost.push({ node, error }),
    onSignal: (node, signal) => seen.signals.push({ node, signal }),
    addresses: ['127.0.0.1'],
    width,
  })
  return { ...hub, scope, ...seen }
}

/** An agent and its simulated node. */
export interface ObservedAgent {
  readonly agent: Agent
  readonly worker: SimulatedWorker
}

export async function connectAgent(
  hub: AgentHub,
  names: readonly string[],
  more: { node?: number; version?: string } = {},
): Promise<ObservedAgent> {
  let worker: SimulatedWorker | undefined
  const agent = await startAgent({
    scope: openScope(),
    invitation: hub.invitation,
    version: VERSION,
    names,
    ...more,
    log: silentLog,
    deadline: Deadline.after(50_000),
    makeWorker: (context) => {
      worker = simulateWorker(context)
      return worker
    },
  })
  return { agent, worker: worker as SimulatedWorker }
}

/** A hub with an agent on each of `count` nodes `n0`…, all connected. */
export async function connectedHub(
  count: number,
  width?: number,
): Promise<{ hub: ObservedHub; agents: ObservedAgent[] }> {
  const names = Array.from({ length: count }, (_, n) => `n${n}`)
  const hub = await observedHub(names, width)
  const agents = await Promise.all(names.map((name) => connectAgent(hub, [name])))
  await hub.ready(limits())
  return { hub, agents }
}
