// The process manager of one node: one TCP port for each of its guests, where the ranks of that guest find PMI-1,
// PMI-2 and PMIx side by side, told apart by their first bytes. It knows who is connected, refuses everybody else,
// and tells the controller what ranks do. The services know the protocols.
import { timingSafeEqual } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { Deadline, LeetError, type Log, type Scope } from '../common/index.ts'
import type { Claim, RankConnection, ServiceAddress, ServiceContext, WireUpService } from './context.ts'
import type { Exchange } from './exchange.ts'
import type { JobLayout, Preput, RankReport } from './job.ts'
import { remoteNames } from './names.ts'
import { checkPeer, isLocalPeer } from './peer.ts'
import type { FinalizeRescue } from './pmi/job.ts'
import { createPmiService } from './pmi/service.ts'
import { MAX_HANDSHAKE_BYTES } from './pmix/frames.ts'
import { createPmixService } from './pmix/service.ts'
import { askSpawn } from './spawn.ts'

export type { FinalizeRescue } from './pmi/job.ts'

/** What a process manager is made with. */
export interface ProcessManagerOptions {
  /** With which it ends: it then closes all connections, without reporting anybody lost, and its ports. */
  readonly scope: Scope
  readonly exchange: Exchange
  readonly log: Log
  /** For programs linked with MPICH 4.0 and UCX in more than one guest; off unless given. */
  readonly finalizeRescue?: FinalizeRescue
  /** A connection that has not said which rank it is after so many milliseconds is closed; 10,000 unless told. */
  readonly handshakeMs?: number
  /** Users whose processes may be ranks of this machine, besides root; this process's user unless told. */
  readonly uids?: readonly number[]
}

/** Who may connect to a guest's port. */
export interface ListenOptions {
  /** The guest's address, when it has one of its own: connections from elsewhere are closed. */
  readonly peer?: string
}

/** The process manager of one node. */
export interface ProcessManager {
  /** Makes a job known, before the environment of its ranks is asked for and before they start. */
  addJob(layout: JobLayout, preput?: readonly Preput[]): void
  /**
   * Opens the port of guest `guest` on the numeric address `host` of this machine. `LEET_E_SERVICE_ADDRESS` when
   * that cannot be.
   */
  listen(guest: number, host: string, options?: ListenOptions): Promise<ServiceAddress>
  /** The variables of PMI and PMIx that lead a local rank to `address`, which is how the guest sees the port. */
  environment(job: string, rank: number, address: ServiceAddress): Record<string, string>
  /**
   * Tells the ranks in a guest to end, as far as their protocol has words for it (PMIx): for guests in which nothing can be
   * signalled. False when none of them will, since none was told or was about to end anyway.
   */
  endRanks(guest: number): boolean
}

const EMPTY = Buffer.alloc(0)

/** Bytes of a PMIx handshake that begins so, or of its header as long as that is not complete. */
function handshakeSize(bytes: Buffer): number {
  // The length of the payload, in the client's byte order (little endian on x86 and arm64), is at byte 8 of 16.
  return bytes.length < 16 ? 16 : 16 + bytes.readUInt32LE(8)
}

/** Connections of one guest that may be silent at a time, besides one for each of its ranks. */
const MORE_PENDING = 512

interface JobState {
  readonly layout: JobLayout
  readonly name: Buffer
  /** Guest of each local rank. */
  readonly guestOf: ReadonlyMap<number, number>
  readonly ranks: Map<number, LiveRank>
}

/** Opens the process manager of this node; ports are opened with `listen`. */
export function openProcessManager(options: ProcessManagerOptions): ProcessManager {
  const { exchange, log, handshakeMs = 10_000 } = options
  const jobs = new Map<string, JobState>()
  const servers = new Set<Server>()
  const connections = new Set<Socket>()
  const pendings = new Map<number, Pending>()
  const ended = new AbortController()
  const uids = new Set(options.uids ?? [process.getuid?.() ?? 0])
  const limits = { deadline: Deadline.never, signal: ended.signal }
  options.scope.onEnd('the process manager', close)

  const pendingOf = (guest: number): Pending => {
    let pending = pendings.get(guest)
    if (!pending) {
      pending = new Pending(handshakeMs)
      pendings.set(guest, pending)
    }
    return pending
  }

  const report = (what: RankReport) => {
    if (!ended.signal.aborted) exchange.report(what)
  }

  const context: ServiceContext = {
    exchange,
    log,
    names: remoteNames(exchange, limits),
    job(name) {
      const presented = Buffer.from(name, 'utf8')
      let found: JobLayout | undefined
      for (const job of jobs.values()) {
        if (job.name.length === presented.length && timingSafeEqual(job.name, presented)) found = job.layout
      }
      return found
    },
    claim(claim) {
      const job = jobs.get(claim.job.id)
      if (!job || job.guestOf.get(claim.rank) !== claim.guest) return undefined
      const before = job.ranks.get(claim.rank)
      if (before && !before.replaceable) {
        log.warn(`rank ${claim.rank} connected a second time: refused`)
        return undefined
      }
      before?.replace()
      pendings.get(claim.guest)?.settle(claim.socket)
      const rank = new LiveRank(claim, report)
      job.ranks.set(claim.rank, rank)
      return rank
    },
    spawn: (request) => askSpawn(exchange, request, limits),
  }

  /** Whether the peer may be a rank: on this machine, a process of our user. Asked only about who knows a secret. */
  const mayBeRank = (socket: Socket, guest: number): Promise<boolean> | true => {
    if (!isLocalPeer(socket.remoteAddress, socket.localAddress)) return true
    const pending = pendings.get(guest)
    // What we take our time for is not the client's fault.
    pending?.settle(socket)
    return checkPeer(socket, uids).then((verdict) => {
      pending?.resume(socket)
      if (verdict === 'foreign')
        log.warn(`guest ${guest}: a process of another user spoke as a rank: refused`)
      return verdict !== 'foreign' && !socket.destroyed
    })
  }

  const pmi = createPmiService(context, mayBeRank, options.finalizeRescue)
  const pmix = createPmixService(context)
  const services: readonly WireUpService[] = [pmi, pmix]

  const accept = (socket: Socket, guest: number, pending: Pending, peer: string | undefined) => {
    connections.add(socket)
    // The 'close' that follows is what counts.
    socket.on('error', () => {})
    socket.once('close', () => connections.delete(socket))
    const refuse = (why: string) => {
      log.detail(`guest ${guest}: a connection from ${socket.remoteAddress} is closed: ${why}`)
      socket.destroy()
    }
    if (peer !== undefined && socket.remoteAddress !== peer) return refuse('it is not the guest')
    pending.add(socket)
    socket.setNoDelay(true)
    let held: Buffer = EMPTY
    const onData = async (chunk: Buffer) => {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
      // A PMIx handshake has peer index -1 and tag -1 in its header, "cmd=…" is PMI.
      const isPmix = held[0] === 0xff
      if (!isPmix && held[0] !== 0x63) return refuse('it speaks neither PMI nor PMIx')
      if (isPmix) {
        const size = handshakeSize(held)
        if (size > MAX_HANDSHAKE_BYTES) return refuse('its handshake is too long')
        if (held.length < size) return
      }
      socket.off('data', onData)
      socket.pause()
      if (!isPmix) return pmi.accept(socket, held, guest)
      // Looking for a peer's user takes time that strangers must not be able to ask for.
      if (!namesJob(held)) return refuse('it names no job')
      if (await mayBeRank(socket, guest)) pmix.accept(socket, held, guest)
      else socket.destroy()
    }
    socket.on('data', onData)
  }

  const namesJob = (handshake: Buffer): boolean => {
    for (const { name } of jobs.values()) if (handshake.includes(name)) return true
    return false
  }

  return {
    addJob(layout, preput = []) {
      if (jobs.has(layout.id)) throw new LeetError({ code: 'LEET_E_JOB', what: 'a job was announced twice' })
      const guestOf = new Map<number, number>()
      for (const { guest, agent, ranks } of layout.guests) {
        if (agent !== exchange.agent) continue
        for (const rank of ranks) guestOf.set(rank, guest)
        pendingOf(guest).ranks += ranks.length
      }
      jobs.set(layout.id, { layout, name: Buffer.from(layout.id, 'utf8'), guestOf, ranks: new Map() })
      for (const service of services) service.addJob(layout, preput)
    },

    async listen(guest, host, { peer } = {}) {
      const pending = pendingOf(guest)
      const server = createServer((socket) => accept(socket, guest, pending, peer))
      servers.add(server)
      return new Promise<ServiceAddress>((resolve, reject) => {
        server.once('error', (cause) => {
          servers.delete(server)
          reject(
            new LeetError({
              code: 'LEET_E_SERVICE_ADDRESS',
              what: `cannot listen on ${host} for the ranks of guest ${guest}`,
              why: cause.message,
              hint: 'the address must be one of this machine',
              cause,
            }),
          )
        })
        // All ranks of a guest may connect at once.
        server.listen({ host, port: 0, backlog: 4096 }, () => {
          const address = server.address()
          resolve({ host, port: typeof address === 'object' && address ? address.port : 0 })
        })
      })
    },

    environment(id, rank, address) {
      const job = jobs.get(id)
      if (!job?.guestOf.has(rank)) {
        throw new LeetError({ code: 'LEET_E_JOB', what: `rank ${rank} is not served by this node` })
      }
      return Object.assign({}, ...services.map((service) => service.environment(job.layout, rank, address)))
    },

    endRanks(guest) {
      const told = pmix.endRanks(guest)
      if (told > 0) log.detail(`guest ${guest}: ${told} of its ranks are told to end`)
      const ranks = [...jobs.values()].flatMap((job) => [...job.ranks.values()])
      return told > 0 || ranks.some((rank) => rank.guest === guest && rank.leaving)
    },
  }

  async function close(): Promise<void> {
    ended.abort()
    for (const service of services) service.close()
    for (const pending of pendings.values()) pending.close()
    for (const socket of connections) socket.destroy()
    await Promise.all(
      [...servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    )
  }
}

/** Connections of a guest that have not yet said who they are. */
class Pending {
  /** Ranks that may connect. */
  ranks = 0
  readonly #handshakeMs: number
  readonly #timers = new Map<Socket, NodeJS.Timeout>()

  constructor(handshakeMs: number) {
    this.#handshakeMs = handshakeMs
  }

  add(socket: Socket): void {
    if (this.#timers.size >= this.ranks + MORE_PENDING) {
      // A rank says who it is at once: the oldest silent connection is none.
      const [oldest] = this.#timers.keys()
      oldest?.destroy()
      if (oldest) this.settle(oldest)
    }
    this.#wait(socket)
    socket.once('close', () => this.settle(socket))
  }

  /** The connection is a rank's, or gone, or waits for us: its time does not run, and it is not in anybody's way. */
  settle(socket: Socket): void {
    clearTimeout(this.#timers.get(socket))
    this.#timers.delete(socket)
  }

  /** The client's time runs again. */
  resume(socket: Socket): void {
    if (!socket.destroyed) this.#wait(socket)
  }

  #wait(socket: Socket): void {
    this.#timers.set(
      socket,
      setTimeout(() => socket.destroy(), this.#handshakeMs),
    )
  }

  close(): void {
    for (const socket of this.#timers.keys()) this.settle(socket)
  }
}

/** The connection of a rank, and what was told of it. */
class LiveRank implements RankConnection {
  readonly job: JobLayout
  readonly rank: number
  readonly guest: number
  readonly #socket: Socket
  readonly #report: (report: RankReport) => void
  #state: 'connected' | 'initialised' | 'finalised' | 'aborted' | 'lost' = 'connected'
  #why = 'its connection ended before MPI_Finalize'

  constructor({ job, rank, guest, socket }: Claim, report: (report: RankReport) => void) {
    this.job = job
    this.rank = rank
    this.guest = guest
    this.#socket = socket
    this.#report = report
    report({ kind: 'connected', job: job.id, rank })
    socket.once('close', () => {
      if (this.#state === 'finalised' || this.#state === 'aborted') return
      this.#state = 'lost'
      report({ kind: 'lost', job: job.id, rank, why: this.#why })
    })
  }

  /** Whether the rank may connect anew: it has finalised (a script may run a second MPI program). */
  get replaceable(): boolean {
    return this.#state === 'finalised'
  }

  /** Whether the rank has nothing left to do but to end. */
  get leaving(): boolean {
    return this.#state === 'finalised' || this.#state === 'aborted'
  }

  /** Ends what is left of the connection: MPICH 4.2 keeps it open after finalize. */
  replace(): void {
    this.#socket.destroy()
  }

  initialised(): void {
    if (this.#state !== 'connected') return
    this.#state = 'initialised'
    this.#report({ kind: 'initialised', job: this.job.id, rank: this.rank })
  }

  finalised(): void {
    if (this.#state !== 'connected' && this.#state !== 'initialised') return
    this.#state = 'finalised'
    this.#report({ kind: 'finalised', job: this.job.id, rank: this.rank })
  }

  abort(status: number, message: string): void {
    if (this.#state === 'aborted' || this.#state === 'lost') return
    this.#state = 'aborted'
    this.#report({ kind: 'aborted', job: this.job.id, rank: this.rank, status, message })
  }

  drop(why: string): void {
    this.#why = why
    this.#socket.destroy()
  }
}
