// The PMIx server of one node: takes over connections, checks who they are, and answers what they ask.
// Written from what clients of OpenPMIx 3.2 to 6.1 and Open MPI 4.1 and 5.0 were seen to send; README.md beside this
// file has the wire format and its sources.
import type { Socket } from 'node:net'
import { LeetError, messageOf } from '../../common/index.ts'
import type { ServiceAddress, ServiceContext, WireUpService } from '../context.ts'
import type { JobLayout } from '../job.ts'
import { Collectives, type Contribution, type LocalRanks } from './collectives.ts'
import { Attribute, Range, Status } from './constants.ts'
import { asksFor, timeoutOf } from './directives.ts'
import { Events, packEvent, unpackEvent } from './events.ts'
import { type Frame, FrameReader } from './frames.ts'
import { Gets, type KnownJob } from './gets.ts'
import { acceptance, type Handshake, readHandshake, refusal } from './handshake.ts'
import { JobInfo } from './job-info.ts'
import { Modex } from './modex.ts'
import { lookup, publish, unpublish } from './publishing.ts'
import {
  addByteObject,
  type Collective,
  decodeRequest,
  type Request,
  replyWith,
  wantsReply,
} from './requests.ts'
import { type Answer, MAX_OUTSTANDING, Session } from './session.ts'
import { spawnRequestOf } from './spawning.ts'
import { printable } from './strings.ts'
import { type Proc, readProc, Type, text, UnknownTypeError, writeProc } from './values.ts'
import { formatOf, Reader, Writer } from './wire.ts'

/** The PMIx server of one agent. */
export interface PmixService extends WireUpService {
  /**
   * Tells the ranks in a guest to end; gives how many have a handler that hears it. Ranks of Open MPI 4.1 do end within
   * milliseconds, of 5.0 in their next call of MPI. They may report that they abort, with a status that means nothing.
   */
  endRanks(guest: number): number
}

/** Topics of what agents tell each other. */
const EVENT_TOPIC = 'pmix.event'
const LOST_TOPIC = 'pmix.lost'

const between = formatOf(true, false)

/** Makes the PMIx server of this agent. */
export function createPmixService(context: ServiceContext): PmixService {
  return new Service(context)
}

class Service implements PmixService {
  private readonly context: ServiceContext
  private readonly jobs = new Map<string, KnownJob>()
  private readonly sessions = new Set<Session>()
  private readonly events = new Events()
  private readonly collectives: Collectives
  private readonly gets: Gets
  private peerIndex = 0

  constructor(context: ServiceContext) {
    this.context = context
    const { exchange } = context
    this.gets = new Gets(exchange, (nspace) => this.jobs.get(nspace))
    this.collectives = new Collectives({
      exchange,
      job: (nspace) => this.jobs.get(nspace)?.info,
      contribute: (ranks, agents) => this.contribute(ranks, agents),
      receive: (data) => this.receive(data),
    })
    exchange.answer(EVENT_TOPIC, async (message) => {
      this.events.deliver(unpackEvent(message))
      return new Uint8Array()
    })
    exchange.answer(LOST_TOPIC, async (message) => {
      this.rankLost(readProc(new Reader(between, message)))
      return new Uint8Array()
    })
  }

  addJob(job: JobLayout): void {
    this.jobs.set(job.id, { info: new JobInfo(job), modex: new Modex() })
  }

  environment(job: JobLayout, rank: number, address: ServiceAddress): Record<string, string> {
    const uri = `leet.0;tcp4://${address.host}:${address.port}`
    const guest = this.jobs.get(job.id)?.info.guestOf(rank)
    return {
      PMIX_NAMESPACE: job.id,
      PMIX_RANK: String(rank),
      // Clients take the newest that they know. URI2 is left out: its encoding is another one.
      PMIX_SERVER_URI41: uri,
      PMIX_SERVER_URI4: uri,
      PMIX_SERVER_URI3: uri,
      PMIX_SERVER_URI21: uri,
      // Later clients would look for the server's shared memory.
      PMIX_GDS_MODULE: 'hash',
      PMIX_SECURITY_MODE: 'none',
      PMIX_BFROP_BUFFER_TYPE: 'PMIX_BFROP_BUFFER_NON_DESC',
      PMIX_VERSION: '4.2.2',
      ...(guest ? { PMIX_HOSTNAME: guest.name } : {}),
      // Open MPI 4 believes PMIX_* only from launchers it knows; this one has the fewest side effects.
      JSM_JSRUN_PORT: '1',
    }
  }

  accept(socket: Socket, first: Buffer, guest: number): void {
    const frames = new FrameReader('handshake')
    let session: Session | undefined
    const refuse = (why: string) => {
      this.context.log.detail(`a connection to the PMIx port of guest ${guest} was refused: ${why}`)
      socket.off('data', onData)
      socket.end(refusal(Status.NOT_FOUND))
    }
    const onData = (chunk: Buffer) => {
      try {
        for (const frame of frames.push(chunk)) {
          if (session) session.receive(frame)
          else session = this.admit(socket, readHandshake(frame.payload), guest)
          if (!session) return refuse('it is no rank of this guest, or one that is connected')
        }
      } catch (error) {
        if (session) session.connection.drop('it sent what is not a PMIx message')
        else refuse(messageOf(error))
      }
    }
    socket.on('data', onData)
    socket.on('close', () => {
      if (session) this.sessionClosed(session)
    })
    onData(first)
    socket.resume()
  }

  endRanks(guest: number): number {
    return this.events.end(guest)
  }

  close(): void {
    for (const session of [...this.sessions]) session.connection.drop('the process manager closes')
    this.collectives.close()
    this.gets.close()
    for (const { modex } of this.jobs.values()) modex.close()
  }

  private admit(socket: Socket, handshake: Handshake, guest: number): Session | undefined {
    const job = this.context.job(handshake.nspace)
    if (!job || !this.jobs.has(job.id)) return undefined
    const { rank, format, version } = handshake
    const connection = this.context.claim({ socket, guest, job, rank })
    if (!connection) return undefined
    this.context.log.detail(`rank ${rank} speaks PMIx ${printable(version)}`)
    this.jobs.get(job.id)?.modex.setEnded(rank, false)
    socket.write(acceptance(this.peerIndex++))
    const session = new Session(socket, connection, format, (from, frame) => this.handle(from, frame))
    this.sessions.add(session)
    return session
  }

  private sessionClosed(session: Session): void {
    if (!this.sessions.delete(session)) return
    session.closed()
    this.events.remove(session)
    this.jobs.get(session.proc.nspace)?.modex.setEnded(session.proc.rank, true)
    if (session.finalised || !this.jobs.has(session.proc.nspace)) return
    const writer = new Writer(between)
    writeProc(writer, session.proc)
    this.context.exchange.broadcast(LOST_TOPIC, writer.result())
  }

  private rankLost(proc: Proc): void {
    this.collectives.rankLost(proc)
    this.jobs.get(proc.nspace)?.modex.setEnded(proc.rank, true)
  }

  private handle(session: Session, { tag, payload }: Frame): void {
    session.reply(tag, this.answer(session, tag, payload))
  }

  private answer(session: Session, tag: number, payload: Buffer): Answer {
    let request: Request
    try {
      request = decodeRequest(payload, session.format)
    } catch (error) {
      if (!wantsReply(payload, session.format)) return 'none'
      return error instanceof UnknownTypeError ? Status.NOT_SUPPORTED : Status.UNPACK_FAILURE
    }
    if (session.outstanding > MAX_OUTSTANDING && request.command !== 'deregisterEvents')
      return Status.RESOURCE_BUSY
    try {
      return this.serve(session, tag, request)
    } catch (error) {
      if (error instanceof LeetError) return Status.UNPACK_FAILURE
      // Nothing that a rank sends may end the server: this is a bug of ours, and one request's only.
      this.context.log.warn(
        `PMIx request ${request.command} of rank ${session.proc.rank} failed: ${messageOf(error)}`,
      )
      return Status.ERROR
    }
  }

  private serve(session: Session, tag: number, request: Request): Answer {
    const { names, log } = this.context
    const known = this.jobs.get(session.proc.nspace)
    if (!known) return Status.NOT_FOUND
    switch (request.command) {
      case 'jobInfo':
        session.connection.initialised()
        return known.info.everything(session.format, session.guest)
      case 'commit':
        return known.modex.commit(session.proc.rank, request.parts)
      case 'get':
        return this.gets.get(session, tag, request)
      case 'fence':
      case 'connect':
      case 'disconnect':
        return this.enter(session, tag, request)
      case 'finalize':
        session.finalised = true
        session.connection.finalised()
        known.modex.setEnded(session.proc.rank, true)
        return Status.SUCCESS
      case 'abort':
        return this.abort(session, tag, request)
      case 'publish':
        return publish(names, session, request)
      case 'lookup':
        return lookup(names, session, request)
      case 'unpublish':
        return unpublish(names, session, request)
      case 'spawn':
        return this.spawn(session, request)
      case 'notify':
        return this.notify(session, request)
      case 'registerEvents': {
        // What happened before is told after the client knows that it is registered.
        session.reply(tag, this.events.register(session, request.codes, request.directives))
        this.events.replay(session, request.codes)
        return 'later'
      }
      case 'deregisterEvents':
        this.events.deregister(session, request.codes)
        return 'none'
      case 'log':
        for (const info of request.data) {
          const line = text(info)
          if (line === undefined) continue
          for (const each of printable(line).trimEnd().split('\n'))
            log.note(`rank ${session.proc.rank}: ${each}`)
        }
        return Status.SUCCESS
      case 'other':
        return Status.NOT_SUPPORTED
    }
  }

  private enter(session: Session, tag: number, request: Extract<Request, { command: Collective }>): Answer {
    const { command, procs, directives } = request
    const refused = this.collectives.enter({
      kind: command,
      proc: session.proc,
      procs,
      collect: asksFor(directives, Attribute.COLLECT),
      timeoutMs: timeoutOf(directives),
      done: (status, jobs) => {
        const others = jobs.filter(({ job }) => job.id !== session.proc.nspace)
        if (command !== 'connect' || status !== Status.SUCCESS) return session.reply(tag, status)
        // Who connects must know the ranks of the other jobs as it knows those of its own.
        const reply = replyWith(session.format, status)
        for (const other of others) addByteObject(reply, ...other.everything(session.format, session.guest))
        session.reply(tag, reply)
      },
    })
    return refused ?? 'later'
  }

  /** What the ranks of this agent have committed and other agents do not have yet. */
  private contribute(local: readonly LocalRanks[], agents: readonly number[]): Contribution {
    const writer = new Writer(between, 4096).size(local.length)
    const marks: (() => void)[] = []
    for (const { job, ranks } of local) {
      writer.string(job.job.id)
      const modex = this.jobs.get(job.job.id)?.modex ?? new Modex()
      const mark = modex.writeNews(writer, ranks)
      if (job.agents.every((agent) => agents.includes(agent))) marks.push(mark)
    }
    return {
      data: writer.result(),
      delivered() {
        for (const mark of marks) mark()
      },
    }
  }

  private receive(data: Uint8Array): void {
    const reader = new Reader(between, data)
    for (let jobs = reader.counted(reader.size()); jobs > 0; jobs--) {
      const modex = this.jobs.get(reader.string() ?? '')?.modex ?? new Modex()
      modex.receive(reader)
    }
  }

  private abort(session: Session, tag: number, request: Extract<Request, { command: 'abort' }>): Answer {
    const { status, message, procs } = request
    // Whichever rank of its own job is to be aborted, all are: MPI allows that, and no job goes on without one of its ranks.
    if (procs.length > 0 && !procs.some((proc) => proc.nspace === session.proc.nspace)) {
      return Status.NOT_SUPPORTED
    }
    // A rank that ends itself is not told to, or its status would be another one.
    if (procs.length === 0) this.events.remove(session)
    // Answered first: the rank may be ended at once.
    session.reply(tag, Status.SUCCESS)
    session.connection.abort(status, printable(message))
    return 'later'
  }

  private async spawn(
    session: Session,
    request: Extract<Request, { command: 'spawn' }>,
  ): Promise<number | Writer> {
    try {
      const { job } = await this.context.spawn(spawnRequestOf(session.proc, request))
      return replyWith(session.format, Status.SUCCESS).pack(Type.STRING).string(job)
    } catch (error) {
      this.context.log.warn(`rank ${session.proc.rank} could not start more ranks: ${messageOf(error)}`)
      return Status.JOB_FAILED_TO_LAUNCH
    }
  }

  private notify(session: Session, request: Extract<Request, { command: 'notify' }>): Answer {
    const { event: status, range, infos } = request
    const event = { status, source: session.proc, guest: session.guest, range, infos }
    if (range === Range.LOCAL) this.events.deliver(event)
    else this.context.exchange.broadcast(EVENT_TOPIC, packEvent(event))
    return Status.SUCCESS
  }
}
