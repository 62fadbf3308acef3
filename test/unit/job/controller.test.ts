// How a job ends whose ranks do not.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { abortReason, LeetError } from '../../../common/index.ts'
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
  const KEPT = { code: 'LEET_E_STAGING', what: 'not all brought back', hint: 'they are in /kept' } as const
  /** Runs two guests; `end` is the end of all their ranks. */
  const start = async () => {
    const plan = { ...planOf([[0], [1]]), guestKind: 'osv' as const }
    const { controller, node, tell } = simulateJob(plan, scope())
    const cancel = new AbortController()
    const outcome = controller.run(cancel.signal)
    await vi.waitFor(() => expect(callsOf(node(1))).toContain('start'))
    const end = () => {
      for (const task of [0, 1]) {
        tell(task, { kind: 'began', task, pid: 1 })
        tell(task, { kind: 'ended', task, end: { kind: 'exit', status: 0 } })
      }
    }
    /** Each node gives up when it is told to, and says what it keeps; resolves once the first was asked. */
    const keep = (what: 'collect' | 'merge') => {
      const asked = Promise.withResolvers<void>()
      for (const index of [0, 1]) {
        node(index).answers[what] = async (signal) => {
          asked.resolve()
          if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
          throw new LeetError({ ...KEPT, where: `g${index}`, why: abortReason(signal).message })
        }
      }
      return asked.promise
    }
    return { controller, node, cancel, outcome, end, keep }
  }

  it('has one node after the other merge them, and tells of all that went wrong', async () => {
    const { node, outcome, end } = await start()
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
    end()
    await expect(outcome).rejects.toMatchObject({
      details: { where: 'g0', also: [{ where: 'g1', code: 'LEET_E_RESULTS' }] },
    })
    expect(merging).toEqual([0, 1])
  })

  it('has them brought back when it was ended before', async () => {
    const { node, cancel, outcome, end } = await start()
    const aborted: boolean[] = []
    for (const index of [0, 1]) {
      node(index).answers.merge = async (signal) => void aborted.push(signal.aborted)
    }
    cancel.abort(INTERRUPT)
    end()
    expect(await outcome).toMatchObject({ status: 130 })
    expect(aborted).toEqual([false, false])
  })

  it.each(['collect', 'merge'] as const)(
    'names all that is kept when it is ended at its %s',
    async (what) => {
      const { cancel, outcome, end, keep } = await start()
      const asked = keep(what)
      end()
      await asked
      cancel.abort(INTERRUPT)
      const kept = { ...KEPT, why: 'ended by SIGINT' }
      await expect(outcome).rejects.toMatchObject({
        exitCode: 130,
        details: {
          what: 'ended by SIGINT',
          also: [
            { ...kept, where: 'g0' },
            { ...kept, where: 'g1' },
          ],
        },
      })
    },
  )

  it.each(['collect', 'merge'] as const)('names it when it is ended again at its %s', async (what) => {
    const { controller, cancel, outcome, end, keep } = await start()
    const asked = keep(what)
    cancel.abort(INTERRUPT)
    // That is for the ranks, and leaves results their time.
    controller.hurry()
    end()
    await asked
    controller.hurry()
    const { status, summary } = await outcome
    expect(status).toBe(130)
    expect(summary.filter((line) => line.includes(KEPT.code))).toEqual(
      ['g0', 'g1'].map((name) => expect.stringMatching(new RegExp(`^${name}: .*a second time.*\n.*/kept$`))),
    )
  })
})
