// The image of a job: composed from its programs, or found in the store.
import { existsSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { type Log, usageError, type WaitLimits } from '../../common/index.ts'
import { starterPath } from '../../mpi-bridge/index.ts'
import type { ImageFile, LinuxImage } from '../images/image.ts'
import { importOsvBase, type OsvBase, openOsvBase, osvStore } from '../images/osv/base.ts'
import { composeOsvImage, type OsvImage } from '../images/osv/compose.ts'
import { ImageStore } from '../images/store.ts'

/** What an image is to be made of, in the user's words. */
export interface ImageWishes {
  readonly programs: readonly string[]
  /** `SRC[:DST]` each. */
  readonly files: readonly string[]
  readonly kernel: string | undefined
  readonly modules: string | undefined
  /** Directories that guests mount at the same path. */
  readonly shared: readonly string[]
}

/** Where images are kept and who is told. */
export interface ImageContext extends WaitLimits {
  readonly log: Log
  /** The user's own when absent. */
  readonly cacheDir?: string
}

/** Composes a Linux image, or finds that it is there already. */
export async function composeForPrograms(wishes: ImageWishes, context: ImageContext): Promise<LinuxImage> {
  const directory = process.cwd()
  if ((wishes.kernel === undefined) !== (wishes.modules === undefined)) {
    throw usageError('a kernel and its modules go together', '--kernel FILE --modules DIR', '--kernel')
  }
  const { composeLinuxImage } = await import('../images/linux.ts')
  return composeLinuxImage(
    {
      programs: wishes.programs,
      files: wishes.files.map((file) => parseFile(file, directory)),
      env: process.env,
      directory,
      starter: { path: await starterPath(context) },
      ...(wishes.kernel && wishes.modules
        ? { kernel: { file: resolve(directory, wishes.kernel), modules: resolve(directory, wishes.modules) } }
        : {}),
      shared: wishes.shared,
    },
    context,
  )
}

function parseFile(text: string, directory: string): ImageFile {
  const colon = text.lastIndexOf(':')
  const destination = colon > 0 ? text.slice(colon + 1) : undefined
  if (destination !== undefined && !isAbsolute(destination)) {
    throw usageError(
      `"${destination}" is not an absolute path of the guest`,
      '--file SRC:/path/in/guest',
      '--file',
    )
  }
  if (text === '' || text.startsWith(':')) throw usageError('names no file', '--file SRC[:DST]', '--file')
  const source = resolve(directory, destination === undefined ? text : text.slice(0, colon))
  if (!existsSync(source)) throw usageError(`${source} cannot be found`, undefined, '--file')
  return destination === undefined ? { source } : { source, destination }
}

/** What an OSv image is to be made of, in the user's words. */
export interface OsvImageWishes {
  readonly programs: readonly string[]
  /** `SRC[:DST]` each. */
  readonly files: readonly string[]
  readonly base: OsvBase
  readonly compat: boolean
  /** Directories on which the guest mounts something. */
  readonly mountPoints: readonly string[]
  /** Directories that are carried into the guest. */
  readonly staged: readonly string[]
  /** Whether they may come on a disk. */
  readonly workDisk: boolean
}

/** Composes an OSv image, or finds that it is there already. */
export async function composeOsvForPrograms(
  wishes: OsvImageWishes,
  { log, cacheDir }: ImageContext,
): Promise<OsvImage> {
  const directory = process.cwd()
  return composeOsvImage(
    {
      programs: wishes.programs,
      files: wishes.files.map((file) => parseFile(file, directory)),
      env: process.env,
      directory,
      base: wishes.base,
      mountPoints: wishes.mountPoints,
      staged: wishes.staged,
      workDisk: wishes.workDisk,
      ...(wishes.compat ? {} : { compat: false as const }),
    },
    { store: cacheDir === undefined ? osvStore(process.env) : new ImageStore(join(cacheDir, 'osv')), log },
  )
}

/** A base by its id, or the directory that OSv's build wrote; undefined: the base imported last. */
export async function findOsvBase(word: string | undefined, log: Log): Promise<OsvBase> {
  const store = osvStore(process.env)
  if (word === undefined || !word.includes('/')) return openOsvBase(store, word)
  const { base, lacks } = await importOsvBase(resolve(word), { store })
  for (const sentence of lacks) log.detail(sentence)
  return base
}
