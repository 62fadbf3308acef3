// How a job ends whose ranks do not.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { scopePerTest } from '../../support/scope.ts'
import type { SimulatedWorker } from '../../support/simulated-worker.ts'
import { callsOf, planOf, simulateJob } from './simulated-job.ts'

const INTERRUPT = new LeetError({ code: 'LEET_E_SIGNAL', what: 'ended by SIGINT', exitCode: 130 })

describe('a controller that ends its job', () => {
  const scope = scopePerTest()
  let worker: SimulatedWorker
  const start = async () => {
    const { controller, node } = simulateJob(planOf([[0, 1]]), scope())
    worker = node(0)
    const cancel = new AbortController()
    const outcome = controller.run(cancel.signal)
    await vi.waitFor(() => expect(callsOf(worker)).toContain('start'))
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

describe('a controller whose guests have results', () => {
  const scope = scopePerTest()

  it('has one node after the other merge them, and tells of all that went wrong', async () => {
    const plan = { ...planOf([[0], [1]]), guestKind: 'osv' as const }
    const { controller, node, tell } = simulateJob(plan, scope())
    const merging: number[] = []
    let busy = 0
    for (const index of [0, 1]) {
      node(index).answers.merge = async () => {
        merging.push(index)
        expect(++busy).toBe(1)
        await Promise.resolve()
        busy--
        throw new LeetError({ code: 'LEET_E_RESULTS', what: 'changed twice', where: `g${index}` })
      }
    }
    const outcome = controller.run(new AbortController().signal)
    await vi.waitFor(() => expect(callsOf(node(1))).toContain('start'))
    for (const task of [0, 1]) {
      tell(task, { kind: 'began', task, pid: 1 })
      tell(task, { kind: 'ended', task, end: { kind: 'exit', status: 0 } })
    }
    await expect(outcome).rejects.toMatchObject({
      details: { where: 'g0', also: [{ where: 'g1', code: 'LEET_E_RESULTS' }] },
    })
    expect(merging).toEqual([0, 1])
  })
})
