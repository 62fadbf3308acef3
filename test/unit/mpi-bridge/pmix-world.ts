// A PMIx server without a network: clients whose sockets are objects, agents whose exchange is a table. For the tests
// beside this file.

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { abortReason, silentLog } from '../../../common/index.ts'
import type { RankConnection, ServiceContext } from '../../../mpi-bridge/context.ts'
import { type Answerer, CONTROLLER, type Exchange } from '../../../mpi-bridge/exchange.ts'
import type { JobLayout, RankReport } from '../../../mpi-bridge/job.ts'
import { createNameServer, type NameServer } from '../../../mpi-bridge/names.ts'
import { Command, Status } from '../../../mpi-bridge/pmix/constants.ts'
import { type Frame, FrameReader } from '../../../mpi-bridge/pmix/frames.ts'
import { createPmixService, type PmixService } from '../../../mpi-bridge/pmix/service.ts'
import {
  type Info,
  type Proc,
  RANK_WILDCARD,
  Type,
  writeInfo,
  writeProc,
} from '../../../mpi-bridge/pmix/values.ts'
import { type Format, formatOf, Reader, Writer } from '../../../mpi-bridge/pmix/wire.ts'
import type { SpawnRequest, SpawnResult } from '../../../mpi-bridge/spawn.ts'

/** A job with these ranks in each guest, guest `n` served by agent `n` modulo `agents`. */
export function layoutOf(
  id: string,
  guests: readonly (readonly number[])[],
  more: Partial<JobLayout> & { readonly agents?: number } = {},
): JobLayout {
  const { agents = 1, ...fields } = more
  const size = guests.flat().length
  return {
    id,
    size,
    guests: guests.map((ranks, guest) => ({ guest, name: `guest${guest}`, agent: guest % agents, ranks })),
    appnums: Array.from({ length: size }, () => 0),
    ...fields,
  }
}

/** A socket that only remembers. */
class FakeSocket extends Duplex {
  readonly written: Buffer[] = []
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(chunk)
    done()
  }
  setNoDelay(): this {
    return this
  }
}

interface Fence {
  readonly data: Map<number, Uint8Array>
  readonly done: ((all: readonly Uint8Array[]) => void)[]
}

/** Links agents in one process: fences, questions and broadcasts as in `exchange.ts`; agent 0 is the controller, too. */
export class Agents {
  readonly exchanges: Exchange[] = []
  readonly reports: RankReport[] = []
  /** Bytes that agents gave to fences and to answers. */
  crossed = 0
  readonly #answerers: Map<string, Answerer>[] = []
  readonly #fences = new Map<string, Fence>()

  constructor(count: number, report = (report: RankReport): void => void this.reports.push(report)) {
    for (let agent = 0; agent < count; agent++) {
      const answerers = new Map<string, Answerer>()
      this.#answerers.push(answerers)
      this.exchanges.push({
        agent,
        fence: (id, agents, data, { signal }) => {
          this.crossed += data.length
          const fence: Fence = this.#fences.get(id) ?? { data: new Map(), done: [] }
          this.#fences.set(id, fence)
          fence.data.set(agent, data)
          return new Promise<readonly Uint8Array[]>((resolve, reject) => {
            signal?.addEventListener('abort', () => reject(abortReason(signal)))
            fence.done.push(resolve)
            if (fence.data.size < agents.length) return
            const all = agents.map((each) => fence.data.get(each) as Uint8Array)
            for (const done of fence.done) done(all)
          })
        },
        ask: async (to, topic, request) => {
          const answer = this.#answerers[to === CONTROLLER ? 0 : to]?.get(topic)
          if (!answer) throw new Error(`nobody answers ${topic}`)
          const bytes = await answer(request, agent)
          this.crossed += bytes.length
          return bytes
        },
        broadcast: (topic, message) => {
          for (const each of this.#answerers) void each.get(topic)?.(message, agent)
        },
        answer: (topic, answerer) => {
          answerers.set(topic, answerer)
        },
        report,
      })
    }
  }
}

/** What a world is made of. */
export interface WorldOptions {
  readonly agents?: Agents
  readonly agent?: number
  readonly spawn?: (request: SpawnRequest) => Promise<SpawnResult>
  readonly names?: NameServer
}

/** One agent's PMIx server, and clients of it. */
export class World {
  readonly agents: Agents
  readonly service: PmixService
  readonly lines: string[] = []
  readonly #jobs = new Map<string, JobLayout>()
  readonly #live = new Set<string>()

  constructor(options: WorldOptions = {}) {
    this.agents = options.agents ?? new Agents(1)
    const context: ServiceContext = {
      exchange: this.agents.exchanges[options.agent ?? 0] as Exchange,
      log: { ...silentLog, note: (line) => this.lines.push(line), warn: (line) => this.lines.push(line) },
      names: options.names ?? createNameServer(),
      job: (name) => this.#jobs.get(name),
      claim: ({ socket, job, rank, guest }) => {
        const name = `${job.id} ${rank}`
        if (!job.guests[guest]?.ranks.includes(rank) || this.#live.has(name)) return undefined
        this.#live.add(name)
        socket.once('close', () => this.#live.delete(name))
        return this.#connection(socket, job, rank, guest)
      },
      spawn: options.spawn ?? (() => Promise.reject(new Error('nobody spawns'))),
    }
    this.service = createPmixService(context)
  }

  addJob(job: JobLayout): void {
    this.#jobs.set(job.id, job)
    this.service.addJob(job, [])
  }

  /** A connection on which nothing was said. */
  connect(guest: number): Connection {
    const socket = new FakeSocket()
    socket.pause()
    return new Connection(socket, (first) => this.service.accept(socket as unknown as Socket, first, guest))
  }

  /** A client that was taken as that rank. */
  rank(job: JobLayout, rank: number, format: Format = formatOf(true, false)): Client {
    const guest = job.guests.find(({ ranks }) => ranks.includes(rank))?.guest ?? -1
    const connection = this.connect(guest)
    connection.send(handshakeOf({ nspace: job.id, rank }, format))
    const answer = connection.take()
    if (answer.length !== 8) throw new Error(`rank ${rank} was refused: ${answer.toString('hex')}`)
    return new Client(connection, { nspace: job.id, rank }, format)
  }

  #connection(socket: Socket, job: JobLayout, rank: number, guest: number): RankConnection {
    const { reports } = this.agents
    const say = (kind: 'initialised' | 'finalised') => reports.push({ kind, job: job.id, rank })
    return {
      job,
      rank,
      guest,
      initialised: () => say('initialised'),
      finalised: () => say('finalised'),
      abort: (status, message) => reports.push({ kind: 'aborted', job: job.id, rank, status, message }),
      drop: (why) => {
        reports.push({ kind: 'lost', job: job.id, rank, why })
        socket.destroy()
      },
    }
  }
}

/** Bytes to and from the server. */
export class Connection {
  readonly socket: FakeSocket
  readonly #open: (first: Buffer) => void
  #opened = false

  constructor(socket: FakeSocket, open: (first: Buffer) => void) {
    this.socket = socket
    this.#open = open
  }

  send(bytes: Buffer): void {
    if (this.#opened) this.socket.emit('data', bytes)
    else this.#open(bytes)
    this.#opened = true
  }

  /** All that was received since the last call. */
  take(): Buffer {
    return Buffer.concat(this.socket.written.splice(0))
  }

  /** Ends the connection and lets the server notice. */
  async close(): Promise<void> {
    this.socket.destroy()
    await turn()
  }
}

/** A connected rank. */
export class Client {
  readonly connection: Connection
  readonly proc: Proc
  readonly format: Format
  readonly #frames = new FrameReader('message')
  #tag = 100

  constructor(connection: Connection, proc: Proc, format: Format) {
    this.connection = connection
    this.proc = proc
    this.format = format
  }

  /** A request with this command; `write` adds what follows. Gives its tag. */
  send(command: number, write: (writer: Writer) => void = () => {}): number {
    const writer = new Writer(this.format).pack(Type.COMMAND).u8(command)
    write(writer)
    return this.sendPayload(writer.result())
  }

  sendPayload(payload: Buffer): number {
    this.#tag++
    this.connection.send(requestFrame(this.#tag, payload))
    return this.#tag
  }

  /** Frames received since the last call. */
  frames(): Frame[] {
    return this.#frames.push(this.connection.take())
  }

  /** Sends a request and gives the reader of its reply, which must have come. */
  ask(command: number, write?: (writer: Writer) => void): Reader {
    const tag = this.send(command, write)
    return this.replyTo(tag)
  }

  /** The reader of the only frame that came: the reply with this tag. */
  replyTo(tag: number): Reader {
    const frames = this.frames()
    if (frames.length !== 1 || frames[0]?.tag !== tag) {
      throw new Error(`expected one reply with tag ${tag}, got tags ${frames.map((frame) => frame.tag)}`)
    }
    return new Reader(this.format, frames[0].payload)
  }

  /** Sends a request that is answered with a status alone, or with a status before the rest. */
  status(command: number, write?: (writer: Writer) => void): number {
    return statusOf(this.ask(command, write))
  }

  /** Commits strings for all readers. */
  put(values: Readonly<Record<string, string>>, scopes: readonly number[] = [1, 2]): number {
    return this.status(Command.COMMIT, (writer) => {
      for (const scope of scopes) {
        const data = new Writer(this.format)
        for (const [key, value] of Object.entries(values)) {
          data.pack(Type.KVAL).string(key).u16(Type.STRING).string(value)
        }
        writer.pack(Type.SCOPE).u8(scope)
        writer
          .pack(Type.BUFFER)
          .u8(this.format.described ? 2 : 1)
          .sized(data.result())
      }
    })
  }

  /** Asks for a rank's data; the reply may come later. */
  get(proc: Proc, key: string | null, directives: readonly Info[] = []): number {
    return this.send(Command.GET, (writer) => {
      writer.pack(Type.STRING).string(proc.nspace).pack(Type.PROC_RANK).u32(proc.rank)
      packInfos(writer, directives)
      if (key !== null) writer.pack(Type.STRING).string(key)
    })
  }

  /** Enters a fence of these processes, all of the job unless told. */
  fence(
    procs: readonly Proc[] = [{ nspace: this.proc.nspace, rank: RANK_WILDCARD }],
    collect = true,
  ): number {
    return this.collective(Command.FENCE, procs, collect ? [flag('pmix.collect')] : [])
  }

  collective(command: number, procs: readonly Proc[], directives: readonly Info[] = []): number {
    return this.send(command, (writer) => {
      writer.pack(Type.SIZE).size(procs.length)
      if (procs.length > 0) writer.pack(Type.PROC, procs.length)
      for (const proc of procs) writeProc(writer, proc)
      packInfos(writer, directives)
    })
  }
}

/** A directive that says yes. */
export function flag(key: string): Info {
  return { key, flags: 0, type: Type.BOOL, data: true }
}

/** A directive with a whole number. */
export function number(key: string, data: number): Info {
  return { key, flags: 0, type: Type.INT, data }
}

/** A SIZE and, unless it is 0, a pack of INFOs. */
export function packInfos(writer: Writer, infos: readonly Info[]): void {
  writer.pack(Type.SIZE).size(infos.length)
  if (infos.length > 0) writer.pack(Type.INFO, infos.length)
  for (const info of infos) writeInfo(writer, info)
}

/** Reads the status in front of a reply. */
export function statusOf(reader: Reader): number {
  reader.packOf(Type.STATUS)
  return reader.i32()
}

/** Reads what the reply to a get says of each process: keys with strings, or the types of other values. */
export function dataOf(reader: Reader): Record<string, Record<string, string>> {
  if (statusOf(reader) !== Status.SUCCESS) throw new Error('the get failed')
  const all: Record<string, Record<string, string>> = {}
  while (reader.remaining > 0) {
    reader.packOf(Type.BYTE_OBJECT)
    const source = new Reader(reader.format, reader.sized())
    source.packOf(Type.PROC)
    const proc = `${source.string()}.${source.u32() | 0}`
    const values: Record<string, string> = {}
    while (source.remaining > 0) {
      source.packOf(Type.KVAL)
      const key = source.string() ?? ''
      const type = source.u16()
      values[key] = type === Type.STRING ? (source.string() ?? '') : `type ${type}`
      if (type !== Type.STRING) break
    }
    all[proc] = values
  }
  return all
}

/** A request as a client frames it. */
export function requestFrame(tag: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt32BE(tag, 4)
  header.writeUInt32BE(payload.length, 8)
  return Buffer.concat([header, payload])
}

/** The first message of a client. */
export function handshakeOf(proc: Proc, format: Format, encoding = format.flex ? 'v41' : 'v3'): Buffer {
  const rank = Buffer.alloc(4)
  rank.writeUInt32BE(proc.rank)
  const body = Buffer.concat([
    Buffer.from('none\0\0\0\0\0\0', 'latin1'),
    Buffer.from(`${proc.nspace}\0`, 'latin1'),
    rank,
    Buffer.from(`4.2.2\0${encoding}\0`, 'latin1'),
    Buffer.from([format.described ? 2 : 1]),
    Buffer.from('hash\0', 'latin1'),
  ])
  return Buffer.concat([handshakeHeader(body.length), body])
}

/** The header of a handshake: its length is little endian. */
export function handshakeHeader(length: number): Buffer {
  const header = Buffer.alloc(16, 0xff)
  header.writeUInt32LE(length, 8)
  header.writeUInt32LE(0, 12)
  return header
}

/** Lets promises that are settled run their course. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
