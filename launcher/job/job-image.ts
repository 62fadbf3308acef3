// What the image of a job is looked up for, and what is found.
import type { Log } from '../../common/index.ts'
import type { ImageStore } from '../images/store.ts'
import type { GuestImage } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'

/** What an image is looked up for. */
export interface ImageWish {
  /** Programs that the guests must be able to run. */
  readonly programs: readonly string[]
  readonly plan: Pick<JobPlan, 'guestKind' | 'mounts' | 'programs' | 'guests' | 'network' | 'staging'>
  readonly settings: Pick<Settings, 'image' | 'guest'>
  readonly log: Log
  /** The guests stay for several jobs, with working directories that are not known yet. */
  readonly keep?: boolean
}

/** An image for guests. */
export interface JobImage {
  /** Of a file or directory of the user's own, its path. */
  readonly id: string
  readonly image: GuestImage
  /** If it is in a store: where, and the ids of all there that guests boot from it. */
  readonly kept?: { readonly store: ImageStore; readonly ids: readonly string[] }
}
