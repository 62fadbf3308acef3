// Fences over several nodes: what was put on one reaches the others, ranks leave together, failures end the wait.
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { silentLog } from '../../../common/index.ts'
import type { Exchange } from '../../../mpi-bridge/exchange.ts'
import { createLocalExchange } from '../../../mpi-bridge/local-exchange.ts'
import { PmiJob } from '../../../mpi-bridge/pmi/job.ts'
import { KeyValueSpace } from '../../../mpi-bridge/pmi/kvs.ts'
import { MessagePairs } from '../../../mpi-bridge/pmi/pairs.ts'
import { createExchangeNet } from '../../simulators/exchange-net.ts'
import { layoutOf, turn } from './pmi-sessions.ts'

afterEach(() => void vi.useRealTimers())

const jobsOn = (exchanges: readonly Exchange[], guests: readonly (readonly number[])[]) => {
  const layout = layoutOf('job', guests, { agents: exchanges.length })
  return exchanges.map((exchange) => new PmiJob(layout, [], exchange, silentLog, undefined))
}

describe('the key-value spaces of several nodes', () => {
  it('hold the same after each fence', () => {
    const word = fc.oneof(fc.stringMatching(/^[a-c]$/), fc.stringMatching(/^[ -~\x80-\xff]{0,9}$/))
    const puts = fc.array(fc.tuple(fc.nat(2), word, word), { maxLength: 12 })
    fc.assert(
      fc.property(fc.array(puts, { maxLength: 4 }), (rounds) => {
        const spaces = Array.from({ length: 3 }, () => new KeyValueSpace(true))
        const truth = new Map<string, string>()
        for (const [round, each] of rounds.entries()) {
          for (const [node, key, value] of each) {
            // Two nodes that put one key between two fences do not agree on who was last: nobody does that.
            spaces[node]?.put(node, `${node}${key}`, `${round}${value}`, 1)
            truth.set(`${node}${key}`, `${round}${value}`)
          }
          const fresh = spaces.map((space) => space.takeFresh())
          for (const [from, message] of fresh.entries()) {
            for (const [to, space] of spaces.entries()) if (from !== to) space.receive(message)
          }
          for (const space of spaces) for (const [key, value] of truth) expect(space.get(key)).toBe(value)
        }
      }),
    )
  })

  it('send each pair once', () => {
    const space = new KeyValueSpace(true)
    space.put(0, 'a', '1', 2)
    expect(Buffer.from(space.takeFresh()).toString()).toBe('a\x001')
    expect(space.takeFresh()).toHaveLength(0)
  })

  it('let a later put of another node win over an earlier local one', () => {
    const space = new KeyValueSpace(true)
    space.put(0, 'a', 'ours', 5)
    space.receive(Buffer.from('b\0x\0a\0theirs'))
    expect([space.get('a'), space.get('b'), space.get('')]).toEqual(['theirs', 'x', undefined])
  })

  it('find every pair among many, the latest of each key', () => {
    const pairs = new MessagePairs()
    const truth = new Map<string, string>()
    for (let message = 0; message < 5; message++) {
      const words: string[] = []
      for (let nth = 0; nth < 3000; nth++) {
        const [key, value] = [`key-${(nth * 7919 + message) % 5000}`, `${message}/${nth}`]
        words.push(key, value)
        truth.set(key, value)
      }
      expect(pairs.add(Buffer.from(words.join('\0')))).toBe(message + 1)
    }
    expect(truth.size).toBe(5000)
    for (const [key, value] of truth) expect(pairs.get(key)).toBe(value)
    for (const key of ['', 'key-', 'key-5000', 'ey-1', 'key-1\0']) expect(pairs.get(key)).toBeUndefined()
  })

  it('let a later local put win over what came before', () => {
    const space = new KeyValueSpace(true)
    space.receive(Buffer.from('a\0theirs'))
    space.put(0, 'a', 'ours', 5)
    expect(space.get('a')).toBe('ours')
  })
})

describe('a fence', () => {
  it('ends on all nodes when the last rank of the last node enters', async () => {
    const jobs = jobsOn(
      createExchangeNet(3, () => {}),
      [[0, 1], [2], [3], [4]],
    )
    const nodeOf = [0, 0, 1, 2, 0]
    const out: number[] = []
    for (const rank of [3, 0, 4, 2]) {
      const job = jobs[nodeOf[rank] as number] as PmiJob
      job.kvs.put(rank, `key-${rank}`, `of ${rank}`, 1)
      expect(job.enterFence(rank, 1, () => out.push(rank))).toBe(true)
    }
    await turn()
    expect(out).toEqual([])
    jobs[0]?.enterFence(1, 1, () => out.push(1))
    await turn()
    expect(out.sort()).toEqual([0, 1, 2, 3, 4])
    for (const job of jobs) {
      for (const rank of [0, 2, 3, 4]) expect(job.kvs.get(`key-${rank}`)).toBe(`of ${rank}`)
    }
  })

  it('leaves out agents without ranks', async () => {
    const jobs = jobsOn(
      createExchangeNet(3, () => {}),
      [[0], [], [1]],
    )
    const out: number[] = []
    jobs[0]?.enterFence(0, 1, () => out.push(0))
    jobs[2]?.enterFence(1, 1, () => out.push(1))
    await turn()
    expect(out.sort()).toEqual([0, 1])
  })

  it('is not entered twice at a time', () => {
    const [job] = jobsOn([createLocalExchange(() => {})], [[0], [1]])
    expect(job?.enterFence(0, 1, () => {})).toBe(true)
    expect(job?.enterFence(0, 2, () => {})).toBe(false)
  })

  it('fails for all local ranks when another node is gone', async () => {
    const net = createExchangeNet(2, () => {})
    const broken = { ...(net[0] as Exchange), fence: () => Promise.reject(new Error('node n2 is gone')) }
    const [job] = jobsOn([broken, net[1] as Exchange], [[0, 2], [1]])
    const failures: unknown[] = []
    for (const rank of [0, 2]) job?.enterFence(rank, 1, (failure) => failures.push(failure))
    await turn()
    expect(failures).toEqual([
      expect.stringContaining('node n2 is gone'),
      expect.stringContaining('node n2 is gone'),
    ])
  })

  it('does not answer a rank that has left', async () => {
    const [job] = jobsOn([createLocalExchange(() => {})], [[0], [1]])
    const out: number[] = []
    const first = () => out.push(0)
    job?.enterFence(0, 1, first)
    job?.leave(0, first)
    job?.enterFence(1, 1, () => out.push(1))
    expect(out).toEqual([1])
  })
})

describe('the rescue from the fence of MPI_Finalize', () => {
  const rescued = (guests: readonly (readonly number[])[]) =>
    new PmiJob(
      layoutOf('job', guests),
      [],
      createLocalExchange(() => {}),
      silentLog,
      { graceMs: 1000 },
    )

  it.each([
    ['third, with one rank a guest', [[0], [1]], 3],
    ['fourth, with several', [[0, 2], [1]], 4],
  ])('lets a rank go that waits too long: the %s', (_, guests, final) => {
    vi.useFakeTimers()
    const job = rescued(guests)
    const size = guests.flat().length
    const out: number[] = []
    for (let nth = 1; nth < final; nth++) {
      job.enterFence(0, nth, () => out.push(0))
      vi.advanceTimersByTime(5000)
      expect(out).toEqual([])
      for (let rank = 1; rank < size; rank++) job.enterFence(rank, nth, () => {})
      expect(out).toEqual([0])
      out.length = 0
    }
    job.enterFence(0, final, () => out.push(0))
    vi.advanceTimersByTime(999)
    expect(out).toEqual([])
    vi.advanceTimersByTime(1)
    expect(out).toEqual([0])
    for (let rank = 1; rank < size; rank++) job.enterFence(rank, final, () => out.push(rank))
    expect(out).toEqual(Array.from({ length: size }, (_, rank) => rank))
  })
})
