// The PMIx server on one agent: who is taken, what fences, gets, names, events and spawn do, and that nothing a
// client sends does more than be refused.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Command, DEFAULT_HANDLER, Range, Status } from '../../../mpi-bridge/pmix/constants.ts'
import { MAX_MESSAGE_BYTES } from '../../../mpi-bridge/pmix/frames.ts'
import {
  type Info,
  type Proc,
  RANK_WILDCARD,
  readInfo,
  readProc,
  Type,
  writeInfo,
  writeProc,
} from '../../../mpi-bridge/pmix/values.ts'
import { type Format, formatOf, formats, Reader, type Writer } from '../../../mpi-bridge/pmix/wire.ts'
import {
  type Client,
  dataOf,
  flag,
  handshakeOf,
  layoutOf,
  number,
  packInfos,
  requestFrame,
  statusOf,
  turn,
  World,
} from './pmix-world.ts'

const flex = formatOf(true, false)
const NOT_FOUND = Buffer.from('ffffffd2', 'hex').toString('hex')

function worldOf(guests: readonly (readonly number[])[], format: Format = flex) {
  const world = new World()
  const job = layoutOf('leet-job', guests)
  world.addJob(job)
  const ranks = guests
    .flat()
    .sort((a, b) => a - b)
    .map((rank) => world.rank(job, rank, format))
  const of = (rank: number): Proc => ({ nspace: job.id, rank })
  return { world, job, ranks, of, all: of(RANK_WILDCARD) }
}

/** The status of the only frame that a client got, undefined when it got none. */
function heard(client: Client): number | undefined {
  const frames = client.frames()
  expect(frames.length).toBeLessThanOrEqual(1)
  return frames[0] && statusOf(new Reader(client.format, frames[0].payload))
}

const register = (client: Client, codes: readonly number[], directives: readonly Info[] = []) =>
  client.send(Command.REGISTER_EVENTS, (writer) => {
    writer.pack(Type.SIZE).size(codes.length)
    if (codes.length > 0) writer.pack(Type.STATUS, codes.length)
    for (const code of codes) writer.i32(code)
    packInfos(writer, directives)
  })
const notify = (client: Client, code: number, range: number, infos: readonly Info[] = []) =>
  client.send(Command.NOTIFY, (writer) => {
    writer.pack(Type.STATUS).i32(code).pack(Type.DATA_RANGE).u8(range)
    packInfos(writer, infos)
  })

describe('connections', () => {
  const world = new World()
  const job = layoutOf('leet-job', [[0, 1], [2]])
  world.addJob(job)
  const refused = (guest: number, bytes: Buffer) => {
    const connection = world.connect(guest)
    connection.send(bytes)
    return { answer: connection.take().toString('hex'), ended: connection.socket.writableEnded }
  }

  it.each([
    ['of an unknown job', 0, handshakeOf({ nspace: 'leet-jo', rank: 0 }, flex)],
    ['of an unknown rank', 0, handshakeOf({ nspace: 'leet-job', rank: 3 }, flex)],
    ['of a special rank', 0, handshakeOf({ nspace: 'leet-job', rank: RANK_WILDCARD }, flex)],
    ['of a rank of another guest', 1, handshakeOf({ nspace: 'leet-job', rank: 0 }, flex)],
    ['that say something else', 0, Buffer.from('ffffffff00000000000000000000000000000000', 'hex')],
  ])('are refused: %s', (_, guest, bytes) => {
    expect(refused(guest, bytes)).toEqual({ answer: NOT_FOUND, ended: true })
  })

  it('are taken once for each rank, and again when the first has ended', async () => {
    const first = world.rank(job, 2)
    const hello = handshakeOf({ nspace: 'leet-job', rank: 2 }, flex)
    expect(refused(1, hello)).toEqual({ answer: NOT_FOUND, ended: true })
    first.send(Command.FINALIZE)
    await first.connection.close()
    expect(world.rank(job, 2).status(Command.FINALIZE)).toBe(Status.SUCCESS)
  })

  it('may bring their handshake in pieces and the first request with it', () => {
    const connection = world.connect(0)
    const hello = handshakeOf({ nspace: 'leet-job', rank: 0 }, flex)
    const finalize = requestFrame(101, Buffer.from('0205', 'hex'))
    const stream = Buffer.concat([hello, finalize])
    for (const byte of stream.subarray(0, 40)) connection.send(Buffer.from([byte]))
    connection.send(stream.subarray(40))
    expect(connection.take().subarray(8).toString('hex')).toBe('ffffffff0000006500000002000000000200')
  })
})

describe.each(formats)('in format %o', (format) => {
  it('ranks are told of their job', () => {
    const { ranks } = worldOf([[0, 2], [1]], format)
    const reader = (ranks[0] as Client).ask(Command.JOB_INFO)
    reader.packOf(Type.STRING)
    expect(reader.string()).toBe('leet-job')
    const keys: Record<string, number> = {}
    while (reader.remaining > 0) {
      reader.packOf(Type.KVAL)
      const { key, type, data } = { ...readInfoLike(reader) }
      keys[key] = (keys[key] ?? 0) + 1
      if (key === 'pmix.lpeers') expect([type, data]).toEqual([Type.STRING, '0,2'])
      if (key === 'pmix.job.size') expect([type, data]).toEqual([Type.UINT32, 3])
      if (key === 'pmix.local.size') expect([type, data]).toEqual([Type.UINT32, 2])
    }
    expect(keys).toMatchObject({ 'pmix.node.arr': 2, 'pmix.pblob': 3, 'pmix.nlist': 1 })
  })

  it('data of one rank reaches another', () => {
    const { ranks, of } = worldOf([[0], [1]], format)
    const [a, b] = ranks as [Client, Client]
    expect(a.put({ one: 'eins', two: 'zwei' })).toBe(Status.SUCCESS)
    expect(dataOf(b.replyTo(b.get(of(0), 'two')))).toEqual({ 'leet-job.0': { one: 'eins', two: 'zwei' } })
  })
})

it('ranks whose libraries write differently understand each other', () => {
  const world = new World()
  const job = layoutOf('leet-job', [[0], [1], [2], [3]])
  world.addJob(job)
  const ranks = formats.map((format, rank) => world.rank(job, rank, format))
  for (const [rank, client] of ranks.entries()) expect(client.put({ key: `of ${rank}` })).toBe(Status.SUCCESS)
  for (const reader of ranks) {
    for (const [rank, writer] of ranks.entries()) {
      if (reader === writer) continue
      const data = dataOf(reader.replyTo(reader.get(writer.proc, 'key')))
      expect(data[`leet-job.${rank}`]).toEqual({ key: `of ${rank}` })
    }
  }
})

describe('fences', () => {
  it('release all when the last has come, whatever the order of their lists', () => {
    const { ranks, of } = worldOf([[0, 1, 2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    a.fence([of(0), of(1), of(2)])
    b.fence([of(2), of(0), of(1)])
    expect([heard(a), heard(b), heard(c)]).toEqual([undefined, undefined, undefined])
    c.fence([of(RANK_WILDCARD)])
    expect([heard(a), heard(b), heard(c)]).toEqual([0, 0, 0])
  })

  it('of some ranks do not wait for others, and are told apart', () => {
    const { ranks, of } = worldOf([[0, 1, 2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    a.fence([of(0), of(1)])
    c.fence([of(2), of(1)])
    b.fence([of(1), of(2)])
    expect([heard(a), heard(b), heard(c)]).toEqual([undefined, 0, 0])
    b.fence([of(1), of(0)])
    expect([heard(a), heard(b)]).toEqual([0, 0])
  })

  it('may be entered again before the others have left', () => {
    const { ranks } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    a.fence()
    a.fence()
    b.fence()
    expect([heard(a), heard(b)]).toEqual([0, 0])
    b.fence()
    expect([heard(a), heard(b)]).toEqual([0, 0])
  })

  it.each([
    ['with an unknown job', [{ nspace: 'leet-other', rank: 0 }]],
    ['with an unknown rank', [{ nspace: 'leet-job', rank: 9 }]],
    ['of others', [{ nspace: 'leet-job', rank: 1 }]],
    ['of nobody', []],
  ])('are refused: %s', (_, procs) => {
    const { ranks } = worldOf([[0, 1]])
    const client = ranks[0] as Client
    client.fence(procs)
    expect(heard(client)).toBe(Status.BAD_PARAM)
  })

  it('fail when a participant is lost, then and later', async () => {
    const { ranks } = worldOf([[0, 1, 2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    a.fence()
    await c.connection.close()
    expect(heard(a)).toBe(Status.LOST_CONNECTION)
    b.fence()
    expect(heard(b)).toBe(Status.LOST_CONNECTION)
  })
})

describe('time', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('is up for a fence when its directive says so', () => {
    const { ranks, all } = worldOf([[0, 1]])
    const [a] = ranks as [Client]
    a.collective(Command.FENCE, [all], [number('pmix.timeout', 3)])
    vi.advanceTimersByTime(2999)
    expect(heard(a)).toBeUndefined()
    vi.advanceTimersByTime(1)
    expect(heard(a)).toBe(Status.TIMEOUT)
  })

  it('is up for a get when its directive says so', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a] = ranks as [Client]
    a.get(of(1), 'key', [number('pmix.timeout', 5)])
    vi.advanceTimersByTime(4999)
    expect(heard(a)).toBeUndefined()
    vi.advanceTimersByTime(1)
    expect(heard(a)).toBe(Status.TIMEOUT)
  })

  it('is up two seconds after a rank has committed without the key', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    a.get(of(1), 'key')
    vi.advanceTimersByTime(3_600_000)
    expect(heard(a)).toBeUndefined()
    b.put({ other: 'value' })
    vi.advanceTimersByTime(1999)
    expect(heard(a)).toBeUndefined()
    vi.advanceTimersByTime(1)
    expect(heard(a)).toBe(Status.NOT_FOUND)
  })

  it('passes before a message follows a large one that the client has not answered', () => {
    const { ranks, of } = worldOf([[0], [1]])
    const [a, b] = ranks as [Client, Client]
    register(a, [-400])
    a.frames()
    b.put({ key: 'x'.repeat(10_000) })
    a.get(of(1), 'key')
    notify(b, -400, Range.NAMESPACE)
    expect(a.frames().map((frame) => frame.tag)).toEqual([102])
    vi.advanceTimersByTime(50)
    expect(a.frames().map((frame) => frame.tag)).toEqual([0])
    // A request is an answer.
    a.get(of(1), 'key')
    a.get(of(1), 'other', [flag('pmix.immediate')])
    expect(a.frames().map((frame) => frame.tag)).toEqual([103, 104])
  })
})

describe('gets', () => {
  it('wait until the rank commits', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    const tag = a.get(of(1), 'key')
    expect(a.frames()).toEqual([])
    b.put({ key: 'value' })
    expect(dataOf(a.replyTo(tag))).toEqual({ 'leet-job.1': { key: 'value' } })
  })

  it('wait until a later commit brings the key', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    b.put({ first: '1' })
    const tag = a.get(of(1), 'second')
    b.put({ first: '1', second: '2' })
    expect(dataOf(a.replyTo(tag))).toEqual({ 'leet-job.1': { first: '1', second: '2' } })
  })

  it('give commits that only add together', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    b.put({ first: '1' })
    b.put({ second: '2' })
    expect(dataOf(a.replyTo(a.get(of(1), null)))).toEqual({ 'leet-job.1': { first: '1', second: '2' } })
  })

  it('do not wait for ranks that have finalised or are lost', async () => {
    const { ranks, of } = worldOf([[0, 1, 2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    a.get(of(1), 'key')
    b.send(Command.FINALIZE)
    expect(heard(a)).toBe(Status.NOT_FOUND)
    a.get(of(2), 'key')
    await c.connection.close()
    expect(heard(a)).toBe(Status.NOT_FOUND)
  })

  it('give what is for the same guest there, and what is for others elsewhere', () => {
    const { ranks, of } = worldOf([[0, 1], [2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    a.put({ near: 'n' }, [1])
    a.put({ far: 'f' }, [2])
    expect(dataOf(b.replyTo(b.get(of(0), 'near')))['leet-job.0']).toEqual({ near: 'n' })
    expect(dataOf(c.replyTo(c.get(of(0), 'far')))['leet-job.0']).toEqual({ far: 'f' })
    c.get(of(0), 'near')
    expect(heard(c)).toBe(Status.NOT_FOUND)
  })

  it.each<[string, Proc, string | null, Info[]]>([
    ['an unknown job', { nspace: 'leet-other', rank: 0 }, 'key', []],
    ['an unknown rank', { nspace: 'leet-job', rank: 9 }, 'key', []],
    ['no rank at all', { nspace: 'leet-job', rank: 0xffffffff }, 'key', []],
    ['data not there yet, at once', { nspace: 'leet-job', rank: 1 }, 'key', [flag('pmix.immediate')]],
    ['a reserved key', { nspace: 'leet-job', rank: 1 }, 'pmix.locstr', []],
    ['a topology', { nspace: 'leet-job', rank: RANK_WILDCARD }, 'pmix.hwlocxml2', []],
  ])('find nothing at once: %s', (_, proc, key, directives) => {
    const { ranks } = worldOf([[0, 1]])
    const client = ranks[0] as Client
    client.get(proc, key, directives)
    expect(heard(client)).toBe(Status.NOT_FOUND)
  })

  it('give what is known of the job and of ranks that have said nothing', () => {
    const { ranks, of, all } = worldOf([[0], [1]])
    const client = ranks[0] as Client
    expect(dataOf(client.replyTo(client.get(all, 'pmix.job.size')))).toEqual({
      'leet-job.-2': { 'pmix.job.size': `type ${Type.UINT32}` },
    })
    expect(dataOf(client.replyTo(client.get(of(1), 'pmix.hname')))).toEqual({
      'leet-job.1': { 'pmix.hname': 'guest1', 'pmix.nodeid': `type ${Type.UINT32}` },
    })
  })

  it('give all ranks of the guest with the first one', () => {
    const { ranks, of } = worldOf([[0, 1, 2, 3], [4]])
    for (const client of ranks) client.put({ key: `of ${client.proc.rank}` })
    const [a] = ranks as [Client]
    const data = dataOf(a.replyTo(a.get(of(2), 'key')))
    expect(data).toEqual({
      'leet-job.2': { key: 'of 2' },
      'leet-job.3': { key: 'of 3' },
      'leet-job.0': { key: 'of 0' },
      'leet-job.1': { key: 'of 1' },
    })
  })

  it('give twice as many ranks of other guests each time', () => {
    const { ranks, of } = worldOf(Array.from({ length: 40 }, (_, rank) => [rank]))
    for (const client of ranks) client.put({ key: `of ${client.proc.rank}` })
    const [a] = ranks as [Client]
    const known = new Set<string>()
    const counts: number[] = []
    for (let rank = 1; rank < 40; rank++) {
      if (known.has(`leet-job.${rank}`)) continue
      const data = Object.keys(dataOf(a.replyTo(a.get(of(rank), 'key'))))
      counts.push(data.length)
      for (const proc of data) known.add(proc)
    }
    expect(counts).toEqual([1, 2, 4, 8, 16, 8])
    expect(known.size).toBe(39)
  })

  it('give two jobs in one answer when the rank is of another', () => {
    const { world, job, ranks } = worldOf([[0]])
    const other = layoutOf('leet-other', [[0]], { spawnedBy: { job: job.id, rank: 0 } })
    world.addJob(other)
    const child = world.rank(other, 0)
    child.put({ key: 'value' })
    const [a] = ranks as [Client]
    const data = dataOf(a.replyTo(a.get(child.proc, 'key')))
    expect(Object.keys(data)).toEqual(['leet-other.-2', 'leet-other.0'])
  })
})

describe('connect', () => {
  it('tells each side of the other, and disconnect lets go', () => {
    const { world, job, ranks, all } = worldOf([[0, 1]])
    const other = layoutOf('leet-other', [[0]], { spawnedBy: { job: job.id, rank: 0 } })
    world.addJob(other)
    const child = world.rank(other, 0)
    const everybody = [...ranks, child]
    const procs = [all, { nspace: other.id, rank: RANK_WILDCARD }]
    const tags = everybody.map((client) => client.collective(Command.CONNECT, procs))
    for (const [index, client] of everybody.entries()) {
      const reader = client.replyTo(tags[index] as number)
      expect(statusOf(reader)).toBe(Status.SUCCESS)
      reader.packOf(Type.BYTE_OBJECT)
      const about = new Reader(client.format, reader.sized())
      about.packOf(Type.STRING)
      expect(about.string()).toBe(client === child ? job.id : other.id)
      expect(reader.remaining).toBe(0)
    }
    for (const client of everybody) client.collective(Command.DISCONNECT, procs.toReversed())
    expect(everybody.map(heard)).toEqual([0, 0, 0])
  })
})

describe('names', () => {
  const publish = (client: Client, key: string, value: string, more: readonly Info[] = []) =>
    client.send(Command.PUBLISH, (writer) => {
      writer.pack(Type.UINT32).u32(0)
      packInfos(writer, [{ key, flags: 0, type: Type.STRING, data: value }, ...more])
    })
  const keyed = (keys: readonly string[], directives: readonly Info[]) => (writer: Writer) => {
    writer.pack(Type.UINT32).u32(0).pack(Type.SIZE).size(keys.length)
    for (const key of keys) writer.pack(Type.STRING).string(key)
    packInfos(writer, directives)
  }
  const lookup = (client: Client, keys: readonly string[], directives: readonly Info[] = []) =>
    client.send(Command.LOOKUP, keyed(keys, directives))
  const found = (client: Client, tag: number) => {
    const reader = client.replyTo(tag)
    const status = statusOf(reader)
    if (status !== Status.SUCCESS) return status
    reader.packOf(Type.SIZE)
    const count = reader.size()
    reader.packOf(Type.PDATA, count)
    return Array.from({ length: count }, () => {
      const { rank } = readProc(reader)
      const key = reader.string()
      expect(reader.u16()).toBe(Type.STRING)
      return [rank, key, reader.string()]
    })
  }

  it('are published, found with their publisher, refused twice, and withdrawn', async () => {
    const { ranks } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    publish(a, 'name', 'value')
    await turn()
    expect(heard(a)).toBe(Status.SUCCESS)
    publish(b, 'name', 'other')
    await turn()
    expect(heard(b)).toBe(Status.DUPLICATE_KEY)
    const tag = lookup(b, ['name', 'nobody'])
    await turn()
    expect(found(b, tag)).toEqual([[0, 'name', 'value']])
    a.send(Command.UNPUBLISH, keyed(['name'], []))
    await turn()
    expect(heard(a)).toBe(Status.SUCCESS)
    const again = lookup(b, ['name'])
    await turn()
    expect(found(b, again)).toBe(Status.NOT_FOUND)
  })

  it('are waited for, and gone after the first reader who was promised so', async () => {
    const { ranks } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    const tag = lookup(b, ['name'], [flag('pmix.wait')])
    await turn()
    expect(b.frames()).toEqual([])
    publish(a, 'name', 'value', [{ key: 'pmix.persist', flags: 0, type: Type.PERSIST, data: 1 }])
    await turn()
    expect(found(b, tag)).toEqual([[0, 'name', 'value']])
    const again = lookup(b, ['name'])
    await turn()
    expect(found(b, again)).toBe(Status.NOT_FOUND)
  })

  it('are visible in their range', async () => {
    const { ranks } = worldOf([[0, 1], [2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    publish(a, 'name', 'value', [{ key: 'pmix.range', flags: 0, type: Type.DATA_RANGE, data: Range.LOCAL }])
    await turn()
    a.frames()
    const near = lookup(b, ['name'])
    const far = lookup(c, ['name'])
    await turn()
    expect(found(b, near)).toEqual([[0, 'name', 'value']])
    expect(found(c, far)).toBe(Status.NOT_FOUND)
  })
})

describe('events', () => {
  /** Events that a client got: code, source rank, keys. */
  const events = (client: Client) =>
    client.frames().flatMap(({ tag, payload }) => {
      if (tag !== 0) return []
      const reader = new Reader(client.format, payload)
      reader.packOf(Type.COMMAND)
      expect(reader.u8()).toBe(Command.NOTIFY)
      const code = statusOf(reader)
      reader.packOf(Type.PROC)
      const { rank } = readProc(reader)
      reader.packOf(Type.SIZE)
      const count = reader.size()
      if (count > 0) reader.packOf(Type.INFO, count)
      return [[code, rank, Array.from({ length: count }, () => readInfo(reader).key).join()]]
    })

  it('reach those who registered their code, or no code', () => {
    const { ranks } = worldOf([
      [0, 1],
      [2, 3],
    ])
    const [a, b, c, d] = ranks as [Client, Client, Client, Client]
    register(a, [-400])
    register(b, [-400])
    register(c, [])
    register(d, [-401])
    notify(a, -400, Range.NAMESPACE)
    expect([a, b, c, d].map(events)).toEqual([[], [[-400, 0, '']], [[-400, 0, '']], []])
    c.send(Command.DEREGISTER_EVENTS, (writer) => writer.pack(Type.STATUS).i32(DEFAULT_HANDLER))
    notify(a, -401, Range.GLOBAL, [flag('pmix.evnocache')])
    expect([b, c, d].map(events)).toEqual([[], [], [[-401, 0, 'pmix.evnocache']]])
  })

  it('keep to their range', () => {
    const { ranks, of } = worldOf([
      [0, 1],
      [2, 3],
    ])
    const [a, b, c, d] = ranks as [Client, Client, Client, Client]
    for (const client of [b, c, d]) register(client, [])
    notify(a, -400, Range.LOCAL)
    expect([b, c, d].map((client) => events(client).length)).toEqual([1, 0, 0])
    notify(a, -400, Range.PROC_LOCAL)
    expect([b, c, d].map((client) => events(client).length)).toEqual([0, 0, 0])
    const target: Info = { key: 'pmix.evrange', flags: 0, type: Type.PROC, data: of(3) }
    notify(a, -400, Range.CUSTOM, [target])
    expect([b, c, d].map((client) => events(client).length)).toEqual([0, 0, 1])
    notify(a, -400, Range.NAMESPACE, [flag('pmix.evnondef')])
    expect([b, c, d].map((client) => events(client).length)).toEqual([0, 0, 0])
  })

  it('about certain processes reach those who care for them', () => {
    const { ranks, of } = worldOf([[0, 1, 2]])
    const [a, b, c] = ranks as [Client, Client, Client]
    const about = (rank: number): Info => ({ key: 'pmix.evproc', flags: 0, type: Type.PROC, data: of(rank) })
    register(b, [-400], [about(2)])
    register(c, [-400], [about(1)])
    notify(a, -400, Range.NAMESPACE, [about(1)])
    expect([b, c].map((client) => events(client).length)).toEqual([0, 1])
  })

  it('that came before are told to those who register their code', () => {
    const { ranks } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    notify(a, -400, Range.NAMESPACE)
    notify(a, -402, Range.NAMESPACE, [flag('pmix.evnocache')])
    register(b, [-400, -402])
    expect(events(b)).toEqual([[-400, 0, '']])
    register(b, [])
    expect(events(b)).toEqual([])
  })

  it('tell the ranks in a guest to end, as far as they have a handler for that', () => {
    const { world, ranks } = worldOf([[0, 1, 2, 3], [4]])
    const [a, b, c, d, e] = ranks as [Client, Client, Client, Client, Client]
    for (const client of [a, d, e]) register(client, [])
    register(b, [Status.PROC_ABORTED])
    d.send(Command.ABORT, (writer) => {
      writer.pack(Type.STATUS).i32(3).pack(Type.STRING).string('its own end').pack(Type.SIZE).size(0)
    })
    expect(world.service.endRanks(0)).toBe(2)
    const told = [[Status.PROC_ABORTED, RANK_WILDCARD, 'pmix.evproc']]
    expect([a, b, c, d, e].map(events)).toEqual([told, told, [], [], []])
    e.send(Command.DEREGISTER_EVENTS, (writer) => writer.pack(Type.STATUS).i32(DEFAULT_HANDLER))
    expect(world.service.endRanks(1)).toBe(0)
    // It is nothing of the past to who registers later.
    register(c, [Status.PROC_ABORTED])
    expect(events(c)).toEqual([])
  })

  it.each(formats)('are written in the format of each listener: to %o', (format) => {
    const world = new World()
    const job = layoutOf('leet-job', [[0], [1]])
    world.addJob(job)
    const a = world.rank(job, 0)
    const b = world.rank(job, 1, format)
    register(b, [-400])
    notify(a, -400, Range.SESSION, [number('some.key', -5)])
    expect(events(b)).toEqual([[-400, 0, 'some.key']])
  })
})

describe('spawn', () => {
  it('is asked of the launcher in its words', async () => {
    const asked: unknown[] = []
    const world = new World({
      spawn: async (request) => {
        asked.push(request)
        return { job: 'leet-child', errcodes: [0, 0] }
      },
    })
    const job = layoutOf('leet-job', [[0]])
    world.addJob(job)
    const client = world.rank(job, 0)
    const text = (key: string, data: string): Info => ({ key, flags: 0, type: Type.STRING, data })
    const tag = client.send(Command.SPAWN, (writer) => {
      packInfos(writer, [text('pmix.mapby', 'node')])
      writer.pack(Type.SIZE).size(1).pack(Type.APP)
      writer.string('/opt/child').int(2).string('child').string('Gr\xc3\xbc\xc3\x9fe')
      writer.i32(2).string('OMPI_PARENT_PORT=1;2=3').string('nonsense').string('/work').int(2).size(2)
      writeInfo(writer, text('pmix.wdir', '/elsewhere'))
      writeInfo(writer, text('pmix.host', 'guest0'))
    })
    await turn()
    const reader = client.replyTo(tag)
    expect(statusOf(reader)).toBe(Status.SUCCESS)
    reader.packOf(Type.STRING)
    expect(reader.string()).toBe('leet-child')
    expect(asked).toEqual([
      {
        job: 'leet-job',
        rank: 0,
        commands: [
          {
            argv: ['/opt/child', 'Grüße'],
            maxprocs: 2,
            cwd: '/elsewhere',
            env: { OMPI_PARENT_PORT: '1;2=3' },
            info: { map_by: 'node', wdir: '/elsewhere', host: 'guest0' },
          },
        ],
        preput: [],
      },
    ])
  })

  it('that fails is an error of the request', async () => {
    const { world, ranks } = worldOf([[0]])
    const [a] = ranks as [Client]
    a.send(Command.SPAWN, (writer) => writer.pack(Type.SIZE).size(0).pack(Type.SIZE).size(0))
    await turn()
    expect(heard(a)).toBe(Status.JOB_FAILED_TO_LAUNCH)
    expect(world.lines.join()).toContain('rank 0 could not start more ranks')
  })
})

describe('the rest', () => {
  it('is answered kindly', () => {
    const { ranks } = worldOf([[0]])
    const [a] = ranks as [Client]
    for (const command of [15, 17, 18, 19, 20, 24, 28, 31, 37, 38, 77, 255]) {
      expect(a.status(command)).toBe(Status.NOT_SUPPORTED)
    }
  })

  it('prints what ranks log', () => {
    const { world, ranks } = worldOf([[0]])
    const [a] = ranks as [Client]
    const status = a.status(Command.LOG, (writer) => {
      writer.pack(Type.TIME).u64(0n)
      packInfos(writer, [
        { key: 'pmix.log.stderr', flags: 0, type: Type.STRING, data: 'hello\x1b[2J\nGr\xc3\xbc\xc3\x9fe\n' },
      ])
      packInfos(writer, [])
    })
    expect([status, world.lines]).toEqual([Status.SUCCESS, ['rank 0: hello?[2J', 'rank 0: Grüße']])
  })

  it.each([
    ['of everybody', [], Status.SUCCESS, 1],
    ['of a rank of the job', [{ nspace: 'leet-job', rank: 1 }], Status.SUCCESS, 1],
    ['of another job', [{ nspace: 'leet-other', rank: 0 }], Status.NOT_SUPPORTED, 0],
  ])('reports an abort %s', (_, procs, status, count) => {
    const { world, ranks } = worldOf([[0, 1]])
    const [a] = ranks as [Client]
    const answer = a.status(Command.ABORT, (writer) => {
      writer.pack(Type.STATUS).i32(42).pack(Type.STRING).string('why').pack(Type.SIZE).size(procs.length)
      if (procs.length > 0) writer.pack(Type.PROC, procs.length)
      for (const proc of procs) writeProc(writer, proc)
    })
    expect(answer).toBe(status)
    const aborted = { kind: 'aborted', job: 'leet-job', rank: 0, status: 42, message: 'why' }
    expect(world.agents.reports).toEqual(Array(count).fill(aborted))
  })
})

describe('nonsense', () => {
  it('in a request is refused, and the next one is served', () => {
    const { world, ranks } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    b.put({ key: 'value' })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.uint8Array({ maxLength: 60 }), (command, rest) => {
        // Finalize and abort do what they say whatever follows; the others are the prey.
        if (command === Command.FINALIZE || command === Command.ABORT) return
        a.send(command, (writer) => writer.raw(rest))
        for (const frame of a.frames()) expect(frame.payload.length).toBeGreaterThan(0)
      }),
      { numRuns: 2000 },
    )
    a.get(b.proc, 'key', [flag('pmix.immediate')])
    expect(a.frames().some(({ payload }) => payload.includes('value'))).toBe(true)
    expect(world.lines.filter((line) => line.includes('failed:'))).toEqual([])
  })

  it('in commits is refused and not kept', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    const status = a.status(Command.COMMIT, (writer) => {
      writer.pack(Type.SCOPE).u8(1).pack(Type.BUFFER).u8(1).sized(Buffer.from('nonsense'))
    })
    expect(status).toBe(Status.UNPACK_FAILURE)
    b.get(of(0), 'key', [flag('pmix.immediate')])
    expect(heard(b)).toBe(Status.NOT_FOUND)
  })

  it('of a type that nobody knows is passed on as it is', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    const data = Buffer.concat([
      Buffer.from([0x02, 0x08]),
      Buffer.from('key\0'),
      Buffer.from([0x77, 1, 2, 3]),
    ])
    const status = a.status(Command.COMMIT, (writer) => {
      writer.pack(Type.SCOPE).u8(1).pack(Type.BUFFER).u8(1).sized(data)
    })
    expect(status).toBe(Status.SUCCESS)
    const reply = b.replyTo(b.get(of(0), 'any'))
    expect(statusOf(reply)).toBe(Status.SUCCESS)
    reply.packOf(Type.BYTE_OBJECT)
    expect(reply.sized().includes(data)).toBe(true)
  })

  it('too long ends the connection', async () => {
    const { world, ranks } = worldOf([[0, 1]])
    const [a] = ranks as [Client]
    const header = requestFrame(101, Buffer.alloc(0))
    header.writeUInt32BE(MAX_MESSAGE_BYTES + 1, 8)
    a.connection.send(header)
    await turn()
    expect(a.connection.socket.destroyed).toBe(true)
    expect(world.agents.reports).toMatchObject([{ kind: 'lost', rank: 0 }])
  })

  it('without end is refused after a while', () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    for (let count = 0; count < 2000; count++) a.get(of(1), `key ${count}`)
    const busy = a.frames().map(({ payload }) => statusOf(new Reader(flex, payload)))
    expect(busy).toEqual(Array(2000 - 1024).fill(Status.RESOURCE_BUSY))
    b.send(Command.FINALIZE)
    expect(a.frames()).toHaveLength(1024)
  })

  it('from a client that stays silent afterwards costs nothing', async () => {
    const { ranks, of } = worldOf([[0, 1]])
    const [a, b] = ranks as [Client, Client]
    a.get(of(1), 'key')
    await a.connection.close()
    b.put({ key: 'value' })
    expect(a.frames()).toEqual([])
  })
})

function readInfoLike(reader: Reader) {
  const key = reader.string() ?? ''
  const type = reader.u16()
  if (type === Type.STRING) return { key, type, data: reader.string() }
  if (type === Type.UINT32 || type === Type.PROC_RANK) return { key, type, data: reader.u32() }
  if (type === Type.BYTE_OBJECT) return { key, type, data: reader.sized().length }
  if (type !== Type.DATA_ARRAY) throw new Error(`type ${type} of ${key}`)
  const elements = reader.u16()
  expect(elements).toBe(Type.INFO)
  return { key, type, data: Array.from({ length: reader.size() }, () => readInfo(reader).key).join() }
}
