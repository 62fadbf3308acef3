// A node behind an agent, whose answers are a test's.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Link } from '../../../launcher/agents/link.ts'
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
})
