// Ranks that are handed over to their nodes: input that comes before they are there, nodes that are lost meanwhile, spawned ranks
// that cannot be started, and ranks of which nobody knew that they use MPI.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadline, LeetError } from '../../../common/index.ts'
import type { Outcome } from '../../../mpi-bridge/index.ts'
import { askSpawn } from '../../../mpi-bridge/spawn.ts'
import { scopePerTest } from '../../support/scope.ts'
import { callsOf, idOf, planOf, type SimulatedJob, simulateJob } from './simulated-job.ts'

const LOST = new LeetError({
  code: 'LEET_E_AGENT_LOST',
  what: 'the agent of this node is gone',
  where: 'node1',
})
const WELL = { kind: 'exit', status: 0 } as const
const KILLED = { kind: 'signal', signal: 15, core: false } as const
/** More than a job may take that is being ended. */
const LONG_MS = 60_000

const scope = scopePerTest()
beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Runs a job; its outcome, once there is one. */
function run({ controller }: SimulatedJob): { outcome?: Outcome } {
  const seen: { outcome?: Outcome } = {}
  controller.run(new AbortController().signal).then((outcome) => {
    seen.outcome = outcome
  })
  return seen
}

/** What has been begun gets on. */
const turn = () => vi.advanceTimersByTimeAsync(0)

describe('input that comes early', () => {
  it('reaches its rank, and so does its end, once the node has the rank', async () => {
    const job = simulateJob(planOf([[0]], { stdin: 0 }), scope())
    const worker = job.node(0)
    const handedOver = Promise.withResolvers<void>()
    worker.answers.start = () => handedOver.promise
    void job.controller.input.write(Buffer.from('early')).then(() => job.controller.input.end())
    run(job)
    await turn()
    expect(callsOf(worker)).toContain('start')
    expect(worker.input.size).toBe(0)
    handedOver.resolve()
    await turn()
    expect(worker.input.get(0)).toEqual({ data: [Buffer.from('early')], ended: true })
  })
})

describe('a job whose ranks cannot all be handed over', () => {
  it('ends when a node is lost before it knows of the job', async () => {
    const job = simulateJob(planOf([[0], [1]]), scope())
    job.node(1).openJob = () => Promise.reject(LOST)
    const seen = run(job)
    job.controller.onNodeLost(1, LOST)
    await vi.advanceTimersByTimeAsync(LONG_MS)
    expect(seen.outcome).toMatchObject({ status: 1, summary: [expect.stringContaining('node1: the agent')] })
    expect(callsOf(job.node(0))).not.toContain('start')
  })

  it('ends when a node is lost while the others start theirs', async () => {
    const job = simulateJob(planOf([[0], [1]]), scope())
    job.node(0).answers.start = () => new Promise(() => {})
    job.node(1).answers.start = () => Promise.reject(LOST)
    const seen = run(job)
    await turn()
    job.controller.onNodeLost(1, LOST)
    await vi.advanceTimersByTimeAsync(LONG_MS)
    expect(seen.outcome).toMatchObject({ status: 1 })
  })

  it('ends when spawned ranks are not started on all of their nodes, of which the caller hears', async () => {
    const job = simulateJob(planOf([[0], [1]]), scope())
    const seen = run(job)
    await turn()
    for (const node of [0, 1]) job.tell(node, { kind: 'began', task: node, pid: 1 })
    const refusal = new LeetError({ code: 'LEET_E_RANK_START', what: 'no more processes' })
    job.node(1).answers.start = () => Promise.reject(refusal)
    const commands = [{ argv: ['solver'], maxprocs: 2, env: {}, info: {} }]
    const asked = askSpawn(
      job.exchange,
      { job: idOf(job.node(0)), rank: 0, commands, preput: [] },
      { deadline: Deadline.never },
    )
    await expect(asked).rejects.toThrow('no more processes')
    for (const [task, node] of [
      [0, 0],
      [1, 1],
      [2, 0],
    ] as const) {
      job.tell(node, { kind: 'ended', task, end: KILLED })
    }
    await vi.advanceTimersByTimeAsync(LONG_MS)
    expect(seen.outcome?.status).toBeGreaterThan(0)
  })
})

describe('a program of which nobody knew that it uses MPI', () => {
  it('does as soon as one of its ranks joins, which would wait for one that has ended for ever', async () => {
    const job = simulateJob(planOf([[0, 1]], { mpi: 'none' }), scope())
    const seen = run(job)
    await turn()
    for (const task of [0, 1]) job.tell(0, { kind: 'began', task, pid: 1 })
    job.tell(0, { kind: 'ended', task: 1, end: WELL })
    job.exchange.report({ kind: 'connected', job: idOf(job.node(0)), rank: 0 })
    await vi.advanceTimersByTimeAsync(LONG_MS)
    expect(seen.outcome).toMatchObject({ ranks: [expect.anything(), expect.anything()] })
  })
})
