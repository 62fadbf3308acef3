// An image that the user names: by its name, by the beginning of its id, or by the directory it lies in.
import { statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { usageError } from '../../common/index.ts'
import type { LinuxImage } from './image.ts'
import type { Environment } from './inspect.ts'
import { IMAGES, imageOf } from './linux.ts'
import { cacheDirectory, ImageStore, NAMES } from './store.ts'

/** The parts of an image that QEMU needs, and its id (that of a directory is its path). */
export type FoundImage = Pick<LinuxImage, 'id' | 'kernel' | 'initrd' | 'disk'>

/** Finds the image; a usage error when there is none, or more than one begins so. */
export async function findLinuxImage(word: string, env: Environment, directory: string): Promise<FoundImage> {
  const path = resolve(directory, word)
  if (word.includes('/')) return imageInDirectory(path)
  const store = linuxStore(env)
  const named = imageOf(store, await store.recall(NAMES, word))
  if (named) return named
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return imageInDirectory(path)
  const matching = /^[0-9a-f]{6,64}$/.test(word)
    ? (await listLinuxImages(env)).filter(({ id }) => id.startsWith(word))
    : []
  if (matching.length === 1) return matching[0] as FoundImage
  throw usageError(
    matching.length > 1 ? `${matching.length} images begin with "${word}"` : `there is no image "${word}"`,
    'leet image list shows all images; leet image compose PROGRAM… makes one',
    '--image',
  )
}

/** All images of the store, each once. */
export async function listLinuxImages(env: Environment): Promise<FoundImage[]> {
  const store = linuxStore(env)
  const images: FoundImage[] = []
  for (const id of store.names(IMAGES)) {
    const image = imageOf(store, await store.recall(IMAGES, id))
    if (image) images.push(image)
  }
  return images
}

/** Gives an image a name for `--image`; of two images the last gets it. */
export async function nameLinuxImage(name: string, image: FoundImage, env: Environment): Promise<void> {
  await linuxStore(env).remember(NAMES, name, partsOf(image))
}

/** Names of its boot part and its disk in the store, as entries of an image have them. */
export function partsOf({ kernel, disk }: FoundImage): string {
  const part = (path: string) => path.split('/').at(-2) as string
  return `${part(kernel)} ${part(disk)}`
}

/** Where images of Linux guests are kept. */
export function linuxStore(env: Environment): ImageStore {
  return new ImageStore(join(cacheDirectory(env), 'linux'))
}

function imageInDirectory(path: string): FoundImage {
  const files = { kernel: join(path, 'kernel'), initrd: join(path, 'initrd'), disk: join(path, 'root.erofs') }
  const missing = Object.values(files).filter((file) => !statSync(file, { throwIfNoEntry: false })?.isFile())
  if (missing.length === 0) return { id: path, ...files }
  throw usageError(
    `${path} is not the directory of an image: it has no ${missing.map((file) => file.split('/').at(-1)).join(', ')}`,
    undefined,
    '--image',
  )
}
