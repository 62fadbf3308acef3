// Removes images and bases from the store: the image, its names, what was remembered of it, and the parts that no other image
// has. Guests that run keep the files they have open.
import { basename, dirname } from 'node:path'
import { type FoundImage, linuxStore, listLinuxImages, partsOf } from './find.ts'
import type { Environment } from './inspect.ts'
import { IMAGES } from './linux.ts'
import type { StoredBase, StoredImage } from './list.ts'
import { osvStore } from './osv/base.ts'
import { removeOsvBase } from './osv/bases.ts'
import { OSV_IMAGES } from './osv/remembered.ts'
import { ABOUT, type ImageStore, NAMES, USED } from './store.ts'

/** Removes these, each once; gives the bytes that the disk has back. What others removed meanwhile is nothing. */
export async function removeStored(
  gone: readonly (StoredImage | StoredBase)[],
  env: Environment,
): Promise<number> {
  const idsOf = (guest: string) => new Set(gone.flatMap((each) => (each.guest === guest ? [each.id] : [])))
  let freed = await removeLinuxImages(idsOf('linux'), env)
  const store = osvStore(env)
  freed += await removeOsvImages(store, idsOf('osv'))
  for (const id of idsOf('osv base')) freed += await removeOsvBase(store, id)
  return freed
}

async function removeLinuxImages(ids: ReadonlySet<string>, env: Environment): Promise<number> {
  const store = linuxStore(env)
  const all = await listLinuxImages(env)
  const gone = all.filter(({ id }) => ids.has(id))
  const kept = all.filter(({ id }) => !ids.has(id))
  // First what leads to it, so that nobody finds half an image.
  for (const { id } of gone) await store.forget(IMAGES, id)
  for (const kind of REMEMBERED) await forgetWhere(store, kind, gone.map(partsOf))
  let freed = 0
  for (const image of gone) {
    await store.forget(ABOUT, image.id)
    await store.forget(USED, image.id)
    for (const kind of ['boot', 'disk'] as const) {
      const part = partOf(image, kind)
      if (!kept.some((other) => partOf(other, kind) === part)) freed += await store.discard(kind, part)
    }
  }
  return freed
}

/** Name in the store of the directory with its kernel, or with its disk. */
function partOf({ kernel, disk }: FoundImage, kind: 'boot' | 'disk'): string {
  return basename(dirname(kind === 'boot' ? kernel : disk))
}

/** Kinds of entries of the Linux store that name an image by its two parts. */
const REMEMBERED = [NAMES, 'requests'] as const

async function removeOsvImages(store: ImageStore, ids: ReadonlySet<string>): Promise<number> {
  let freed = 0
  await forgetWhere(store, NAMES, [...ids])
  for (const id of ids) {
    freed += await store.discard(OSV_IMAGES, id)
    await store.forget(ABOUT, id)
    await store.forget(USED, id)
  }
  return freed
}

/** Forgets the entries of a kind in which one of these stands. */
async function forgetWhere(store: ImageStore, kind: string, what: readonly string[]): Promise<void> {
  if (what.length === 0) return
  for (const name of store.names(kind)) {
    const text = await store.recall(kind, name)
    if (what.some((each) => text?.includes(each))) await store.forget(kind, name)
  }
}
