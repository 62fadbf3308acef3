// The service of PMI-1 and PMI-2 on one node: which rank an id belongs to, and sockets to and from the sessions.
import { randomInt } from 'node:crypto'
import type { Socket } from 'node:net'
import { messageOf } from '../../common/index.ts'
import type { RankConnection, ServiceAddress, ServiceContext, WireUpService } from '../context.ts'
import type { JobLayout, Preput } from '../job.ts'
import { Pmi1Session } from '../pmi1/session.ts'
import { Pmi2Session } from '../pmi2/session.ts'
import { type FinalizeRescue, PmiJob } from './job.ts'
import { Member, type PmiSession, type SessionHost } from './session.ts'

/** PMI ids are read with `atoi` (MPICH): positive numbers of 31 bits. */
const MAX_ID = 2 ** 31 - 1
/** A client of PMI-2 begins so, one of PMI-1 with `cmd=initack`. */
const PMI2_HELLO = 'cmd=init pmi_version=2'

/** A rank of one guest and the secret by which it is known. */
interface Place {
  readonly id: number
  readonly job: PmiJob
  readonly rank: number
}

/** Makes the service. `mayBeRank` judges the peer of a connection that knows a rank's id. */
export function createPmiService(
  context: ServiceContext,
  mayBeRank: (socket: Socket, guest: number) => Promise<boolean> | true,
  rescue: FinalizeRescue | undefined,
): WireUpService {
  const jobs = new Map<JobLayout, { readonly job: PmiJob; readonly ids: ReadonlyMap<number, number> }>()
  /** Places of local ranks, by guest. */
  const places = new Map<number, Place[]>()
  const used = new Set<number>()
  const sessions = new Set<Socket>()

  const newId = (): number => {
    for (;;) {
      const id = randomInt(1, MAX_ID)
      if (used.has(id)) continue
      used.add(id)
      return id
    }
  }

  /** The place of a client that presents an id on a guest's port. */
  const claim = (
    id: number,
    guest: number,
    socket: Socket,
  ): Promise<Member | undefined> | Member | undefined => {
    const place = findPlace(places.get(guest) ?? [], id)
    if (!place) return undefined
    const take = () => {
      const connection = context.claim({ socket, guest, job: place.job.layout, rank: place.rank })
      return connection && new Member(connection, place.job)
    }
    const allowed = mayBeRank(socket, guest)
    return allowed === true ? take() : allowed.then((yes) => (yes ? take() : undefined))
  }

  return {
    addJob(layout: JobLayout, preput: readonly Preput[]) {
      const job = new PmiJob(layout, preput, context.exchange, context.log, rescue)
      const ids = new Map<number, number>()
      jobs.set(layout, { job, ids })
      for (const { guest, agent, ranks } of layout.guests) {
        if (agent !== context.exchange.agent) continue
        const list = places.get(guest) ?? []
        for (const rank of ranks) {
          const id = newId()
          ids.set(rank, id)
          list.push({ id, job, rank })
        }
        places.set(guest, list)
      }
    },

    accept(socket: Socket, first: Buffer, guest: number) {
      let connection: RankConnection | undefined
      const host: SessionHost = {
        send(text) {
          // A client that asks without reading the answers is not read from until it does.
          if (!socket.write(text, 'latin1')) socket.pause()
        },
        end(why) {
          context.log.detail(
            connection
              ? `rank ${connection.rank}: its PMI connection is closed: ${why}`
              : `guest ${guest}: a PMI connection is refused: ${why}`,
          )
          if (connection) connection.drop(why)
          else socket.destroy()
        },
        claim(id) {
          const keep = (member: Member | undefined) => {
            connection = member?.connection
            return member
          }
          const claimed = claim(id, guest, socket)
          return claimed instanceof Promise ? claimed.then(keep) : keep(claimed)
        },
        names: context.names,
        async spawn(request) {
          try {
            return await context.spawn(request)
          } catch (error) {
            // The protocol has no words for the reason.
            context.log.warn(`rank ${request.rank} could not start more ranks: ${messageOf(error)}`)
            throw error
          }
        },
      }
      sessions.add(socket)
      let session: PmiSession | undefined
      let held = first
      const receive = (chunk: Buffer) => {
        if (session) return session.receive(chunk)
        held = held === chunk ? chunk : Buffer.concat([held, chunk])
        const version = versionOf(held)
        if (version === undefined) return
        session = version === 2 ? new Pmi2Session(host) : new Pmi1Session(host)
        session.receive(held)
        held = EMPTY
      }
      socket.on('data', receive)
      socket.on('drain', () => socket.resume())
      socket.once('close', () => {
        sessions.delete(socket)
        session?.closed()
      })
      receive(first)
      socket.resume()
    },

    environment(job: JobLayout, rank: number, address: ServiceAddress) {
      const id = jobs.get(job)?.ids.get(rank)
      if (id === undefined) return {}
      return {
        PMI_PORT: `${address.host}:${address.port}`,
        PMI_ID: String(id),
        // MPI_Comm_get_parent of MPICH with PMI-1 believes only this.
        ...(job.spawnedBy ? { PMI_SPAWNED: '1' } : {}),
      }
    },

    close() {
      for (const { job } of jobs.values()) job.close()
      for (const socket of sessions) socket.destroy()
    },
  }
}

const EMPTY = Buffer.alloc(0)

/** Which PMI the first bytes are of; undefined when there are too few of them. */
function versionOf(bytes: Buffer): 1 | 2 | undefined {
  const text = bytes.toString('latin1', 0, PMI2_HELLO.length)
  if (text === PMI2_HELLO) return 2
  return text.length < PMI2_HELLO.length && PMI2_HELLO.startsWith(text) ? undefined : 1
}

/** The place with that id: every place is looked at, so that the time taken tells nothing. */
function findPlace(places: readonly Place[], id: number): Place | undefined {
  let found = -1
  for (let index = 0; index < places.length; index++) {
    const difference = (places[index] as Place).id ^ id
    // All ones when the difference is zero, else zero.
    const same = ~((difference | -difference) >> 31)
    found = (found & ~same) | (index & same)
  }
  return places[found]
}
