// OSv images of the store: what is known of each besides its disk, so that a job can boot one that it did not compose, and how
// one is found by its name or id.
import { usageError } from '../../../common/index.ts'
import type { Environment } from '../inspect.ts'
import { ABOUT, type ImageStore, NAMES, statsOf } from '../store.ts'
import { osvStore } from './base.ts'
import type { StageLink } from './stage-links.ts'

/** Kind of the store's entries that are images: `ID/disk.img`, and what is to be warned of. */
export const OSV_IMAGES = 'images'

/** A program in an image. */
export interface OsvProgram {
  /** Its path on the node, and in the guest. */
  readonly host: string
  readonly guest: string
  /** What it was when the image was made of it: `SIZE:TIME`. */
  readonly stamp: string
}

/** What a job must know of an image. */
export interface OsvImageFacts {
  /** Id of the base. */
  readonly base: string
  readonly compat: boolean
  readonly links: readonly StageLink[]
  readonly mountPoints: readonly string[]
  readonly programs: readonly OsvProgram[]
}

/** An image of the store. */
export interface FoundOsvImage {
  readonly id: string
  readonly disk: string
  /** undefined: made by a version of LEET that did not keep them. */
  readonly facts: OsvImageFacts | undefined
}

/** The stamp of a program as it is now; undefined when there is none. */
export function programStamp(path: string): string | undefined {
  const stats = statsOf(path)
  return stats && `${stats.size}:${stats.mtimeMs}`
}

/** Remembers the facts of an image, unless they are there: they follow from its id. */
export async function rememberOsvImage(store: ImageStore, id: string, facts: OsvImageFacts): Promise<void> {
  if ((await factsOf(store, id)) === undefined) await store.remember(ABOUT, id, JSON.stringify(facts))
}

/** Finds the image; a usage error when there is none, or more than one begins so. */
export async function findOsvImage(word: string, env: Environment): Promise<FoundOsvImage> {
  const store = osvStore(env)
  const named = /^[\w.-]+$/.test(word) ? await store.recall(NAMES, word) : undefined
  const all = await listOsvImages(store)
  const found = all.find(({ id }) => id === named)
  if (found) return found
  const matching = /^[0-9a-f]{6,64}$/.test(word) ? all.filter(({ id }) => id.startsWith(word)) : []
  if (matching.length === 1) return matching[0] as FoundOsvImage
  throw usageError(
    matching.length > 1
      ? `${matching.length} OSv images begin with "${word}"`
      : `there is no OSv image "${word}", and no disk image`,
    'leet image list shows all; leet image compose --guest osv --name NAME PROGRAM… makes one; or the file of a disk image that OSv’s build made',
    '--image',
  )
}

/** Gives an image a name for `--image`; of two images the last gets it. */
export async function nameOsvImage(name: string, id: string, env: Environment): Promise<void> {
  await osvStore(env).remember(NAMES, name, id)
}

/** All images of the store. */
export async function listOsvImages(store: ImageStore): Promise<FoundOsvImage[]> {
  const found = store.names(OSV_IMAGES).map(async (id) => {
    const disk = store.path(OSV_IMAGES, id, 'disk.img')
    return statsOf(disk) ? [{ id, disk, facts: await factsOf(store, id) }] : []
  })
  return (await Promise.all(found)).flat()
}

async function factsOf(store: ImageStore, id: string): Promise<OsvImageFacts | undefined> {
  const text = await store.recall(ABOUT, id)
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}
