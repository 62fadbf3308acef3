// Gets: data of a job or of one rank, from what this agent knows, from a rank that is still to commit it, or from
// the agent that serves that rank (direct modex).
import { Deadline } from '../../common/index.ts'
import type { Exchange } from '../exchange.ts'
import { Attribute, RESERVED_PREFIX, Status } from './constants.ts'
import { asksFor, timeoutOf } from './directives.ts'
import { encodePairs, type JobInfo } from './job-info.ts'
import type { Modex, ReaderScope, Want } from './modex.ts'
import { ReadAhead } from './read-ahead.ts'
import { addByteObject, type Request, replyWith } from './requests.ts'
import type { Answer, Session } from './session.ts'
import { type Proc, RANK_WILDCARD, Type, UnknownTypeError, writeProc } from './values.ts'
import { formatOf, Reader, Writer } from './wire.ts'

type GetRequest = Extract<Request, { command: 'get' }>

/** A job as gets see it. */
export interface KnownJob {
  readonly info: JobInfo
  readonly modex: Modex
}

/** Topic of the questions about data of a rank that another agent serves. */
const MODEX_TOPIC = 'pmix.modex'

const between = formatOf(true, false)

/** Answers gets on one agent. */
export class Gets {
  private readonly exchange: Exchange
  private readonly job: (nspace: string) => KnownJob | undefined
  /** Ends questions to other agents with the service. */
  private readonly closing = new AbortController()
  /** Questions under way: ranks that want the same ask once. */
  private readonly asked = new Map<string, Promise<number>>()
  private readonly ahead = new WeakMap<Session, ReadAhead>()

  constructor(exchange: Exchange, job: (nspace: string) => KnownJob | undefined) {
    this.exchange = exchange
    this.job = job
    exchange.answer(MODEX_TOPIC, (question) => this.answerAgent(question))
  }

  close(): void {
    this.closing.abort()
  }

  /** Answers a get, now or later. */
  get(session: Session, tag: number, request: GetRequest): Answer {
    const { proc, key, directives } = request
    const known = this.job(proc.nspace)
    if (!known) return Status.NOT_FOUND
    const { info, modex } = known
    if (proc.rank === RANK_WILDCARD) {
      if (key !== undefined && !info.hasJobKey(key)) return Status.NOT_FOUND
      const level = info.jobLevel(session.format, session.guest)
      return addByteObject(replyWith(session.format, Status.SUCCESS), ...level)
    }
    const guest = info.guestOf(proc.rank)
    if (!guest) return Status.NOT_FOUND
    const scope: ReaderScope = guest.guest === session.guest ? 'local' : 'remote'
    const want: Want = { rank: proc.rank, scope, key, timeoutMs: timeoutOf(directives) }
    const reserved = key?.startsWith(RESERVED_PREFIX) === true
    if (reserved && info.hasRankKey(key)) return this.answer(session, known, want, true)
    const mine = guest.agent === this.exchange.agent
    const refresh = !mine && asksFor(directives, Attribute.REFRESH_CACHE)
    const state = modex.find(want)
    if (state === 'found' && !refresh) return this.answer(session, known, want, false)
    const impatient = asksFor(directives, Attribute.IMMEDIATE) || asksFor(directives, Attribute.OPTIONAL)
    if (reserved || impatient || (mine && state === 'otherScope')) return Status.NOT_FOUND
    const done = (status: number): number | Writer =>
      status === Status.SUCCESS ? this.answer(session, known, want, false) : status
    if (!mine) return this.ask(guest.agent, proc, want).then(done)
    const wait = modex.wait(want, (status) => {
      if (typeof wait === 'function') session.waits.delete(wait)
      session.reply(tag, done(status))
    })
    if (typeof wait === 'number') return done(wait)
    session.waits.add(wait)
    return 'later'
  }

  /** Gets the data of a rank from the agent that serves it, and a status. Never rejects. */
  private ask(agent: number, proc: Proc, want: Want): Promise<number> {
    const question = new Writer(between)
      .string(proc.nspace)
      .u32(proc.rank)
      .string(want.key ?? null)
    question.size(want.timeoutMs === undefined ? 0 : want.timeoutMs + 1)
    const name = question.result().toString('latin1')
    const underWay = this.asked.get(name)
    if (underWay) return underWay
    const limits = { deadline: Deadline.never, signal: this.closing.signal }
    const status = this.exchange
      .ask(agent, MODEX_TOPIC, question.result(), limits)
      .then((answer) => {
        const reader = new Reader(between, answer)
        const status = reader.i32()
        if (status === Status.SUCCESS) this.job(proc.nspace)?.modex.receive(reader)
        return status
      })
      .catch(() => Status.UNREACHABLE as number)
      .finally(() => this.asked.delete(name))
    this.asked.set(name, status)
    return status
  }

  /** Another agent asks for a rank of this one. */
  private answerAgent(message: Uint8Array): Promise<Uint8Array> {
    const reader = new Reader(between, message)
    const nspace = reader.string() ?? ''
    const rank = reader.u32()
    const key = reader.string() ?? undefined
    const timeout = reader.size()
    const modex = this.job(nspace)?.modex
    return new Promise((resolve) => {
      const done = (status: number) => {
        const message = new Writer(between).i32(status)
        if (status === Status.SUCCESS) modex?.writeAll(message, rank)
        resolve(message.result())
      }
      const timeoutMs = timeout === 0 ? undefined : timeout - 1
      const want: Want = { rank, scope: 'remote', key, timeoutMs }
      const wait = modex ? modex.wait(want, done) : Status.NOT_FOUND
      if (typeof wait === 'number') done(wait)
    })
  }

  /** All that the reader may see of a rank; for a rank of another job, that job's data too. */
  private answer(session: Session, known: KnownJob, want: Want, rankLevel: boolean): number | Writer {
    const { info, modex } = known
    const { format } = session
    const reply = replyWith(format, Status.SUCCESS)
    try {
      if (info.job.id !== session.proc.nspace) {
        addByteObject(reply, ...info.jobLevel(format, session.guest))
        return addRank(reply, known, want.rank, want.scope, true)
      }
      addRank(reply, known, want.rank, want.scope, rankLevel)
      let ahead = this.ahead.get(session)
      if (!ahead) {
        ahead = new ReadAhead(info, session.guest, session.format)
        this.ahead.set(session, ahead)
      }
      for (const rank of ahead.next(modex, want.rank, want.scope)) {
        addRank(reply, known, rank, want.scope, false)
      }
      return reply
    } catch (error) {
      if (error instanceof UnknownTypeError) return Status.NOT_SUPPORTED
      throw error
    }
  }
}

/** Adds what is known of a rank: what it has committed and, if asked for, what every job tells of its ranks. */
function addRank(
  reply: Writer,
  { info, modex }: KnownJob,
  rank: number,
  scope: ReaderScope,
  rankLevel: boolean,
): Writer {
  const head = new Writer(reply.format, 128).pack(Type.PROC)
  writeProc(head, { nspace: info.job.id, rank })
  const level = rankLevel ? [encodePairs(reply.format, info.rankLevel(rank))] : []
  return addByteObject(reply, head.result(), ...level, ...modex.read(rank, scope, reply.format))
}
