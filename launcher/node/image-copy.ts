// The image of a job on nodes that have no store in common with the controller: directories of the controller's store, brought
// under the same paths into the node's.
import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { WaitLimits } from '../../common/index.ts'
import { CONTROLLER, type Exchange } from '../../mpi-bridge/index.ts'
import { ImageStore } from '../images/store.ts'
import { decodeWords, type ParcelDirectory, parseParcel, receiveParcel } from './parcel.ts'
import type { GuestImage } from './worker.ts'

/** The directories that an image's parts are in; of a store each is named by its content. */
export function imageFolders(image: GuestImage): readonly string[] {
  if (image.kind === 'disk') return []
  const parts = image.kind === 'linux' ? [image.kernel, image.initrd] : [image.kernel]
  return [...new Set([...parts, image.disk].flatMap((path) => (path === undefined ? [] : [dirname(path)])))]
}

/** What a node asks the controller: for the list of a directory, and for a piece of it. */
export const imageTopics = (directory: string) =>
  ({ list: `image ${directory}`, piece: `image piece ${directory}` }) as const

/**
 * Has the controller send what this node lacks. Rejects with `LEET_E_EXCHANGE` when the image is in no store, with
 * `LEET_E_IMAGE_STORE` when this node cannot keep it.
 */
export async function fetchImage(image: GuestImage, exchange: Exchange, limits: WaitLimits): Promise<void> {
  for (const folder of imageFolders(image)) {
    if (existsSync(folder)) continue
    const topics = imageTopics(folder)
    const ask = (topic: string) => (question: Uint8Array) => exchange.ask(CONTROLLER, topic, question, limits)
    const parcel = parseParcel(decodeWords(await ask(topics.list)(new Uint8Array())))
    const [root, kind, name] = [dirname(dirname(folder)), basename(dirname(folder)), basename(folder)]
    await new ImageStore(root).place(kind, async (directory) => {
      await receiveParcel(parcel, () => directory, ask(topics.piece), limits)
      for (const one of parcel) await makeDurable(directory, one)
      return name
    })
  }
}

/** A name in the store must never lead to half a file. */
async function makeDurable(directory: string, { files }: ParcelDirectory): Promise<void> {
  for (const { path } of files) {
    const file = await open(join(directory, path))
    try {
      await file.sync()
    } finally {
      await file.close()
    }
  }
}
