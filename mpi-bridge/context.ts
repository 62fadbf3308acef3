// What the services of one node's process manager (PMI-1 and PMI-2, PMIx) share: the jobs, who is connected, the
// other nodes, names, spawn. A service knows its protocol and nothing of ports, guests' addresses or the launcher.
import type { Socket } from 'node:net'
import type { Log } from '../common/index.ts'
import type { Exchange } from './exchange.ts'
import type { JobLayout, Preput } from './job.ts'
import type { NameService } from './names.ts'
import type { SpawnRequest, SpawnResult } from './spawn.ts'

/** Where the ranks of one guest reach this node's process manager. `host` is a numeric IPv4 address. */
export interface ServiceAddress {
  readonly host: string
  readonly port: number
}

/** A connection that says it is a rank. */
export interface Claim {
  readonly socket: Socket
  /** Guest whose port it came to. */
  readonly guest: number
  /** A job of `ServiceContext.job`, never a name taken from the wire. */
  readonly job: JobLayout
  readonly rank: number
}

/**
 * The one live connection of a rank. Each of its reports reaches the controller once, in order; when the socket
 * closes before `finalised` or `abort`, the rank is reported lost without the service's doing.
 */
export interface RankConnection {
  readonly job: JobLayout
  readonly rank: number
  readonly guest: number
  /** The rank has begun MPI_Init: it knows its rank and size. */
  initialised(): void
  /** From here on a closed connection is normal. */
  finalised(): void
  /** MPI_Abort of the whole job. Does not close the connection. */
  abort(status: number, message: string): void
  /** Closes the connection at once; `why` becomes the reason of the loss unless the rank had finalised. */
  drop(why: string): void
}

/** What a service is made with. */
export interface ServiceContext {
  readonly exchange: Exchange
  readonly log: Log
  readonly names: NameService
  /** The job of that exact name, which a client presented: compared in constant time. */
  job(name: string): JobLayout | undefined
  /**
   * Takes the place of the rank for this connection. Undefined when the rank is not in that guest, has a live
   * connection already, or was lost before: the service then refuses and closes. After `finalised` and the end of
   * its connection a rank may connect again (a second MPI program in one script).
   */
  claim(claim: Claim): RankConnection | undefined
  /** Starts more ranks (MPI_Comm_spawn); rejects with a LeetError when that cannot be. */
  spawn(request: SpawnRequest): Promise<SpawnResult>
}

/** One protocol's server, as the process manager drives it. */
export interface WireUpService {
  /** Before any rank of the job starts. Pairs of `preput` are for PMI only. */
  addJob(job: JobLayout, preput: readonly Preput[]): void
  /**
   * Takes over a paused socket whose first bytes, `first`, are of this protocol. The process manager closes it when
   * no claim was made before its handshake deadline; errors of the socket are already handled (its 'close' follows).
   */
  accept(socket: Socket, first: Buffer, guest: number): void
  /** The variables that lead rank `rank` of `job` to `address`. */
  environment(job: JobLayout, rank: number, address: ServiceAddress): Record<string, string>
  /** Ends every connection. */
  close(): void
}

/** The ranks of the job that this agent serves, ascending. */
export function localRanks(job: JobLayout, agent: number): number[] {
  return job.guests.flatMap((guest) => (guest.agent === agent ? guest.ranks : [])).sort((a, b) => a - b)
}

/** The agents that serve ranks of the job, ascending: the participants of its fences. */
export function agentsOf(job: JobLayout): number[] {
  return [...new Set(job.guests.filter((guest) => guest.ranks.length > 0).map((guest) => guest.agent))].sort(
    (a, b) => a - b,
  )
}
