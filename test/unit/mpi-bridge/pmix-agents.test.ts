// A job over several node agents: fences cross with the data that is new, other data is asked for once, and what one
// agent loses all of them hear of.
import { describe, expect, it } from 'vitest'
import { Command, Range, Status } from '../../../mpi-bridge/pmix/constants.ts'
import { Type } from '../../../mpi-bridge/pmix/values.ts'
import { Reader } from '../../../mpi-bridge/pmix/wire.ts'
import {
  Agents,
  type Client,
  dataOf,
  flag,
  layoutOf,
  packInfos,
  statusOf,
  turn,
  World,
} from './pmix-world.ts'

/** Ranks 0, 1, 2, … one a guest, guest `n` at agent `n` modulo `count`. */
function agentsOf(count: number, size: number) {
  const agents = new Agents(count)
  const worlds = Array.from({ length: count }, (_, agent) => new World({ agents, agent }))
  const job = layoutOf(
    'leet-job',
    Array.from({ length: size }, (_, rank) => [rank]),
    { agents: count },
  )
  for (const world of worlds) world.addJob(job)
  const ranks = Array.from({ length: size }, (_, rank) => (worlds[rank % count] as World).rank(job, rank))
  return { agents, worlds, job, ranks, of: (rank: number) => ({ nspace: job.id, rank }) }
}

function heard(client: Client): (number | undefined)[] {
  return client.frames().map(({ payload }) => statusOf(new Reader(client.format, payload)))
}

const value = (rank: number) => `${rank}`.padEnd(200, '.')

describe('fences', () => {
  it('bring the data of all ranks, once', async () => {
    const { agents, ranks } = agentsOf(3, 7)
    for (const client of ranks) client.put({ key: value(client.proc.rank) })
    for (const client of ranks) client.fence()
    await turn()
    expect(ranks.map(heard)).toEqual(ranks.map(() => [0]))
    const once = agents.crossed
    expect(once).toBeGreaterThan(7 * 200)
    expect(once).toBeLessThan(7 * 300)
    for (const reader of ranks) {
      for (const writer of ranks) {
        if (reader === writer) continue
        const { nspace, rank } = writer.proc
        const data = dataOf(reader.replyTo(reader.get(writer.proc, 'key')))
        expect(data[`${nspace}.${rank}`]).toEqual({ key: value(rank) })
      }
    }
    for (const client of ranks) client.fence()
    await turn()
    expect(ranks.map(heard)).toEqual(ranks.map(() => [0]))
    // What all have is not sent again, neither by gets nor by fences.
    expect(agents.crossed - once).toBeLessThan(3 * 20)
  })

  it('bring what is new since the last', async () => {
    const { ranks, of } = agentsOf(2, 2)
    const [a, b] = ranks as [Client, Client]
    for (const round of ['1', '2', '3']) {
      a.put({ [`key ${round}`]: round })
      for (const client of ranks) client.fence()
      await turn()
      expect(ranks.map(heard)).toEqual([[0], [0]])
      expect(dataOf(b.replyTo(b.get(of(0), `key ${round}`)))['leet-job.0']).toMatchObject({
        [`key ${round}`]: round,
      })
    }
  })

  it('without the wish for data carry none', async () => {
    const { agents, ranks } = agentsOf(2, 4)
    for (const client of ranks) client.put({ key: value(client.proc.rank) })
    for (const client of ranks) client.fence(undefined, false)
    await turn()
    expect(ranks.map(heard)).toEqual(ranks.map(() => [0]))
    expect(agents.crossed).toBe(0)
  })

  it('of some ranks meet only their agents, again and again', async () => {
    const { ranks, of } = agentsOf(3, 6)
    const [, b, c] = ranks as [Client, Client, Client]
    for (let round = 0; round < 3; round++) {
      b.fence([of(1), of(2)])
      await turn()
      expect(heard(b)).toEqual([])
      c.fence([of(2), of(1)])
      await turn()
      expect([b, c].map(heard)).toEqual([[0], [0]])
    }
  })

  it('of an agent alone wait for nobody', () => {
    const { ranks, of } = agentsOf(3, 6)
    const [a, , , d] = ranks as [Client, Client, Client, Client]
    a.fence([of(0), of(3)])
    d.fence([of(0), of(3)])
    expect([a, d].map(heard)).toEqual([[0], [0]])
  })

  it('fail everywhere when a rank is lost anywhere', async () => {
    const { ranks } = agentsOf(3, 6)
    const lost = ranks[5] as Client
    for (const client of ranks.slice(0, 5)) client.fence()
    await turn()
    await lost.connection.close()
    expect(ranks.slice(0, 5).map(heard)).toEqual(Array(5).fill([Status.LOST_CONNECTION]))
  })
})

describe('data of other agents', () => {
  it('is asked for once, and held until it is committed', async () => {
    const { agents, ranks, of } = agentsOf(2, 8)
    const readers = ranks.filter((client) => client.proc.rank % 2 === 1)
    for (const reader of readers) reader.get(of(0), 'key')
    await turn()
    expect(readers.map(heard)).toEqual(readers.map(() => []))
    ranks[0]?.put({ key: value(0) })
    await turn()
    expect(readers.map(heard)).toEqual(readers.map(() => [0]))
    expect(agents.crossed).toBeLessThan(300)
  })

  it('is asked for again when a key is wanted that was not there, or when freshness is', async () => {
    const { ranks, of } = agentsOf(2, 2)
    const [a, b] = ranks as [Client, Client]
    a.put({ first: '1' })
    for (const [key, directives] of [
      ['first', []],
      ['second', []],
      ['second', [flag('pmix.get.refresh')]],
    ] as const) {
      if (key === 'second') a.put({ first: '1', second: directives.length > 0 ? 'new' : 'old' })
      const tag = b.get(of(0), key, directives)
      await turn()
      const data = dataOf(b.replyTo(tag))['leet-job.0']
      expect(data?.[key]).toBe(key === 'first' ? '1' : directives.length > 0 ? 'new' : 'old')
    }
  })

  it('that is for ranks of the same guest does not leave it', async () => {
    const { ranks, of } = agentsOf(2, 2)
    const [a, b] = ranks as [Client, Client]
    a.put({ near: 'n' }, [1])
    b.get(of(0), 'near')
    await turn()
    expect(heard(b)).toEqual([Status.NOT_FOUND])
  })

  it('of a rank that has finalised is not waited for', async () => {
    const { ranks, of } = agentsOf(2, 2)
    const [a, b] = ranks as [Client, Client]
    b.get(of(0), 'key')
    a.send(Command.FINALIZE)
    await turn()
    expect(heard(b)).toEqual([Status.NOT_FOUND])
  })
})

it('events reach ranks at all agents', async () => {
  const { ranks } = agentsOf(2, 3)
  const [a, b, c] = ranks as [Client, Client, Client]
  for (const client of [b, c]) {
    client.send(Command.REGISTER_EVENTS, (writer) => {
      writer.pack(Type.SIZE).size(0)
      packInfos(writer, [])
    })
    heard(client)
  }
  a.send(Command.NOTIFY, (writer) => {
    writer.pack(Type.STATUS).i32(-400).pack(Type.DATA_RANGE).u8(Range.NAMESPACE)
    packInfos(writer, [flag('some.key')])
  })
  await turn()
  expect([b, c].map((client) => client.frames().map(({ tag }) => tag))).toEqual([[0], [0]])
})
