// The job's image for nodes whose store lacks it.
import { formatSize, type Log } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/index.ts'
import { cacheDirectory } from '../images/store.ts'
import { imageFolders, imageTopics } from '../node/image-copy.ts'
import { encodeWords, listDirectory, ParcelReader } from '../node/parcel.ts'
import type { GuestImage } from '../node/worker.ts'
import { isWithin } from '../plan/mounts.ts'
import type { JobPlan } from '../plan/plan.ts'

/** Who asks, and who hears of it. */
export interface ServeImageContext {
  readonly plan: Pick<JobPlan, 'nodes'>
  readonly exchange: Exchange
  readonly log: Log
}

/** Lets nodes ask for an image of the store. One that lies elsewhere is the user's to have on all nodes. */
export function serveImage(image: GuestImage, { plan, exchange, log }: ServeImageContext): void {
  const store = cacheDirectory(process.env)
  for (const directory of imageFolders(image).filter((path) => isWithin(path, store))) {
    const { list, piece } = imageTopics(directory)
    exchange.answer(list, async (_question, from) => {
      const listed = await listDirectory(directory, directory)
      const size = listed.files.reduce((sum, file) => sum + file.size, 0)
      log.note(`${plan.nodes[from]?.name} has not the image and is sent it (${formatSize(size)})`)
      const reader = new ParcelReader([listed], () => directory)
      exchange.answer(piece, (question) => reader.answer(question))
      return encodeWords([listed])
    })
  }
}
