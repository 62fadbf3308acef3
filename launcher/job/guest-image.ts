// The image that the guests of a job boot: composed from its programs, or the one that its settings name.
import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Deadline, type Log, silentLog, type WaitLimits } from '../../common/index.ts'
import type { FoundImage } from '../images/find.ts'
import { USED } from '../images/store.ts'
import type { GuestImage } from '../node/worker.ts'
import type { GuestKind } from '../plan/settings.ts'
import { type EventListener, imageEvent } from './events.ts'
import type { ImageWish, JobImage } from './job-image.ts'

/** What an image is found or made for. */
export interface ImageOrder extends ImageWish {
  readonly onEvent: EventListener
  readonly cancel: AbortSignal
}

/** The image of a job whose guests are virtual machines. */
export async function findImage(order: ImageOrder): Promise<GuestImage> {
  const { log, cancel, onEvent } = order
  onEvent({ event: 'phase', phase: 'image', state: 'begin' })
  const limits = { log, deadline: Deadline.after(COMPOSE_MS), signal: cancel }
  const { id, image, kept } = (await namedImage(order)) ?? (await composedImage(order, limits))
  log.detail(`image ${id}`)
  onEvent(imageEvent(id, filesOf(image)))
  for (const used of kept?.ids ?? []) await kept?.store.touch(USED, used)
  onEvent({ event: 'phase', phase: 'image', state: 'end' })
  return image
}

/** The image that the settings name, if they do; refused where its guests could not run the programs. */
export async function namedImage(wish: ImageWish): Promise<JobImage | undefined> {
  const { settings, plan } = wish
  const { name } = settings.image
  if (name === undefined) return undefined
  const disk = await diskFile(name, plan.guestKind)
  if (plan.guestKind === 'osv') {
    const { osvDisk, storedOsvImage } = await import('./osv-image.ts')
    return disk === undefined ? storedOsvImage(name, wish) : osvDisk(disk, wish)
  }
  if (disk !== undefined) {
    const { openDiskImage } = await import('../images/disk-image.ts')
    return { id: disk, image: { kind: 'disk', disk, format: openDiskImage(disk).format } }
  }
  const { findLinuxImage } = await import('../images/find.ts')
  return linuxImage(await findLinuxImage(name, process.env, process.cwd()))
}

/**
 * Where OSv guests of these settings can mount something: nowhere without an NFS client in their base; undefined: that is not
 * known, or made to fit.
 */
export async function placesToMount({
  image: { name, osvBase },
}: ImageWish['settings']): Promise<readonly string[] | undefined> {
  const { osvStore, openOsvBase } = await import('../images/osv/base.ts')
  // Why there is none is said where the image is made.
  if (name === undefined) {
    const { findOsvBase } = await import('./image.ts')
    const base = await findOsvBase(osvBase, silentLog).catch(() => undefined)
    return base && !base.nfs ? [] : undefined
  }
  if ((await diskFile(name, 'osv')) !== undefined) return undefined
  const { findOsvImage } = await import('../images/osv/remembered.ts')
  const { facts } = await findOsvImage(name, process.env)
  const base = facts && (await openOsvBase(osvStore(process.env), facts.base).catch(() => undefined))
  return base && !base.nfs ? [] : facts?.mountPoints
}

async function composedImage(
  { programs, plan, settings, log, keep }: ImageOrder,
  limits: ComposeLimits,
): Promise<JobImage> {
  if (plan.guestKind === 'osv') {
    const { composedOsvImage } = await import('./osv-image.ts')
    return composedOsvImage({ programs, plan, settings, log, keep }, limits)
  }
  const { composeForPrograms } = await import('./image.ts')
  const { files, kernel, modules } = settings.image
  const shared = plan.mounts.map(({ path }) => path)
  return linuxImage(await composeForPrograms({ programs, files, kernel, modules, shared }, limits))
}

async function linuxImage({ id, kernel, initrd, disk }: FoundImage): Promise<JobImage> {
  const { linuxStore } = await import('../images/find.ts')
  const image = { kind: 'linux', kernel, initrd, disk } as const
  return id.startsWith('/')
    ? { id, image }
    : { id, image, kept: { store: linuxStore(process.env), ids: [id] } }
}

/** The path of a disk image, when `--image` names a file; the name of an image of the store is taken for that. */
async function diskFile(name: string, guest: GuestKind): Promise<string | undefined> {
  const path = resolve(name)
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined
  if (name.includes('/')) return realpathSync(path)
  const { findLinuxImage } = await import('../images/find.ts')
  const { findOsvImage } = await import('../images/osv/remembered.ts')
  const found =
    guest === 'osv' ? findOsvImage(name, process.env) : findLinuxImage(name, process.env, process.cwd())
  const isStored = await found.then(
    () => true,
    () => false,
  )
  return isStored ? undefined : realpathSync(path)
}

function filesOf(image: GuestImage): string[] {
  if (image.kind === 'disk') return [image.disk]
  if (image.kind === 'linux') return [image.kernel, image.initrd, image.disk]
  return [...(image.kernel === undefined ? [] : [image.kernel]), image.disk]
}

type ComposeLimits = WaitLimits & { readonly log: Log }

/** A cold store of a large program on a slow disk takes a while; more is a hang. */
const COMPOSE_MS = 600_000
