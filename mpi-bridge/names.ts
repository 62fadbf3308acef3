// The name service: MPI_Publish_name, MPI_Lookup_name and PMIx publish/lookup. One server on the controller keeps
// the names of all jobs; each agent's services ask it over the exchange. Values are opaque bytes.
//
// Ranges and persistence follow the PMIx standard 4.1 (chapter "Publish/Lookup"); PMI-1 and PMI-2 names have range
// `session` and persistence `session`.
import { LeetError, setTimer, type Timer, type WaitLimits } from '../common/index.ts'
import { CONTROLLER, type Exchange } from './exchange.ts'
import type { RankReport } from './job.ts'

/** Who may see a name: the publishing rank, its guest, its job, or everybody in the session. */
export type NameRange = 'process' | 'guest' | 'job' | 'session'

/** When a name goes by itself: after its first lookup, with its rank, or with the session. */
export type NamePersistence = 'first-read' | 'process' | 'session'

/** A rank that publishes, looks up or unpublishes. */
export interface NameParty {
  readonly job: string
  readonly rank: number
  readonly guest: number
}

/** A name to publish. */
export interface Publication {
  readonly key: string
  readonly value: Uint8Array
  readonly range: NameRange
  readonly persistence: NamePersistence
}

/** What a lookup found. */
export interface FoundName {
  readonly key: string
  readonly value: Uint8Array
  /** The publisher. */
  readonly job: string
  readonly rank: number
}

/** What to look for. */
export interface NameQuery {
  readonly keys: readonly string[]
  /** Names of this range only; any range unless told. */
  readonly range?: NameRange
  /** Hold the answer until so many of the keys exist; 0: answer at once. */
  readonly wait: number
  /** Give up waiting after so many milliseconds; never unless told. */
  readonly timeoutMs?: number
}

/** `duplicate`: a key exists in that range already, nothing was published. `full`: the server's memory is. */
export type PublishStatus = 'ok' | 'duplicate' | 'full'

/** Found names in the order of the query's keys; `timeout` when fewer than `wait` came in time. */
export interface LookupResult {
  readonly status: 'ok' | 'timeout' | 'full'
  readonly found: readonly FoundName[]
}

/** The name service as a service of one node sees it. */
export interface NameService {
  /** Publishes all or none. */
  publish(by: NameParty, publications: readonly Publication[]): Promise<PublishStatus>
  lookup(by: NameParty, query: NameQuery): Promise<LookupResult>
  /** Removes names that the job of `by` published, all of them when `keys` is empty; resolves with their number. */
  unpublish(by: NameParty, keys: readonly string[], range?: NameRange): Promise<number>
}

/** The name service as the controller holds it. */
export interface NameServer extends NameService {
  /** Lets names go with their rank, and waiting lookups of a rank that has ended. */
  observe(report: RankReport): void
  /** Ends waiting lookups: they find what there is. */
  close(): void
}

/** Bounds of the server's memory: names, bytes of keys and values, lookups that wait. */
export interface NameLimits {
  readonly names: number
  readonly bytes: number
  readonly waiting: number
}

const DEFAULT_LIMITS: NameLimits = { names: 65_536, bytes: 64 * 2 ** 20, waiting: 65_536 }

interface Entry extends Publication {
  readonly by: NameParty
}

interface Waiting {
  readonly by: NameParty
  readonly query: NameQuery
  readonly resolve: (result: LookupResult) => void
  timer?: Timer
}

/** Makes the server of a session's names. */
export function createNameServer(limits: NameLimits = DEFAULT_LIMITS): NameServer {
  // Several ranges may hold the same key: a short list for each key.
  const entries = new Map<string, Entry[]>()
  const waiting = new Set<Waiting>()
  let names = 0
  let bytes = 0

  const cost = (publication: Publication) => publication.key.length + publication.value.length

  const remove = (entry: Entry) => {
    const same = entries.get(entry.key)?.filter((other) => other !== entry)
    if (same?.length) entries.set(entry.key, same)
    else entries.delete(entry.key)
    names--
    bytes -= cost(entry)
  }

  const removeWhere = (gone: (entry: Entry) => boolean): number => {
    const victims = [...entries.values()].flat().filter(gone)
    for (const entry of victims) remove(entry)
    return victims.length
  }

  const find = (by: NameParty, query: NameQuery): Entry[] =>
    query.keys.flatMap((key) => {
      const entry = entries
        .get(key)
        ?.find((each) => (!query.range || each.range === query.range) && visible(each, by))
      return entry ? [entry] : []
    })

  const take = (found: readonly Entry[]): FoundName[] => {
    for (const entry of new Set(found)) if (entry.persistence === 'first-read') remove(entry)
    return found.map(({ key, value, by }) => ({ key, value, job: by.job, rank: by.rank }))
  }

  const finish = (lookup: Waiting, status: LookupResult['status']) => {
    waiting.delete(lookup)
    lookup.timer?.cancel()
    lookup.resolve({ status, found: take(find(lookup.by, lookup.query)) })
  }

  const wakeUp = () => {
    for (const lookup of waiting) {
      if (find(lookup.by, lookup.query).length >= lookup.query.wait) finish(lookup, 'ok')
    }
  }

  return {
    async publish(by, publications) {
      const known = (publication: Publication, index: number) =>
        entries.get(publication.key)?.some((other) => clash(other, { ...publication, by })) ||
        publications.findIndex(
          (other) => other.key === publication.key && other.range === publication.range,
        ) < index
      if (publications.some(known)) return 'duplicate'
      const added = publications.reduce((sum, publication) => sum + cost(publication), 0)
      if (names + publications.length > limits.names || bytes + added > limits.bytes) return 'full'
      for (const { key, value, range, persistence } of publications) {
        const entry = { key, value, range, persistence, by }
        const same = entries.get(key)
        if (same) same.push(entry)
        else entries.set(key, [entry])
      }
      names += publications.length
      bytes += added
      wakeUp()
      return 'ok'
    },

    lookup(by, query) {
      const wanted = Math.min(query.wait, query.keys.length)
      const found = find(by, query)
      if (found.length >= wanted) return Promise.resolve({ status: 'ok', found: take(found) })
      if (waiting.size >= limits.waiting) return Promise.resolve({ status: 'full', found: [] })
      return new Promise((resolve) => {
        const lookup: Waiting = { by, query: { ...query, wait: wanted }, resolve }
        if (query.timeoutMs !== undefined) {
          lookup.timer = setTimer(query.timeoutMs, () => finish(lookup, 'timeout'))
        }
        waiting.add(lookup)
      })
    },

    async unpublish(by, keys, range) {
      const wanted = new Set(keys)
      return removeWhere(
        (entry) =>
          entry.by.job === by.job &&
          (wanted.size === 0 || wanted.has(entry.key)) &&
          (!range || entry.range === range),
      )
    },

    observe(report) {
      if (report.kind !== 'finalised' && report.kind !== 'lost') return
      const same = (by: NameParty) => by.job === report.job && by.rank === report.rank
      removeWhere((entry) => entry.persistence === 'process' && same(entry.by))
      for (const lookup of waiting) if (same(lookup.by)) finish(lookup, 'timeout')
    },

    close() {
      for (const lookup of waiting) finish(lookup, 'timeout')
    },
  }
}

/** Whether `by` may see the entry. */
function visible({ range, by: owner }: Entry, by: NameParty): boolean {
  switch (range) {
    case 'process':
      return owner.job === by.job && owner.rank === by.rank
    case 'guest':
      return owner.guest === by.guest
    case 'job':
      return owner.job === by.job
    case 'session':
      return true
  }
}

/** Whether the two would be one name: same range and somebody sees both. */
function clash(a: Entry, b: Entry): boolean {
  return a.range === b.range && visible(a, b.by)
}

/** Topic of the questions to the name server. */
const NAMES_TOPIC = 'names'

// A question is JSON with its bytes in base64: names are rare and small, and the agents trust each other.
type Question =
  | {
      readonly do: 'publish'
      readonly by: NameParty
      readonly publications: readonly (Omit<Publication, 'value'> & { readonly value: string })[]
    }
  | { readonly do: 'lookup'; readonly by: NameParty; readonly query: NameQuery }
  | {
      readonly do: 'unpublish'
      readonly by: NameParty
      readonly keys: readonly string[]
      readonly range?: NameRange
    }

type Answer = {
  readonly status?: string
  readonly found?: readonly (Omit<FoundName, 'value'> & { readonly value: string })[]
  readonly removed?: number
}

/** Lets the name server answer the agents' questions; call it on the controller. */
export function answerNames(exchange: Exchange, server: NameServer): void {
  exchange.answer(NAMES_TOPIC, async (message) => {
    const question = read<Question>(message)
    switch (question.do) {
      case 'publish': {
        const publications = question.publications.map((each) => ({
          ...each,
          value: Buffer.from(each.value, 'base64'),
        }))
        return write({ status: await server.publish(question.by, publications) })
      }
      case 'lookup': {
        const { status, found } = await server.lookup(question.by, question.query)
        return write({ status, found: found.map((each) => ({ ...each, value: base64(each.value) })) })
      }
      case 'unpublish':
        return write({ removed: await server.unpublish(question.by, question.keys, question.range) })
      default:
        throw new LeetError({
          code: 'LEET_E_MESSAGE',
          what: 'a question to the name service is malformed',
          hint: 'the same version of LEET must be installed on all nodes',
        })
    }
  })
}

/** The name service of the session, asked over the exchange. `limits` ends questions with the services. */
export function remoteNames(exchange: Exchange, limits: WaitLimits): NameService {
  const ask = async (question: Question): Promise<Answer> =>
    read<Answer>(await exchange.ask(CONTROLLER, NAMES_TOPIC, write(question), limits))
  return {
    async publish(by, publications) {
      const answer = await ask({
        do: 'publish',
        by,
        publications: publications.map((each) => ({ ...each, value: base64(each.value) })),
      })
      return answer.status as PublishStatus
    },
    async lookup(by, query) {
      const answer = await ask({ do: 'lookup', by, query })
      return {
        status: answer.status as LookupResult['status'],
        found: (answer.found ?? []).map((each) => ({ ...each, value: Buffer.from(each.value, 'base64') })),
      }
    },
    async unpublish(by, keys, range) {
      return (await ask({ do: 'unpublish', by, keys, range })).removed ?? 0
    },
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function write(value: Question | Answer): Uint8Array {
  return Buffer.from(JSON.stringify(value), 'utf8')
}

function read<T>(message: Uint8Array): T {
  return JSON.parse(Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('utf8')) as T
}
