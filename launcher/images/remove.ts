// Removes images from the store: the image, its names, what was remembered of it, and the parts that no other image
// has. Guests that run keep the files they have open.
import { readdirSync, rmSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FoundImage, linuxStore, listLinuxImages, namesIn } from './find.ts'
import type { Environment } from './inspect.ts'
import { IMAGES } from './linux.ts'

/** An image of the store with what people ask of it. */
export interface ListedImage extends FoundImage {
  /** For `--image`. */
  readonly names: readonly string[]
  /** Bytes of its own disk; the boot part is shared by all images of a kernel. */
  readonly size: number
  /** When its disk was made. */
  readonly made: Date
}

/** All images of the store with their names, the newest first. */
export async function describeLinuxImages(env: Environment): Promise<ListedImage[]> {
  const store = linuxStore(env)
  const names = new Map<string, string[]>()
  for (const name of namesIn(store.path(NAMES)).sort()) {
    const parts = (await store.recall(NAMES, name)) ?? ''
    names.set(parts, [...(names.get(parts) ?? []), name])
  }
  return (await listLinuxImages(env))
    .map((image) => {
      const { size, mtime } = statSync(image.disk)
      return { ...image, names: names.get(partsOf(image).join(' ')) ?? [], size, made: mtime }
    })
    .sort((a, b) => b.made.getTime() - a.made.getTime())
}

/** Removes these images; gives the bytes that the disk has back. */
export async function removeLinuxImages(gone: readonly FoundImage[], env: Environment): Promise<number> {
  const store = linuxStore(env)
  const ids = new Set(gone.map(({ id }) => id))
  const kept = (await listLinuxImages(env)).filter(({ id }) => !ids.has(id))
  const needed = new Set(kept.flatMap((image) => [dirname(image.kernel), dirname(image.disk)]))
  let freed = 0
  for (const image of gone) {
    const parts = partsOf(image)
    // First what leads to it, so that nobody finds half an image.
    await rm(store.path(IMAGES, image.id), { force: true })
    for (const kind of REMEMBERED) {
      for (const name of namesIn(store.path(kind))) {
        const text = await store.recall(kind, name)
        if (text?.includes(parts.join(' '))) await rm(store.path(kind, name), { force: true })
      }
    }
    for (const directory of new Set([dirname(image.kernel), dirname(image.disk)])) {
      if (needed.has(directory)) continue
      freed += bytesIn(directory)
      rmSync(directory, { recursive: true, force: true })
    }
  }
  return freed
}

const NAMES = 'by-name'
/** Kinds of entries that name an image by its two parts. */
const REMEMBERED = [NAMES, 'requests'] as const

/** Names of its boot part and its disk in the store. */
function partsOf({ kernel, disk }: FoundImage): [string, string] {
  const part = (path: string) => path.split('/').at(-2) as string
  return [part(kernel), part(disk)]
}

function bytesIn(directory: string): number {
  try {
    return readdirSync(directory).reduce((sum, name) => sum + statSync(`${directory}/${name}`).size, 0)
  } catch {
    // Another leet image remove was faster.
    return 0
  }
}
