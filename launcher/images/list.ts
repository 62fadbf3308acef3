// All that is in the store for guests to boot: images of Linux and of OSv, and the bases of the latter. Others may add and remove
// some meanwhile: what is not there any more is left out.
import { usageError } from '../../common/index.ts'
import { linuxStore, listLinuxImages, partsOf } from './find.ts'
import type { Environment } from './inspect.ts'
import { BASES, osvStore } from './osv/base.ts'
import { listOsvBases } from './osv/bases.ts'
import { listOsvImages } from './osv/remembered.ts'
import { programsOf } from './programs.ts'
import { type ImageStore, NAMES, statsOf, USED } from './store.ts'

interface Stored {
  readonly id: string
  /** Bytes of its own; the boot part of Linux and the base of OSv are shared. */
  readonly size: number
  readonly made: Date
  /** When a job took it last; undefined: none has, since that is remembered. */
  readonly used: Date | undefined
}

/** An image. */
export interface StoredImage extends Stored {
  readonly guest: 'linux' | 'osv'
  /** For `--image`. */
  readonly names: readonly string[]
  /** Paths of what it was composed of; none where that was not remembered. */
  readonly programs: readonly string[]
  /** undefined where the base is not there any more, or was not remembered. */
  readonly kernel: string | undefined
  readonly initrd: string | undefined
  readonly disk: string
  /** Of OSv: id of its base. */
  readonly base: string | undefined
}

/** A base of OSv images. */
export interface StoredBase extends Stored {
  readonly guest: 'osv base'
  readonly version: string | undefined
  /** Whether it is taken where none is named. */
  readonly isDefault: boolean
  readonly kernel: string
  /** Ids of images that were composed of it. */
  readonly images: readonly string[]
}

/** All images, the newest first. */
export async function listImages(env: Environment): Promise<StoredImage[]> {
  const all = [...(await linuxImages(env)), ...(await osvImages(env))]
  return all.sort((a, b) => b.made.getTime() - a.made.getTime())
}

/** All bases, the newest first. */
export async function listBases(env: Environment, images: readonly StoredImage[]): Promise<StoredBase[]> {
  return (await listOsvBases(osvStore(env))).map((base) => ({
    guest: 'osv base',
    ...base,
    images: images.filter((image) => image.base === base.id).map(({ id }) => id),
  }))
}

/** The images and bases that a word may mean: those with the name, else those whose ids begin so. */
export async function storedBy(word: string, env: Environment): Promise<(StoredImage | StoredBase)[]> {
  const images = await listImages(env)
  const named = images.filter(({ names }) => names.includes(word))
  if (named.length > 0 || !/^[0-9a-f]{6,64}$/.test(word)) return named
  return [...images, ...(await listBases(env, images))].filter(({ id }) => id.startsWith(word))
}

/** The image or base that a word means; a usage error when that is none or several. */
export async function pickStored(word: string, env: Environment): Promise<StoredImage | StoredBase> {
  const found = await storedBy(word, env)
  if (found.length === 1) return found[0] as StoredImage | StoredBase
  const which = found.map(({ guest, id }) => `${guest} ${shortId(id)}`).join(', ')
  throw usageError(
    found.length > 1 ? `"${word}" may be ${which}` : `there is no image "${word}"`,
    found.length > 1
      ? 'the id of the one that is meant'
      : 'leet image list shows all; leet image compose PROGRAM… makes one',
    'IMAGE',
  )
}

/** Digits of an id that are enough for people, and for every command that takes one. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

async function linuxImages(env: Environment): Promise<StoredImage[]> {
  const store = linuxStore(env)
  const names = await namesOf(store)
  const found = (await listLinuxImages(env)).map(async (image): Promise<StoredImage[]> => {
    const { id, kernel, initrd, disk } = image
    const stats = statsOf(disk)
    if (!stats) return []
    return [
      {
        ...{ guest: 'linux', id, kernel, initrd, disk, base: undefined },
        ...{ size: stats.size, made: stats.mtime, used: store.touched(USED, id) },
        names: names.get(partsOf(image)) ?? [],
        programs: await programsOf(store, id),
      },
    ]
  })
  return (await Promise.all(found)).flat()
}

async function osvImages(env: Environment): Promise<StoredImage[]> {
  const store = osvStore(env)
  const names = await namesOf(store)
  return (await listOsvImages(store)).flatMap(({ id, disk, facts }): StoredImage[] => {
    const stats = statsOf(disk)
    if (!stats) return []
    const kernel = facts && store.path(BASES, facts.base, 'kernel.elf')
    return [
      {
        ...{ guest: 'osv', id, disk, initrd: undefined, base: facts?.base },
        ...{ size: stats.size, made: stats.mtime, used: store.touched(USED, id) },
        kernel: kernel !== undefined && statsOf(kernel) ? kernel : undefined,
        names: names.get(id) ?? [],
        programs: facts?.programs.map(({ host }) => host) ?? [],
      },
    ]
  })
}

/** The names of a store, by what they stand for. */
async function namesOf(store: ImageStore): Promise<ReadonlyMap<string, readonly string[]>> {
  const names = new Map<string, string[]>()
  for (const name of store.names(NAMES).sort()) {
    const text = (await store.recall(NAMES, name)) ?? ''
    names.set(text, [...(names.get(text) ?? []), name])
  }
  return names
}
