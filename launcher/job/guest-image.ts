// The image that the guests of a job boot: composed from its programs, or the one that its settings name.
import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Deadline, type Log, usageError, type WaitLimits } from '../../common/index.ts'
import { stagedPath } from '../../mpi-bridge/index.ts'
import { readsExt4 } from '../images/osv/base.ts'
import type { OsvImage } from '../images/osv/compose.ts'
import { isLinked } from '../images/osv/stage-links.ts'
import { E2FS_HINT, E2FS_PROGRAMS, findE2fs } from '../node/e2fs.ts'
import { stageRoots } from '../node/stage-roots.ts'
import type { GuestImage } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'
import { type EventListener, imageEvent } from './events.ts'
import { checkOsvMounts } from './osv-mounts.ts'

/** What an image is found or made for. */
export interface ImageOrder {
  /** Programs that the guests must be able to run. */
  readonly programs: readonly string[]
  readonly plan: Pick<JobPlan, 'guestKind' | 'mounts' | 'programs' | 'guests' | 'network' | 'staging'>
  readonly settings: Settings
  readonly log: Log
  readonly onEvent: EventListener
  readonly cancel: AbortSignal
  /** The guests stay for several jobs, with working directories that are not known yet. */
  readonly keep?: boolean
}

/** The image of a job whose guests are virtual machines. */
export async function findImage(order: ImageOrder): Promise<GuestImage> {
  const { programs, plan, log, cancel, onEvent } = order
  onEvent({ event: 'phase', phase: 'image', state: 'begin' })
  const limits = { log, deadline: Deadline.after(COMPOSE_MS), signal: cancel }
  const make = plan.guestKind === 'osv' ? osvImage : linuxImage
  const image = await make(order, programs, limits)
  onEvent({ event: 'phase', phase: 'image', state: 'end' })
  return image
}

async function linuxImage(
  { plan, settings, log, onEvent }: ImageOrder,
  programs: readonly string[],
  limits: ComposeLimits,
): Promise<GuestImage> {
  const { composeForPrograms } = await import('./image.ts')
  const { findLinuxImage } = await import('../images/find.ts')
  const { name, files, kernel, modules } = settings.image
  const disk = name === undefined ? undefined : await diskFile(name)
  if (disk !== undefined) return diskImage(disk, onEvent)
  const shared = plan.mounts.map(({ path }) => path)
  const image =
    name === undefined
      ? await composeForPrograms({ programs, files, kernel, modules, shared }, limits)
      : await findLinuxImage(name, process.env, process.cwd())
  log.detail(`image ${image.id}`)
  onEvent(imageEvent(image.id, [image.kernel, image.initrd, image.disk]))
  return { kind: 'linux', kernel: image.kernel, initrd: image.initrd, disk: image.disk }
}

/** The path of a disk image, when `--image` names a file; the name of an image of the store is taken for that. */
async function diskFile(name: string): Promise<string | undefined> {
  const path = resolve(name)
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined
  const { findLinuxImage } = await import('../images/find.ts')
  const found = () => findLinuxImage(name, process.env, process.cwd())
  const inStore = !name.includes('/') && (await found().then(Boolean, () => false))
  return inStore ? undefined : realpathSync(path)
}

async function diskImage(path: string, onEvent: EventListener): Promise<GuestImage> {
  const { openDiskImage } = await import('../images/disk-image.ts')
  const { format } = openDiskImage(path)
  onEvent(imageEvent(path, [path]))
  return { kind: 'disk', disk: path, format }
}

async function osvImage(
  order: ImageOrder,
  programs: readonly string[],
  limits: ComposeLimits,
): Promise<GuestImage> {
  const { plan, settings, log, onEvent, keep } = order
  const { composeOsvForPrograms, findOsvBase } = await import('./image.ts')
  const { allowGuestApi } = await import('./guest-api.ts')
  const { name, files, osvBase, osvCompat } = settings.image
  if (name !== undefined) return osvDisk(name, order)
  const base = await findOsvBase(osvBase, log)
  const nameOfBase = `OSv base ${base.id}`
  allowGuestApi({ tls: base.tls, name: nameOfBase }, order)
  const { unknownToNfs } = await import('../images/osv/base.ts')
  checkOsvMounts(plan.mounts, { name: nameOfBase, unknown: (names) => unknownToNfs(base, names) })
  const mountPoints = plan.mounts.flatMap((mount) => (mount.kind === 'nfs' ? [mount.path] : []))
  const roots = stageRoots(plan)
  const staged = roots.map(({ directory }) => directory)
  // libext has one buffer for what is not a whole sector: two programs at once mix up what they read and write (lwext4,
  // ext4_blockdev.c; seen with four ranks in a guest in 20 of 400 files).
  const oneEach = !keep && plan.guests.every(({ ranks }) => ranks.length === 1)
  const missing =
    oneEach && roots.length > 0 ? E2FS_PROGRAMS.filter((one) => findE2fs(one) === undefined) : []
  const workDisk = oneEach && missing.length === 0
  const image = await composeOsvForPrograms(
    { programs, files, base, compat: osvCompat, mountPoints, staged, workDisk },
    limits,
  )
  if (missing.length > 0 && readsExt4(image.base)) {
    log.note(`files are carried into the memory of guests: there is no ${missing.join(', ')} (${E2FS_HINT})`)
  }
  const hidden = roots.find((root) => root.added && !hasOwnPath(image.links, root.directory))
  if (hidden) {
    throw usageError(
      `${hidden.directory} has no place of its own in an OSv guest`,
      `--file ${hidden.directory} puts it into the image`,
      '--stage-in',
    )
  }
  log.detail(`image ${image.id}`)
  onEvent(imageEvent(image.id, [image.kernel, image.disk]))
  for (const warning of image.warnings) log.warn(warning)
  return {
    kind: 'osv',
    kernel: image.kernel,
    disk: image.disk,
    compat: image.compat,
    mountTool: image.base.nfs,
    tls: image.base.tls,
    links: image.links,
    programs: Object.fromEntries(image.programs.map(({ path }, index) => [programs[index] as string, path])),
  }
}

/** Whether what is carried to a guest is found there under its own path. */
function hasOwnPath(links: OsvImage['links'], directory: string): boolean {
  return isLinked(links, directory) || stagedPath(directory) === directory
}

// Nothing is known of such an image but that it boots: its REST server may have no TLS, and of the tools that mount NFS OSv
// has had one for years.
async function osvDisk(name: string, order: ImageOrder): Promise<GuestImage> {
  const path = resolve(name)
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) {
    throw usageError(
      `${name} is no disk image`,
      'a disk image that OSv’s build made; other OSv images are composed from the program',
      '--image',
    )
  }
  const { allowGuestApi } = await import('./guest-api.ts')
  allowGuestApi({ tls: false, name }, order)
  checkOsvMounts(order.plan.mounts, { name, unknown: (names) => names.filter((each) => each === 'readonly') })
  const { openDiskImage } = await import('../images/disk-image.ts')
  const disk = realpathSync(path)
  const { format } = openDiskImage(disk)
  order.onEvent(imageEvent(disk, [disk]))
  const nothing = { kernel: undefined, compat: false, tls: false, links: [], programs: {} }
  return { kind: 'osv', disk, format, mountTool: 'mount-fs.so', ...nothing }
}

type ComposeLimits = WaitLimits & { readonly log: Log }

/** A cold store of a large program on a slow disk takes a while; more is a hang. */
const COMPOSE_MS = 600_000
