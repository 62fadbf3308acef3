// The user's working directories for nodes that have no file system in common with them: sent to each node that asks, and what
// its ranks changed merged with what is there.
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Deadline, formatSize, type Log, type Scope, shortList } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/index.ts'
import type { Journal } from '../journal/journal.ts'
import { MIRROR_TOPICS, type MirrorResults, parseResults, RESULTS_PIECE } from '../node/mirror.ts'
import {
  encodeWords,
  type ParcelDirectory,
  type ParcelFile,
  ParcelReader,
  receiveLinks,
  receiveParcel,
} from '../node/parcel.ts'
import { type FetchedDirectory, type FetchedResults, mergeResults } from '../node/results.ts'
import { type CarriedDirectory, planStaging, stageRoots } from '../node/stage-roots.ts'
import { WorkFolder } from '../node/work-folder.ts'
import type { JobPlan } from '../plan/plan.ts'

/** Whose directories they are. */
export interface MirrorsContext {
  readonly plan: Pick<JobPlan, 'mirrored' | 'staging' | 'nodes'>
  readonly exchange: Exchange
  readonly journal: Journal
  readonly log: Log
  readonly scope: Scope
}

/** How long results of a node may take to arrive. */
const RESULTS_MS = 600_000
/** Name of the results in their folder. */
const RESULTS = 'results'

/** Serves the nodes of a job with mirrors, until its exchange ends. */
export function serveMirrors({ plan, exchange, journal, log, scope }: MirrorsContext): void {
  const directories = plan.mirrored?.directories ?? []
  const nameOf = (node: number) => plan.nodes[node]?.name ?? `node ${node}`
  let listed: Promise<Listed> | undefined
  // All nodes get the same, and what it was is known in the end.
  const list = () => {
    listed ??= listDirectories(directories, plan, log, scope)
    return listed
  }
  exchange.answer(MIRROR_TOPICS.directories, async () => encodeWords((await list()).parcel))
  exchange.answer(MIRROR_TOPICS.piece, async (question) => (await list()).reader.answer(question))
  const taken = new Map<number, FetchedResults>()
  exchange.answer(MIRROR_TOPICS.take, async (request, from) => {
    const folder = await WorkFolder.make('results', RESULTS, { journal, scope, guest: nameOf(from) })
    const at = (directory: string) => join(folder.path, RESULTS, directory)
    const limits = scope.within({ deadline: Deadline.after(RESULTS_MS) })
    const ask = (question: Uint8Array) => exchange.ask(from, RESULTS_PIECE, question, limits)
    const results = parseResults(request)
    await receiveParcel(results.changed, at, ask, limits)
    await receiveLinks(results.changed, at)
    folder.hold()
    const kept = `in ${folder.keptAt}`
    taken.set(from, {
      directories: fetchedOf(await list(), results, at),
      kept,
      merged: () => folder.release(),
    })
    return encodeWords(kept)
  })
  exchange.answer(MIRROR_TOPICS.merge, async (_request, from) => {
    const results = taken.get(from)
    taken.delete(from)
    if (results) await mergeResults(results, { guest: nameOf(from), log }, scope.signal)
    return new Uint8Array()
  })
}

/** What came from a node, as what is merged. What was never sent there is not taken from it. */
function fetchedOf(
  { carried, parcel }: Listed,
  { changed, same }: MirrorResults,
  at: (directory: string) => string,
): FetchedDirectory[] {
  return carried.map(({ directory, place, returned }, index) => {
    const files = parcel[index]?.files ?? []
    const own = changed.findIndex((one) => one.directory === directory)
    return {
      ...{ directory, place, copy: at(directory), returned },
      before: { files: new Map(files.map(({ path, size, modified }) => [path, { size, modified }])) },
      same: new Set(same[own]),
      changedOnly: true,
      failed: [],
    }
  })
}

interface Listed {
  readonly carried: readonly CarriedDirectory[]
  readonly parcel: readonly ParcelDirectory[]
  readonly reader: ParcelReader
}

async function listDirectories(
  directories: readonly string[],
  { staging }: Pick<JobPlan, 'staging'>,
  log: Log,
  scope: Scope,
): Promise<Listed> {
  const roots = stageRoots({ staging, programs: directories.map((workDir) => ({ workDir })) })
  const carried = await planStaging(roots, scope.within({ deadline: Deadline.after(RESULTS_MS) }))
  for (const { directory, size, left } of carried) {
    const where =
      staging.when === 'always'
        ? 'every node, and results back'
        : 'the nodes that lack it, and results back (--share-by 9p if all have the same there)'
    log.note(`${directory} (${formatSize(size)}) is copied to ${where}`)
    if (left.length > 0) log.note(`of ${directory} stays behind: ${shortList(left)}`)
  }
  const parcel = await Promise.all(carried.map(withStats))
  return { carried, parcel, reader: new ParcelReader(parcel, (directory) => directory) }
}

async function withStats({ directory, place, entries }: CarriedDirectory): Promise<ParcelDirectory> {
  const files: ParcelFile[] = []
  for (const { path, kind } of entries) {
    if (kind !== 'file') continue
    const { size, mode, mtimeMs } = await stat(join(place, path))
    files.push({ path, size, mode, modified: mtimeMs })
  }
  const folders = entries.flatMap(({ path, kind }) => (kind === 'directory' ? [path] : []))
  return { directory, folders, files, links: [] }
}
