// What every rank is told of its job at the start: sizes, which guests there are (PMIx calls them nodes), which ranks
// share them. Built once for each job and format; only a few bytes differ from guest to guest.
//
// Open MPI 4.1.4 and 5.0.8 were seen to need job size, max size, and local and node rank of every rank; the types
// matter. Locality comes from `pmix.lpeers` and `pmix.local.size` alone, so ranks in different guests never try to
// share memory.
import { agentsOf, localRanks } from '../context.ts'
import type { GuestRanks, JobLayout } from '../job.ts'
import {
  type Data,
  type Info,
  type KeyValue,
  type Proc,
  RANK_WILDCARD,
  Type,
  writeKeyValue,
  writeProc,
} from './values.ts'
import { type Format, formats, Writer } from './wire.ts'

const RANK_KEYS: ReadonlySet<string> = new Set([
  'pmix.hname',
  'pmix.nodeid',
  'pmix.lrank',
  'pmix.nrank',
  'pmix.grank',
  'pmix.apprank',
  'pmix.appnum',
])

/** The encoded knowledge about one job, for clients of any format. */
export class JobInfo {
  readonly job: JobLayout
  /** The agents that serve ranks of the job, ascending. */
  readonly agents: readonly number[]
  private readonly guestOfRank = new Map<number, GuestRanks>()
  private readonly applicationRank: readonly number[]
  private readonly jobKeys: ReadonlySet<string>
  /** By id of the format. */
  private readonly common: (Buffer | undefined)[] = new Array(formats.length)
  private readonly ranks: (Buffer | undefined)[] = new Array(formats.length)

  constructor(job: JobLayout) {
    this.job = job
    this.agents = agentsOf(job)
    for (const guest of job.guests) for (const rank of guest.ranks) this.guestOfRank.set(rank, guest)
    this.applicationRank = rankWithinApplication(job.appnums)
    const guest = this.guestOfRank.get(0)
    this.jobKeys = new Set([...jobValues(job), ...guestValues(guest)].map((pair) => pair.key))
  }

  /** The guest of a rank; undefined for a rank that the job does not have. */
  guestOf(rank: number): GuestRanks | undefined {
    return this.guestOfRank.get(rank)
  }

  /** The ranks that an agent serves, ascending. */
  ranksOf(agent: number): number[] {
    return localRanks(this.job, agent)
  }

  /** What a client in guest number `asker` is told about the job, in parts: the answer to its first request. */
  everything(format: Format, asker: number): Buffer[] {
    const head = new Writer(format).pack(Type.STRING).string(this.job.id).result()
    return [head, this.jobValues(format), this.ownGuest(format, asker), this.rankValues(format)]
  }

  /** The job's own values with the wildcard process in front, in parts, as the answer to a get has them. */
  jobLevel(format: Format, asker: number): Buffer[] {
    const head = new Writer(format).pack(Type.PROC)
    writeProc(head, { nspace: this.job.id, rank: RANK_WILDCARD })
    return [head.result(), this.jobValues(format), this.ownGuest(format, asker)]
  }

  /** Whether the job, not a rank, has a value of that name. */
  hasJobKey(key: string): boolean {
    return this.jobKeys.has(key)
  }

  /** Whether something of that name is known of every rank before it has said anything. */
  hasRankKey(key: string): boolean {
    return RANK_KEYS.has(key)
  }

  /** What is known of one rank before it has said anything; it must be in the job. */
  rankLevel(rank: number): KeyValue[] {
    const guest = this.guestOfRank.get(rank) as GuestRanks
    const localRank = guest.ranks.indexOf(rank)
    return [
      { key: 'pmix.hname', type: Type.STRING, data: guest.name },
      { key: 'pmix.nodeid', type: Type.UINT32, data: guest.guest },
      { key: 'pmix.lrank', type: Type.UINT16, data: localRank },
      { key: 'pmix.nrank', type: Type.UINT16, data: localRank },
      { key: 'pmix.grank', type: Type.PROC_RANK, data: rank },
      { key: 'pmix.apprank', type: Type.PROC_RANK, data: this.applicationRank[rank] as number },
      { key: 'pmix.appnum', type: Type.UINT32, data: this.job.appnums[rank] as number },
    ]
  }

  private jobValues(format: Format): Buffer {
    this.common[format.id] ??= encodePairs(format, jobValues(this.job))
    return this.common[format.id] as Buffer
  }

  /** Releases before OpenPMIx 3.1 look for these only, and not in the array of their node. */
  private ownGuest(format: Format, asker: number): Buffer {
    return encodePairs(format, guestValues(this.job.guests.find((guest) => guest.guest === asker)))
  }

  private rankValues(format: Format): Buffer {
    let encoded = this.ranks[format.id]
    if (!encoded) {
      const blobs = new Writer(format, 512 + 320 * this.job.size)
      for (const guest of this.job.guests) {
        for (const rank of guest.ranks) {
          const blob = new Writer(format).pack(Type.PROC_RANK).u32(rank)
          for (const pair of this.rankLevel(rank)) writeKeyValue(blob.pack(Type.KVAL), pair)
          writeKeyValue(blobs.pack(Type.KVAL), {
            key: 'pmix.pblob',
            type: Type.BYTE_OBJECT,
            data: blob.result(),
          })
        }
      }
      encoded = blobs.result()
      this.ranks[format.id] = encoded
    }
    return encoded
  }
}

/** Packs of KVALs. */
export function encodePairs(format: Format, pairs: readonly KeyValue[]): Buffer {
  const writer = new Writer(format)
  for (const pair of pairs) writeKeyValue(writer.pack(Type.KVAL), pair)
  return writer.result()
}

function jobValues(job: JobLayout): KeyValue[] {
  const guests = job.guests.filter((guest) => guest.ranks.length > 0)
  const count = (key: string, data: number): KeyValue => ({ key, type: Type.UINT32, data })
  const values: KeyValue[] = [
    count('pmix.job.size', job.size),
    count('pmix.univ.size', job.universeSize ?? job.size),
    count('pmix.max.size', job.size),
    count('pmix.num.nodes', guests.length),
    count('pmix.job.napps', new Set(job.appnums).size),
    { key: 'pmix.jobid', type: Type.STRING, data: job.id },
    { key: 'pmix.nlist', type: Type.STRING, data: guests.map((guest) => guest.name).join(',') },
  ]
  if (job.spawnedBy) {
    const parent: Proc = { nspace: job.spawnedBy.job, rank: job.spawnedBy.rank }
    values.push(
      { key: 'pmix.spawned', type: Type.BOOL, data: true },
      { key: 'pmix.parent', type: Type.PROC, data: parent },
    )
  }
  for (const guest of guests) {
    const items: Info[] = [
      info('pmix.hname', Type.STRING, guest.name),
      info('pmix.nodeid', Type.UINT32, guest.guest),
      ...guestValues(guest).map((pair) => info(pair.key, pair.type, pair.data)),
    ]
    values.push({ key: 'pmix.node.arr', type: Type.DATA_ARRAY, data: { elements: Type.INFO, items } })
  }
  return values
}

/** What is said of a guest with ranks of the job. */
function guestValues(guest: GuestRanks | undefined): KeyValue[] {
  const first = guest?.ranks[0]
  if (!guest || first === undefined) return []
  const size = guest.ranks.length
  return [
    { key: 'pmix.lpeers', type: Type.STRING, data: guest.ranks.join(',') },
    { key: 'pmix.local.size', type: Type.UINT32, data: size },
    { key: 'pmix.node.size', type: Type.UINT32, data: size },
    { key: 'pmix.lldr', type: Type.PROC_RANK, data: first },
  ]
}

function info(key: string, type: number, data: Data): Info {
  return { key, flags: 0, type, data }
}

function rankWithinApplication(appnums: readonly number[]): number[] {
  const seen = new Map<number, number>()
  return appnums.map((appnum) => {
    const position = seen.get(appnum) ?? 0
    seen.set(appnum, position + 1)
    return position
  })
}
