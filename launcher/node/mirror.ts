// The working directories of a job on a node that has no file system in common with the user's: copies of them, which guests
// use in their stead, and from which what ranks changed goes back to where the controller merges it with the rest.
import { lstat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { formatSize, LeetError, messageOf, type WaitLimits } from '../../common/index.ts'
import { CONTROLLER, type Exchange, STAGE_ALL } from '../../mpi-bridge/index.ts'
import {
  decodeWords,
  encodeWords,
  fieldsOf,
  listDirectory,
  listOf,
  type Parcel,
  type ParcelDirectory,
  ParcelReader,
  parseParcel,
  parsePaths,
  receiveParcel,
} from './parcel.ts'
import { notAllBack } from './results.ts'
import type { StageRoot } from './stage-roots.ts'
import { WorkFolder, type WorkFolderContext } from './work-folder.ts'

/** What nodes ask the controller: for the directories, for a piece of them, to take what changed, and to merge that. */
export const MIRROR_TOPICS = {
  directories: 'mirror.directories',
  piece: 'mirror.piece',
  take: 'mirror.take',
  merge: 'mirror.merge',
} as const
/** What the controller asks a node: for a piece of what changed. */
export const RESULTS_PIECE = 'mirror.results'

/** What a node has in the end. */
export interface MirrorResults {
  /** What is new in each directory, or was changed. */
  readonly changed: Parcel
  /** Files of each directory that are as they came. */
  readonly same: readonly (readonly string[])[]
}

/** What a mirror is made with. */
export interface MirrorContext extends Omit<WorkFolderContext, 'guest'> {
  readonly exchange: Exchange
  /** Name of the node. */
  readonly node: string
}

/** The copies of one node. */
export class Mirror {
  readonly #folder: WorkFolder
  readonly #exchange: Exchange
  readonly #node: string
  readonly #parcel: Parcel
  /** How each file was when the first rank began, by its path on this node. */
  #before: Promise<ReadonlyMap<string, string>> | undefined

  private constructor(folder: WorkFolder, { exchange, node }: MirrorContext, parcel: Parcel) {
    this.#folder = folder
    this.#exchange = exchange
    this.#node = node
    this.#parcel = parcel
  }

  /** Has the controller send the directories. */
  static async fetch(context: MirrorContext, limits: WaitLimits): Promise<Mirror> {
    const { exchange, node } = context
    const ask = (topic: string) => (question: Uint8Array) => exchange.ask(CONTROLLER, topic, question, limits)
    const parcel = parseParcel(decodeWords(await ask(MIRROR_TOPICS.directories)(new Uint8Array())))
    const folder = await WorkFolder.make('the working directories', COPIES, { ...context, guest: node })
    const at = placeIn(folder)
    await checkRoom(parcel, node, folder.path)
    await receiveParcel(parcel, at, ask(MIRROR_TOPICS.piece), limits)
    return new Mirror(folder, context, parcel)
  }

  /** Where the node has what the user has at `path`. */
  readonly at = (path: string): string => placeIn(this.#folder)(path)

  /** What guests that share no directory are given: all of it, and all comes back from them. */
  get roots(): readonly StageRoot[] {
    return this.#parcel.map(({ directory }) => ({
      directory,
      place: this.at(directory),
      added: false,
      carried: STAGE_ALL,
      returned: STAGE_ALL,
    }))
  }

  /** Ranks write from now on: what they write is kept until the controller has it. May be called again. */
  async inUse(): Promise<void> {
    this.#folder.hold()
    this.#before ??= this.#states()
    await this.#before
  }

  /** Has the controller merge what ranks changed, if any began. A failure names where all of it is. */
  async bringBack(limits: WaitLimits): Promise<void> {
    if (!this.#before) return
    const exchange = this.#exchange
    let kept: string
    try {
      const results = await this.#results(await this.#before)
      const reader = new ParcelReader(results.changed, (directory) => this.at(directory))
      exchange.answer(RESULTS_PIECE, (question) => reader.answer(question))
      const taken = await exchange.ask(CONTROLLER, MIRROR_TOPICS.take, encodeWords(results), limits)
      kept = String(decodeWords(taken))
    } catch (error) {
      throw notAllBack(this.#node, `in ${this.#folder.keptAt} of that node`, messageOf(error), error)
    }
    // The controller has all of it, and says itself what became of it, if there is time.
    this.#folder.release()
    await exchange.ask(CONTROLLER, MIRROR_TOPICS.merge, new Uint8Array(), limits).catch((error) => {
      throw limits.signal?.aborted ? notAllBack(this.#node, kept, messageOf(error), error) : error
    })
  }

  // Not when they came: what makes disks for guests gives files second names for a while, which leaves its mark.
  async #states(): Promise<ReadonlyMap<string, string>> {
    const states = new Map<string, string>()
    for (const { directory, files } of this.#parcel) {
      const place = this.at(directory)
      for (const { path } of files) states.set(join(place, path), await stateOf(join(place, path)))
    }
    return states
  }

  async #results(before: ReadonlyMap<string, string>): Promise<MirrorResults> {
    const changed: ParcelDirectory[] = []
    const same: (readonly string[])[] = []
    for (const { directory } of this.#parcel) {
      const place = this.at(directory)
      const all = await listDirectory(directory, place)
      const unchanged = new Set<string>()
      for (const { path } of all.files) {
        const file = join(place, path)
        if (before.get(file) === (await stateOf(file))) unchanged.add(path)
      }
      changed.push({ ...all, files: all.files.filter(({ path }) => !unchanged.has(path)) })
      same.push([...unchanged])
    }
    return { changed, same }
  }
}

/** What a node says of its results. `LEET_E_STAGING` when it is not that. */
export function parseResults(data: Uint8Array): MirrorResults {
  const { changed, same } = fieldsOf(decodeWords(data))
  return { changed: parseParcel(changed), same: listOf(same).map(parsePaths) }
}

/** Name of the copies in their folder. */
const COPIES = 'copies'

const placeIn = (folder: WorkFolder) => (path: string) => join(folder.path, COPIES, path)

/** Tells a file from what it becomes by any write, be it of the same size and with its time set back. */
async function stateOf(path: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await lstat(path)
  return [ino, size, mtimeMs, ctimeMs].join(' ')
}

async function checkRoom(parcel: Parcel, where: string, path: string): Promise<void> {
  const needed = parcel.flatMap(({ files }) => files).reduce((sum, { size }) => sum + size, 0)
  const { bavail, bsize } = await statfs(path)
  if (bavail * bsize > needed) return
  throw new LeetError({
    code: 'LEET_E_STAGING',
    where,
    what: `has no room for the ${formatSize(needed)} of the working directory below ${path}`,
    why: `${formatSize(bavail * bsize)} are free there`,
    hint: 'set TMPDIR to a directory with room, or --stage-only to carry less',
  })
}
