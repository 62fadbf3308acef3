// The image of OSv guests: composed from the programs of the job, one of the store that its settings name, or a disk that boots
// by itself.
import { EXIT_USAGE, LeetError, type Log, usageError, type WaitLimits } from '../../common/index.ts'
import { stagedPath } from '../../mpi-bridge/index.ts'
import { openDiskImage } from '../images/disk-image.ts'
import { type OsvBase, openOsvBase, osvStore, readsExt4, unknownToNfs } from '../images/osv/base.ts'
import { findOsvImage, type OsvImageFacts, programStamp } from '../images/osv/remembered.ts'
import { isLinked, isOnDisk, leadsToDisk, type StageLink } from '../images/osv/stage-links.ts'
import { E2FS_HINT, E2FS_PROGRAMS, findE2fs } from '../node/e2fs.ts'
import { type StageRoot, stageRoots } from '../node/stage-roots.ts'
import { workDirWay } from '../plan/mounts.ts'
import { allowGuestApi } from './guest-api.ts'
import { composeOsvForPrograms, findOsvBase } from './image.ts'
import type { ImageWish, JobImage } from './job-image.ts'
import { checkOsvMounts } from './osv-mounts.ts'

/** The image that is composed for a job. */
export async function composedOsvImage(
  wish: ImageWish,
  limits: WaitLimits & { readonly log: Log },
): Promise<JobImage> {
  const { plan, settings, programs, log } = wish
  const { files, osvBase, osvCompat } = settings.image
  const base = await findOsvBase(osvBase, log)
  checkBase(base, wish)
  const roots = stageRoots(plan)
  const missing = roots.length > 0 && mayHaveDisk(wish) && readsExt4(base) ? missingTools() : []
  if (missing.length > 0) {
    log.note(`files are carried into the memory of guests: there is no ${missing.join(', ')} (${E2FS_HINT})`)
  }
  if (roots.length > 0 && readsExt4(base)) tellOfThreads(wish)
  const made = await composeOsvForPrograms(
    {
      ...{ programs, files, base, compat: osvCompat },
      mountPoints: mountPointsOf(wish),
      staged: roots.map(({ directory }) => directory),
      workDisk: mayHaveDisk(wish) && missing.length === 0,
    },
    limits,
  )
  checkRoots(roots, made.links)
  for (const warning of made.warnings) log.warn(warning)
  return {
    id: made.id,
    image: {
      kind: 'osv',
      kernel: made.kernel,
      disk: made.disk,
      compat: made.compat,
      mountTool: made.base.nfs,
      tls: made.base.tls,
      links: made.links,
      programs: Object.fromEntries(made.programs.map(({ path }, index) => [programs[index] as string, path])),
    },
    kept: { store: osvStore(process.env), ids: [made.id, made.base.id] },
  }
}

/**
 * The image of the store with this name or id. Refused where it could not run the job: without one of the programs, its base,
 * or a directory to mount on. Working directories to which nothing in it leads are found where they are carried to.
 */
export async function storedOsvImage(name: string, wish: ImageWish): Promise<JobImage> {
  const store = osvStore(process.env)
  const { id, disk, facts } = await findOsvImage(name, process.env)
  if (!facts) {
    throw usageError(
      `of the image ${name} nobody knows what is in it: another version of LEET made it`,
      'leet image compose --guest osv PROGRAM… again',
      '--image',
    )
  }
  checkPrograms(name, facts, wish)
  checkMountPoints(name, facts, wish)
  const base = await openOsvBase(store, facts.base)
  checkBase(base, wish)
  if (readsExt4(base)) tellOfThreads(wish)
  const withDisk = mayHaveDisk(wish) && missingTools().length === 0
  const links = withDisk ? facts.links : facts.links.filter((link) => !leadsToDisk(link))
  checkRoots(stageRoots(wish.plan), links)
  if (readsExt4(base)) tellOfMemory(name, links, wish)
  return {
    id,
    image: {
      kind: 'osv',
      kernel: base.kernel,
      disk,
      compat: facts.compat,
      mountTool: base.nfs,
      tls: base.tls,
      links,
      programs: Object.fromEntries(facts.programs.map(({ host, guest }) => [host, guest])),
    },
    kept: { store, ids: [id, base.id] },
  }
}

/**
 * A disk image that boots by itself. Nothing is known of it but that: its REST server may have no TLS, and of the tools that
 * mount NFS OSv has had one for years.
 */
export function osvDisk(disk: string, wish: ImageWish): JobImage {
  allowGuestApi({ tls: false, name: disk }, wish)
  checkRoots(stageRoots(wish.plan), [])
  const { format } = openDiskImage(disk)
  const nothing = { kernel: undefined, compat: false, tls: false, links: [], programs: {} }
  return { id: disk, image: { kind: 'osv', disk, format, mountTool: 'mount-fs.so', ...nothing } }
}

function checkBase(base: OsvBase, wish: ImageWish): void {
  const name = `OSv base ${base.id}`
  allowGuestApi({ tls: base.tls, name }, wish)
  const [place] = base.nfs ? [] : mountPointsOf(wish)
  if (place !== undefined) {
    throw new LeetError({
      code: 'LEET_E_OSV_BASE',
      exitCode: EXIT_USAGE,
      where: name,
      what: `cannot mount ${place}: it has no NFS client, or not all of it`,
      hint: 'leet image import osv DIR says what is missing in a build, and how it is brought into it',
    })
  }
  checkOsvMounts(wish.plan.mounts, { name, unknown: (names) => unknownToNfs(base, names) })
}

/** Refuses what --stage-in adds where the programs would not find it under its own path. */
function checkRoots(roots: readonly StageRoot[], links: readonly StageLink[]): void {
  const hidden = roots.find(
    ({ added, directory }) => added && !isLinked(links, directory) && stagedPath(directory) !== directory,
  )
  if (!hidden) return
  throw usageError(
    `${hidden.directory} has no place of its own in an OSv guest`,
    `--file ${hidden.directory} puts it into a composed image`,
    '--stage-in',
  )
}

function missingTools(): string[] {
  return E2FS_PROGRAMS.filter((name) => findE2fs(name) === undefined)
}

// A program that is not on this node can only be meant as it is in the image.
function checkPrograms(name: string, facts: OsvImageFacts, { programs, log }: ImageWish): void {
  for (const path of programs) {
    const known = facts.programs.find(({ host }) => host === path)
    if (!known) {
      throw new LeetError({
        code: 'LEET_E_PROGRAM',
        where: path,
        what: `is not in the image ${name}`,
        why: `it was composed of ${facts.programs.map(({ host }) => host).join(', ')}`,
        hint: 'leet image compose --guest osv with all programs of the job, or leave --image out',
        exitCode: 127,
      })
    }
    const now = programStamp(path)
    if (now !== undefined && now !== known.stamp) {
      log.warn(`${path} has changed since the image ${name} was made: guests run what is in the image`)
    }
  }
}

/** Says of working directories that could come on a disk that they do not. */
function tellOfMemory(name: string, links: readonly StageLink[], { plan, keep, log }: ImageWish): void {
  const carried = !keep && plan.guests.some((guest) => workDirWay(plan, guest) === 'carried')
  for (const { workDir } of carried ? plan.programs : []) {
    if (isOnDisk(links, workDir)) continue
    log.detail(`${workDir} comes into the memory of guests: the image ${name} has no way to it on a disk`)
  }
}

function checkMountPoints(name: string, { mountPoints }: OsvImageFacts, wish: ImageWish): void {
  const missing = mountPointsOf(wish).filter((path) => !mountPoints.includes(path))
  if (missing.length === 0) return
  const words = missing.map((path) => `--mount-point ${path}`).join(' ')
  throw usageError(
    `the image ${name} has nothing to mount ${missing.join(', ')} on`,
    `leet image compose --guest osv ${words} PROGRAM…, or leave --image out`,
    '--image',
  )
}

function mountPointsOf({ plan }: ImageWish): string[] {
  return plan.mounts.flatMap((mount) => (mount.kind === 'nfs' ? [mount.path] : []))
}

// libext has one buffer for what is not a whole sector: two threads at once mix up what they read and write (lwext4,
// ext4_blockdev.c; seen in 20 of 400 files of four ranks in a guest, and in up to 15 of four threads of a rank).
function mayHaveDisk({ plan, keep }: ImageWish): boolean {
  return !keep && plan.guests.every(({ ranks }) => ranks.length === 1) && threadedProgram(plan) === undefined
}

/** A program whose threads may write at once. */
function threadedProgram({ programs }: ImageWish['plan']) {
  return programs.find(({ threads }) => threads !== undefined)
}

function tellOfThreads({ plan, keep, log }: ImageWish): void {
  const program = threadedProgram(plan)
  const carried = plan.guests.every(
    (guest) => guest.ranks.length === 1 && workDirWay(plan, guest) === 'carried',
  )
  if (!program || keep || !carried) return
  log.note(
    `files are carried into the memory of guests: ${program.argv[0]} has ${program.threads}, and OSv’s ext4 mixes up what threads write at once`,
  )
}
