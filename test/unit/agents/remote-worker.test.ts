// A node behind an agent, whose answers are a test's.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import type { Link } from '../../../launcher/agents/link.ts'
import { type Message, toWire } from '../../../launcher/agents/messages.ts'
import { RemoteWorker } from '../../../launcher/agents/remote-worker.ts'

describe('a node behind an agent', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is given up when its agent does not say that all has ended', async () => {
    const worker = new RemoteWorker('node7', () => {})
    const sent: unknown[] = []
    worker.attach({ send: (message: unknown) => sent.push(message) } as unknown as Link, 0)
    const failed = vi.fn()
    worker.stop().catch(failed)
    expect(sent).toEqual([expect.objectContaining({ kind: 'call', method: 'stop' })])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(failed).toHaveBeenCalledWith(expect.objectContaining({ code: 'LEET_E_DEADLINE' }))
    expect(failed.mock.calls[0]?.[0].message).toMatch(/node7/)
  })

  it.each([
    ['collect', 'before it is asked'],
    ['collect', 'meanwhile'],
    ['merge', 'before it is asked'],
    ['merge', 'meanwhile'],
  ] as const)('says what is kept there when a job is ended: %s, %s', async (method, when) => {
    const worker = new RemoteWorker('node7', () => {})
    const sent: Message[] = []
    worker.attach({ send: (message: Message) => sent.push(message) } as unknown as Link, 0)
    const ended = new AbortController()
    const end = () => ended.abort(new LeetError({ code: 'LEET_E_SIGNAL', what: 'ended by SIGINT' }))
    if (when !== 'meanwhile') end()
    const answer = worker[method](ended.signal)
    if (when === 'meanwhile') end()
    expect(sent).toMatchObject([
      { kind: 'call', method, id: 0 },
      { kind: 'abort', id: 0 },
    ])
    const kept = new LeetError({
      code: 'LEET_E_STAGING',
      what: 'not all',
      where: 'g7',
      hint: 'they are there',
    })
    worker.take({ kind: 'done', id: 0, error: toWire(kept) }, Buffer.alloc(0))
    await expect(answer).rejects.toMatchObject({
      code: 'LEET_E_STAGING',
      details: { hint: 'they are there' },
    })
  })
})
