// Fences, connects and disconnects: requests that are answered when every process they name has made them. Where several
// agents serve the processes, each agent waits for its own, and then all meet under the same id. With that, they give each
// other what was committed since they last met.
import { createHash } from 'node:crypto'
import { Deadline, setTimer, type Timer } from '../../common/index.ts'
import type { Exchange } from '../exchange.ts'
import { Status } from './constants.ts'
import type { JobInfo } from './job-info.ts'
import type { Collective } from './requests.ts'
import { type Proc, RANK_WILDCARD } from './values.ts'

/** One process's wish to take part. */
export interface Entry {
  readonly kind: Collective
  readonly proc: Proc
  /** Processes of the set as the client lists them, in any order. */
  readonly procs: readonly Proc[]
  /** Whether committed data shall be at hand everywhere afterwards. */
  readonly collect: boolean
  readonly timeoutMs: number | undefined
  /** Called once. `jobs` are those of the set, for answers that tell about them. */
  readonly done: (status: number, jobs: readonly JobInfo[]) => void
}

/** What collectives need of the service. */
export interface CollectiveSupport {
  readonly exchange: Exchange
  /** A job that this service knows. */
  job(nspace: string): JobInfo | undefined
  /** What this agent gives the others of `agents` about these ranks, and what to call when they have it. */
  contribute(ranks: readonly LocalRanks[], agents: readonly number[]): Contribution
  receive(data: Uint8Array): void
}

/** Members of a set that this agent serves. */
export interface LocalRanks {
  readonly job: JobInfo
  readonly ranks: readonly number[]
}

/** Data for the other agents. */
export interface Contribution {
  readonly data: Uint8Array
  delivered(): void
}

interface Member {
  readonly job: JobInfo
  /** Ascending; all ranks of the job or some. */
  readonly ranks: readonly number[] | 'all'
}

/** A set of processes, resolved. */
interface ProcSet {
  readonly key: string
  readonly members: readonly Member[]
  readonly agents: readonly number[]
  readonly local: readonly LocalRanks[]
  readonly localCount: number
}

interface Tracker {
  readonly kind: Collective
  readonly set: ProcSet
  /** Unique among the sets that span agents; the same on all of them. */
  readonly id: string
  /** By nspace and rank. */
  readonly arrived: Map<string, Entry>
  collect: boolean
  timer?: Timer
  readonly abort: AbortController
  state: 'open' | 'meeting' | 'over'
}

/** Sets resolved lately: jobs use few, and again and again. */
const MAX_CACHED_SETS = 64

/** All collectives of one agent. */
export class Collectives {
  private readonly support: CollectiveSupport
  /** Trackers not over, by key, in the order in which they were begun. */
  private readonly trackers = new Map<string, Tracker[]>()
  /** How many trackers of a set that spans agents were begun. */
  private readonly begun = new Map<string, number>()
  private readonly sets = new Map<string, ProcSet>()
  /** Ranks whose connection broke, by nspace: no set with one of them can complete. */
  private readonly lost = new Map<string, Set<number>>()

  constructor(support: CollectiveSupport) {
    this.support = support
  }

  /** Takes a process in. Gives the status of a refusal, or undefined when `done` will be called. */
  enter(entry: Entry): number | undefined {
    const set = this.resolve(entry.kind, entry.procs)
    if (!set) return Status.BAD_PARAM
    if (!set.members.some((member) => isMember(member, entry.proc))) return Status.BAD_PARAM
    if (this.hasLost(set)) return Status.LOST_CONNECTION
    const name = procName(entry.proc)
    const queue = this.trackers.get(set.key) ?? []
    let tracker = queue.find((each) => each.state === 'open' && !each.arrived.has(name))
    if (!tracker) {
      tracker = this.begin(entry.kind, set)
      this.trackers.set(set.key, [...queue, tracker])
    }
    tracker.arrived.set(name, entry)
    tracker.collect ||= entry.collect
    if (entry.timeoutMs !== undefined && !tracker.timer) {
      const late = tracker
      tracker.timer = setTimer(entry.timeoutMs, () => this.end(late, Status.TIMEOUT))
    }
    if (tracker.arrived.size === set.localCount) this.complete(tracker)
    return undefined
  }

  /** A rank's connection broke, here or at another agent: what waits for it ends. */
  rankLost(proc: Proc): void {
    const ranks = this.lost.get(proc.nspace) ?? new Set()
    this.lost.set(proc.nspace, ranks.add(proc.rank))
    for (const tracker of [...this.trackers.values()].flat()) {
      if (tracker.set.members.some((member) => isMember(member, proc)))
        this.end(tracker, Status.LOST_CONNECTION)
    }
  }

  close(): void {
    for (const tracker of [...this.trackers.values()].flat()) this.end(tracker, Status.UNREACHABLE)
  }

  private begin(kind: Collective, set: ProcSet): Tracker {
    const number = this.begun.get(set.key) ?? 0
    if (set.agents.length > 1) this.begun.set(set.key, number + 1)
    return {
      kind,
      set,
      id: `pmix ${set.key} ${number}`,
      arrived: new Map(),
      collect: false,
      abort: new AbortController(),
      state: 'open',
    }
  }

  private complete(tracker: Tracker): void {
    const { set } = tracker
    if (set.agents.length === 1) {
      this.end(tracker, Status.SUCCESS)
      return
    }
    tracker.state = 'meeting'
    const contribution = tracker.collect
      ? this.support.contribute(set.local, set.agents)
      : { data: new Uint8Array(), delivered() {} }
    const limits = { deadline: Deadline.never, signal: tracker.abort.signal }
    this.support.exchange.fence(tracker.id, set.agents, contribution.data, limits).then(
      (gathered) => {
        const own = set.agents.indexOf(this.support.exchange.agent)
        try {
          for (const [index, data] of gathered.entries()) {
            if (index !== own && data.length > 0) this.support.receive(data)
          }
          contribution.delivered()
          this.end(tracker, Status.SUCCESS)
        } catch {
          this.end(tracker, Status.UNPACK_FAILURE)
        }
      },
      () => this.end(tracker, Status.LOST_CONNECTION),
    )
  }

  private end(tracker: Tracker, status: number): void {
    if (tracker.state === 'over') return
    tracker.state = 'over'
    tracker.timer?.cancel()
    if (status !== Status.SUCCESS) tracker.abort.abort()
    const rest = this.trackers.get(tracker.set.key)?.filter((other) => other !== tracker) ?? []
    if (rest.length > 0) this.trackers.set(tracker.set.key, rest)
    else this.trackers.delete(tracker.set.key)
    const jobs = tracker.set.members.map((member) => member.job)
    for (const entry of tracker.arrived.values()) entry.done(status, jobs)
  }

  private hasLost(set: ProcSet): boolean {
    if (this.lost.size === 0) return false
    return set.members.some(({ job, ranks }) => {
      const lost = this.lost.get(job.job.id)
      return lost && (ranks === 'all' || ranks.some((rank) => lost.has(rank)))
    })
  }

  /** The set that these processes are; undefined when one of them does not exist. */
  private resolve(kind: Collective, procs: readonly Proc[]): ProcSet | undefined {
    // By far the most frequent set needs no sorting.
    const only = procs.length === 1 && procs[0]?.rank === RANK_WILDCARD ? procs[0].nspace : undefined
    if (only !== undefined) {
      const known = this.sets.get(`${kind} ${only}:*`)
      if (known) return known
    }
    const members = this.members(procs)
    if (!members) return undefined
    const key = `${kind}${members.map(memberName).join('')}`
    const known = this.sets.get(key)
    if (known) return known
    const me = this.support.exchange.agent
    const local = members.map(({ job, ranks }) => ({
      job,
      ranks: job.ranksOf(me).filter((rank) => ranks === 'all' || ranks.includes(rank)),
    }))
    const set: ProcSet = {
      key,
      members,
      agents: agentsOf(members),
      local,
      localCount: local.reduce((sum, each) => sum + each.ranks.length, 0),
    }
    if (this.sets.size >= MAX_CACHED_SETS) this.sets.clear()
    this.sets.set(key, set)
    return set
  }

  private members(procs: readonly Proc[]): Member[] | undefined {
    const byJob = new Map<JobInfo, Set<number> | 'all'>()
    for (const { nspace, rank } of procs) {
      const job = this.support.job(nspace)
      if (!job) return undefined
      const ranks = byJob.get(job)
      if (rank === RANK_WILDCARD) byJob.set(job, 'all')
      else if (!job.guestOf(rank)) return undefined
      else if (ranks === undefined) byJob.set(job, new Set([rank]))
      else if (ranks !== 'all') ranks.add(rank)
    }
    return [...byJob]
      .map(([job, ranks]): Member => {
        const all = ranks === 'all' || ranks.size === job.job.size
        return { job, ranks: all ? 'all' : [...ranks].sort((a, b) => a - b) }
      })
      .sort((a, b) => (a.job.job.id < b.job.job.id ? -1 : 1))
  }
}

function isMember({ job, ranks }: Member, proc: Proc): boolean {
  if (job.job.id !== proc.nspace) return false
  return ranks === 'all' ? job.guestOf(proc.rank) !== undefined : ranks.includes(proc.rank)
}

function agentsOf(members: readonly Member[]): number[] {
  const agents = new Set<number>()
  for (const { job, ranks } of members) {
    if (ranks === 'all') for (const agent of job.agents) agents.add(agent)
    else for (const rank of ranks) agents.add(job.guestOf(rank)?.agent as number)
  }
  return [...agents].sort((a, b) => a - b)
}

function memberName({ job, ranks }: Member): string {
  if (ranks === 'all') return ` ${job.job.id}:*`
  // Lists may be as long as the job is large.
  const list = ranks.join(',')
  return ` ${job.job.id}:${list.length <= 64 ? list : createHash('sha256').update(list).digest('base64url')}`
}

function procName(proc: Proc): string {
  return `${proc.rank} ${proc.nspace}`
}
