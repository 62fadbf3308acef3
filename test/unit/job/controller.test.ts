// How a job ends whose ranks do not.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { createController } from '../../../launcher/job/controller.ts'
import type { JobPlan } from '../../../launcher/plan/plan.ts'
import { createLocalExchange } from '../../../mpi-bridge/index.ts'
import { scopePerTest } from '../../support/scope.ts'
import { type SimulatedWorker, simulateWorker } from '../../support/simulated-worker.ts'

const PLAN: JobPlan = {
  jobId: 'test',
  guestKind: 'linux',
  hypervisor: { kind: 'qemu' },
  scheduler: 'bare',
  nodes: [{ name: 'node', slots: 2, cpus: 2, memory: 2 ** 30 }],
  guests: [{ index: 0, name: 'g0', node: 0, cpus: 2, memory: 2 ** 28, ranks: [0, 1] }],
  programs: [{ argv: ['solver'], ranks: 2, workDir: '/nfs/case', exports: [], inherits: true, mpi: 'mpich' }],
  size: 2,
  stdin: 'none',
  environmentEdits: [],
  mounts: [],
  network: { mode: 'local', subnet: '10.77.0.0/16' },
  staging: {},
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
const INTERRUPT = new LeetError({ code: 'LEET_E_SIGNAL', what: 'ended by SIGINT', exitCode: 130 })

describe('a controller that ends its job', () => {
  const scope = scopePerTest()
  let worker: SimulatedWorker
  const start = async () => {
    const exchange = createLocalExchange(() => {})
    worker = simulateWorker({ scope: scope(), exchange, emit: (event) => controller.onNodeEvent(0, event) })
    const controller = createController({
      plan: PLAN,
      workers: [worker],
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
    const cancel = new AbortController()
    const outcome = controller.run(cancel.signal)
    await vi.waitFor(() => expect(worker.calls.map(({ method }) => method)).toContain('start'))
    return { cancel, outcome, controller }
  }
  /** The milliseconds for last words that the node was told. */
  const graces = () => worker.calls.filter(({ method }) => method === 'end').map(({ args }) => args[0])

  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('has its nodes end the ranks, and waits for the last of them', async () => {
    const { cancel, outcome, controller } = await start()
    cancel.abort(INTERRUPT)
    expect(graces()).toEqual([1_000])
    await vi.advanceTimersByTimeAsync(10)
    worker.context.emit({ kind: 'ended', task: 0, end: { kind: 'signal', signal: 15, core: false } })
    controller.hurry()
    controller.hurry()
    expect(graces()).toEqual([1_000, 0])
    worker.context.emit({ kind: 'ended', task: 1, end: { kind: 'signal', signal: 9, core: false } })
    expect(await outcome).toMatchObject({ status: 130 })
  })

  it('gives up those that not even SIGKILL ends, and says which', async () => {
    const { cancel, outcome } = await start()
    cancel.abort(INTERRUPT)
    await vi.advanceTimersByTimeAsync(10)
    worker.context.emit({ kind: 'ended', task: 0, end: { kind: 'signal', signal: 15, core: false } })
    await vi.advanceTimersByTimeAsync(6_000)
    const { status, ranks, summary } = await outcome
    expect(status).toBe(130)
    expect(summary).toEqual([expect.stringContaining('ended by SIGINT')])
    expect(ranks.map(({ reason }) => reason)).toEqual(['ended by leet', 'did not end within 5 s of SIGKILL'])
  })
})
