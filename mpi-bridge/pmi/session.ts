// What the sessions of PMI-1 and PMI-2 have in common: the side of a rank and the side of its socket.
import type { RankConnection } from '../context.ts'
import type { NameParty, NameService } from '../names.ts'
import type { SpawnRequest, SpawnResult } from '../spawn.ts'
import type { PmiJob, Release } from './job.ts'

/** What a session does outwards. */
export interface SessionHost {
  /** Sends text, one byte a character. */
  send(text: string): void
  /** Closes the connection after what was sent, for `why`. */
  end(why: string): void
  /** The rank of a PMI id; undefined when the id is unknown or the rank cannot connect. Does not reject. */
  claim(id: number): Promise<Member | undefined> | Member | undefined
  readonly names: NameService
  spawn(request: SpawnRequest): Promise<SpawnResult>
}

/** One connection's state of the protocol, apart from sockets. */
export interface PmiSession {
  /** Bytes from the client. */
  receive(chunk: Buffer): void
  /** The connection has ended: nothing is sent any more. */
  closed(): void
}

/** A rank that has claimed its place, with its job. */
export class Member {
  readonly connection: RankConnection
  readonly job: PmiJob
  /** Fences that it has entered. */
  #fences = 0

  constructor(connection: RankConnection, job: PmiJob) {
    this.connection = connection
    this.job = job
  }

  get rank(): number {
    return this.connection.rank
  }

  /** The rank as a user of the name service. */
  get party(): NameParty {
    return { job: this.job.layout.id, rank: this.rank, guest: this.connection.guest }
  }

  /** Enters the job's fence; false when it waits in it already. */
  enterFence(release: Release): boolean {
    return this.job.enterFence(this.rank, ++this.#fences, release)
  }
}

/** Publishes a port name as PMI does: for everybody, until the session ends. */
export async function publishPort(host: SessionHost, member: Member, name: string, port: string) {
  return host.names.publish(member.party, [
    { key: name, value: Buffer.from(port, 'latin1'), range: 'session', persistence: 'session' },
  ])
}

/** The port name published under `name`; undefined when there is none. PMI clients do not wait. */
export async function lookUpPort(host: SessionHost, member: Member, name: string) {
  const { found } = await host.names.lookup(member.party, { keys: [name], wait: 0 })
  const value = found[0]?.value
  return value && Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')
}
