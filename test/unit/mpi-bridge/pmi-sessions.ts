// PMI sessions without sockets: ranks that talk to the state machines directly, for the tests beside this file.
import { silentLog } from '../../../common/index.ts'
import type { RankConnection } from '../../../mpi-bridge/context.ts'
import type { Exchange } from '../../../mpi-bridge/exchange.ts'
import type { JobLayout, RankReport } from '../../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../../mpi-bridge/local-exchange.ts'
import { createNameServer } from '../../../mpi-bridge/names.ts'
import { type FinalizeRescue, PmiJob } from '../../../mpi-bridge/pmi/job.ts'
import { Member, type PmiSession, type SessionHost } from '../../../mpi-bridge/pmi/session.ts'
import { Pmi1Session } from '../../../mpi-bridge/pmi1/session.ts'
import { Pmi2Session } from '../../../mpi-bridge/pmi2/session.ts'
import type { SpawnRequest, SpawnResult } from '../../../mpi-bridge/spawn.ts'

/** A layout with the given ranks in each guest, guest `n` served by agent `n` modulo `agents`. */
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

/** One client's side of a session. */
export interface Client {
  readonly session: PmiSession
  /** Sends bytes and returns at once. */
  send(text: string): void
  /** All that the session has sent since the last call. */
  take(): string
  /** Why the session closed the connection. */
  readonly ended: string | undefined
}

/** What a world is made of. */
export interface WorldOptions {
  readonly exchange?: Exchange
  readonly rescue?: FinalizeRescue
  readonly spawn?: (request: SpawnRequest) => Promise<SpawnResult>
}

/** A process manager's inside: jobs whose ranks are known by the number `base + rank`. */
export class World {
  readonly reports: RankReport[] = []
  readonly names = createNameServer()
  readonly #options: WorldOptions
  readonly #exchange: Exchange
  readonly #ranks = new Map<number, { readonly job: PmiJob; readonly rank: number }>()

  constructor(options: WorldOptions = {}) {
    this.#options = options
    this.#exchange = options.exchange ?? createLocalExchange(() => {})
  }

  addJob(layout: JobLayout, base = 0, preput: readonly { key: string; value: string }[] = []): PmiJob {
    const job = new PmiJob(layout, preput, this.#exchange, silentLog, this.#options.rescue)
    for (let rank = 0; rank < layout.size; rank++) this.#ranks.set(base + rank, { job, rank })
    return job
  }

  connect(version: 1 | 2): Client {
    let output = ''
    let ended: string | undefined
    const host: SessionHost = {
      send: (text) => {
        output += text
      },
      end: (why) => {
        ended = why
      },
      claim: (id) => {
        const place = this.#ranks.get(id)
        return place && new Member(this.#connection(place.job.layout, place.rank), place.job)
      },
      names: this.names,
      spawn: this.#options.spawn ?? (() => Promise.reject(new Error('nobody spawns'))),
    }
    const session = version === 1 ? new Pmi1Session(host) : new Pmi2Session(host)
    return {
      session,
      send: (text) => session.receive(Buffer.from(text, 'latin1')),
      take: () => {
        const text = output
        output = ''
        return text
      },
      get ended() {
        return ended
      },
    }
  }

  /** A client of PMI-1 that has said which rank it is. */
  rank(id: number): Client {
    const client = this.connect(1)
    client.send(`cmd=initack pmiid=${id}\n`)
    client.take()
    return client
  }

  #connection(job: JobLayout, rank: number): RankConnection {
    const say = (kind: 'initialised' | 'finalised') => this.reports.push({ kind, job: job.id, rank })
    return {
      job,
      rank,
      guest: job.guests.find(({ ranks }) => ranks.includes(rank))?.guest ?? -1,
      initialised: () => say('initialised'),
      finalised: () => say('finalised'),
      abort: (status, message) => this.reports.push({ kind: 'aborted', job: job.id, rank, status, message }),
      drop: () => {},
    }
  }
}

/** Lets promises that are settled run their course. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
