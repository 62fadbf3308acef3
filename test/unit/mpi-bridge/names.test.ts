// The name service: ranges, persistence, waiting, bounds, and the same over the exchange.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Deadline } from '../../../common/index.ts'
import type { Exchange } from '../../../mpi-bridge/exchange.ts'
import {
  answerNames,
  createNameServer,
  type NameParty,
  type NameServer,
  type NameService,
  type Publication,
  remoteNames,
} from '../../../mpi-bridge/names.ts'
import { createExchangeNet } from '../../simulators/exchange-net.ts'

afterEach(() => void vi.useRealTimers())

const party = (job: string, rank: number, guest = rank): NameParty => ({ job, rank, guest })
const name = (key: string, text: string, more: Partial<Publication> = {}): Publication => ({
  key,
  value: Buffer.from(text),
  range: 'session',
  persistence: 'session',
  ...more,
})
const texts = async (names: NameService, by: NameParty, ...keys: string[]) =>
  (await names.lookup(by, { keys, wait: 0 })).found.map(({ value }) => Buffer.from(value).toString())

describe('names', () => {
  it('are found by all, in the order of the question, with their publisher', async () => {
    const names = createNameServer()
    await names.publish(party('a', 1), [name('x', '1'), name('y', '2')])
    const { status, found } = await names.lookup(party('b', 0), { keys: ['y', 'z', 'x'], wait: 0 })
    expect(status).toBe('ok')
    expect(found).toEqual([
      { key: 'y', value: Buffer.from('2'), job: 'a', rank: 1 },
      { key: 'x', value: Buffer.from('1'), job: 'a', rank: 1 },
    ])
  })

  it('are published all or none, once in each range', async () => {
    const names = createNameServer()
    const by = party('a', 0)
    expect(await names.publish(by, [name('x', '1')])).toBe('ok')
    expect(await names.publish(party('b', 0), [name('y', '2'), name('x', '3')])).toBe('duplicate')
    expect(await names.publish(by, [name('z', '1'), name('z', '2')])).toBe('duplicate')
    expect(await names.publish(by, [name('x', '4', { range: 'job' })])).toBe('ok')
    expect(await texts(names, by, 'x', 'y', 'z')).toEqual(['1'])
  })

  it.each([
    ['process', [true, false, false, false]],
    ['guest', [true, true, false, true]],
    ['job', [true, true, true, false]],
    ['session', [true, true, true, true]],
  ] as const)('of range %s are seen by those of that range', async (range, seen) => {
    const names = createNameServer()
    const publisher = party('a', 0, 7)
    await names.publish(publisher, [name('x', '1', { range })])
    const others = [publisher, party('a', 1, 7), party('a', 2, 8), party('b', 0, 7)]
    const found = await Promise.all(others.map(async (by) => (await texts(names, by, 'x')).length === 1))
    expect(found).toEqual(seen)
  })

  it('that share a key but nobody who sees both are two names', async () => {
    const names = createNameServer()
    const [a, b] = [party('a', 0), party('b', 0)]
    for (const by of [a, b]) {
      expect(await names.publish(by, [name('x', by.job, { range: 'job' })])).toBe('ok')
    }
    expect([await texts(names, a, 'x'), await texts(names, b, 'x')]).toEqual([['a'], ['b']])
  })

  it('go after the first reading, with their rank, or with their job', async () => {
    const names = createNameServer()
    const by = party('a', 0)
    const persistences = ['first-read', 'process', 'session'] as const
    await names.publish(
      by,
      persistences.map((persistence) => name(persistence, persistence, { persistence })),
    )
    const left = () => texts(names, party('b', 0), ...persistences)
    expect(await left()).toEqual([...persistences])
    expect(await left()).toEqual(['process', 'session'])
    names.observe({ kind: 'finalised', job: 'a', rank: 1 })
    names.observe({ kind: 'initialised', job: 'a', rank: 0 })
    expect(await left()).toEqual(['process', 'session'])
    names.observe({ kind: 'lost', job: 'a', rank: 0, why: '' })
    expect(await left()).toEqual(['session'])
  })

  it('are withdrawn by their job only', async () => {
    const names = createNameServer()
    await names.publish(party('a', 0), [name('x', '1'), name('y', '2')])
    expect(await names.unpublish(party('b', 0), ['x'])).toBe(0)
    expect(await names.unpublish(party('a', 1), ['x', 'z'])).toBe(1)
    expect(await names.unpublish(party('a', 1), [])).toBe(1)
  })

  it('are waited for', async () => {
    const names = createNameServer()
    const found = names.lookup(party('b', 0), { keys: ['x', 'y'], wait: 2 })
    await names.publish(party('a', 0), [name('x', '1', { persistence: 'first-read' })])
    await names.publish(party('a', 0), [name('y', '2')])
    expect((await found).found.map(({ key }) => key)).toEqual(['x', 'y'])
    expect(await texts(names, party('b', 0), 'x', 'y')).toEqual(['2'])
  })

  it('that do not come in time are told as far as they came', async () => {
    vi.useFakeTimers()
    const names = createNameServer()
    await names.publish(party('a', 0), [name('x', '1')])
    const found = names.lookup(party('b', 0), { keys: ['x', 'y'], wait: 2, timeoutMs: 500 })
    vi.advanceTimersByTime(500)
    expect(await found).toMatchObject({ status: 'timeout', found: [{ key: 'x' }] })
  })

  it('are not waited for by the dead, nor after the end', async () => {
    const names = createNameServer()
    const dead = names.lookup(party('a', 0), { keys: ['x'], wait: 1 })
    const last = names.lookup(party('c', 0), { keys: ['x'], wait: 1 })
    names.observe({ kind: 'lost', job: 'a', rank: 0, why: '' })
    names.close()
    for (const each of [dead, last]) expect(await each).toEqual({ status: 'timeout', found: [] })
  })

  it('are bounded', async () => {
    const names = createNameServer({ names: 3, bytes: 100, waiting: 1 })
    const by = party('a', 0)
    expect(await names.publish(by, [name('x', 'v'.repeat(100))])).toBe('full')
    expect(
      await names.publish(
        by,
        ['a', 'b', 'c'].map((key) => name(key, '')),
      ),
    ).toBe('ok')
    expect(await names.publish(by, [name('d', '')])).toBe('full')
    await names.unpublish(by, ['a'])
    expect(await names.publish(by, [name('d', '')])).toBe('ok')
    const waiting = names.lookup(by, { keys: ['z'], wait: 1 })
    expect(await names.lookup(by, { keys: ['z'], wait: 1 })).toEqual({ status: 'full', found: [] })
    names.close()
    await waiting
  })
})

describe('names over the exchange', () => {
  const over = (server: NameServer) => {
    const [controller, agent] = createExchangeNet(2, () => {}) as [Exchange, Exchange]
    answerNames(controller, server)
    return remoteNames(agent, { deadline: Deadline.never })
  }

  it('are the same', async () => {
    const server = createNameServer()
    const names = over(server)
    const by = party('a', 0)
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    expect(await names.publish(by, [{ ...name('x', ''), value: bytes }])).toBe('ok')
    expect(await names.publish(by, [name('x', '')])).toBe('duplicate')
    const { status, found } = await names.lookup(by, { keys: ['x'], wait: 1, range: 'session' })
    expect({ status, found }).toEqual({
      status: 'ok',
      found: [{ key: 'x', value: Buffer.from(bytes), job: 'a', rank: 0 }],
    })
    expect((await names.lookup(by, { keys: ['x'], wait: 0, range: 'job' })).found).toEqual([])
    expect(await names.unpublish(by, ['x'], 'job')).toBe(0)
    expect(await names.unpublish(by, ['x'])).toBe(1)
  })
})
