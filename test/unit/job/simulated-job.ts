// A controller with nodes that start no process: a test tells what happens there.
import type { Scope } from '../../../common/index.ts'
import { type Controller, createController } from '../../../launcher/job/controller.ts'
import type { NodeEvent } from '../../../launcher/node/worker.ts'
import type { JobPlan, PlanProgram } from '../../../launcher/plan/plan.ts'
import { createLocalExchange, type Exchange, type JobLayout } from '../../../mpi-bridge/index.ts'
import { type SimulatedWorker, simulateWorker } from '../../support/simulated-worker.ts'

/** A job as a test sees it. */
export interface SimulatedJob {
  readonly controller: Controller
  readonly exchange: Exchange
  node(index: number): SimulatedWorker
  /** A node tells something. */
  tell(node: number, event: NodeEvent): void
}

/** A plan with one guest on each node, which has these ranks. */
export function planOf(
  ranksOfNodes: readonly (readonly number[])[],
  { mpi = 'mpich', stdin = 'none' }: { mpi?: PlanProgram['mpi']; stdin?: JobPlan['stdin'] } = {},
): JobPlan {
  const size = ranksOfNodes.flat().length
  return {
    jobId: 'test',
    guestKind: 'linux',
    hypervisor: { kind: 'qemu' },
    scheduler: 'bare',
    nodes: ranksOfNodes.map(({ length }, node) => ({
      ...{ name: `node${node}`, slots: length, cpus: length, memory: 2 ** 30 },
    })),
    guests: ranksOfNodes.map((ranks, node) => ({
      ...{ index: node, name: `g${node}`, node, cpus: ranks.length, memory: 2 ** 28, ranks },
    })),
    programs: [{ argv: ['solver'], ranks: size, workDir: '/nfs/case', exports: [], inherits: true, mpi }],
    size,
    stdin,
    environmentEdits: [],
    mounts: [],
    network: { mode: 'local', subnet: '10.77.0.0/16' },
    staging: { when: 'auto', add: [] },
    finalizeRescue: false,
    pinning: 'no',
    user: {
      name: 'user',
      uid: 1000,
      group: 'user',
      gid: 1000,
      groups: [1000],
      home: '/home/user',
      shell: '/bin/sh',
    },
    treeWidth: 32,
    limits: { boot: 60_000, run: undefined, patience: 10_000, retries: 0, silence: 120_000 },
  }
}

/** Makes the job; nothing is started yet. */
export function simulateJob(plan: JobPlan, scope: Scope): SimulatedJob {
  const exchange = createLocalExchange((report) => controller.onReport(report))
  const workers = plan.nodes.map((_, node) =>
    simulateWorker({ scope, exchange, emit: (event) => controller.onNodeEvent(node, event) }),
  )
  const controller = createController({
    plan,
    workers,
    exchange,
    bootOrder: () => {
      throw new Error('nothing is booted')
    },
    environmentOf: () => ({}),
    onEvent() {},
    onOutput() {},
    onTaskEnd() {},
    onEnding() {},
  })
  return {
    controller,
    exchange,
    node: (index) => workers[index] as SimulatedWorker,
    tell: (node, event) => controller.onNodeEvent(node, event),
  }
}

/** The names of what a node was asked, in order. */
export const callsOf = ({ calls }: SimulatedWorker): string[] => calls.map(({ method }) => method)

/** The name under which ranks join the job, once the node has been told of it. */
export function idOf({ calls }: SimulatedWorker): string {
  const [layout] = calls.find(({ method }) => method === 'openJob')?.args ?? []
  return (layout as JobLayout).id
}
