// Working directories as one disk of a guest's own: an ext4 file system that e2fsprogs make and read without root and
// without the guest. Files travel at the speed of a disk, and what ranks wrote is there when their guest is gone.
import { constants } from 'node:fs'
import { copyFile, mkdir, open, realpath, rm, stat, statfs, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LeetError, type WaitLimits } from '../../common/index.ts'
import type { StagePlan } from '../../mpi-bridge/index.ts'
import { type CopiedDirectory, digestOf, type FileBefore, isYoung, nameToo } from './bring-back.ts'
import { e2fs } from './e2fs.ts'
import type { FetchedDirectory, FetchedResults } from './results.ts'
import type { CarriedDirectory } from './stage-roots.ts'
import { WorkFolder, type WorkFolderContext } from './work-folder.ts'

type Copied = Pick<FetchedDirectory, 'place' | 'before' | 'returned'>

/** What libext of OSv writes as well as it reads: it has neither a journal nor checksums. */
const FEATURES = '^has_journal,^metadata_csum,^64bit'
/** Bytes of the file system itself, and the least that ranks get to write. */
const OWN_ROOM = 64 << 20
/** Most that ranks get to write: the file of the disk grows only as they do. */
const MOST_ROOM = 64 * 2 ** 30
/** Bytes that a file takes at least. */
const BLOCK = 4096
/** Files at a time. */
const PARALLEL = 8
/** Name of the disk in its folder. */
const DISK = 'work.ext4'

/** The working directories of one guest, on a disk. */
export class WorkDisk {
  /** Path of the raw disk. */
  readonly path: string
  readonly #folder: WorkFolder
  readonly #copied: ReadonlyMap<string, Copied>

  private constructor(folder: WorkFolder, copied: ReadonlyMap<string, Copied>) {
    this.path = join(folder.path, DISK)
    this.#folder = folder
    this.#copied = copied
  }

  /**
   * Puts the planned files onto a new disk, each directory at its own path. `LEET_E_STAGING` when there is no room, or no
   * e2fsprogs.
   */
  static async make(
    stages: readonly CarriedDirectory[],
    context: WorkFolderContext,
    limits: WaitLimits,
  ): Promise<WorkDisk> {
    const folder = await WorkFolder.make('the working directory’s disk', DISK, context)
    const copied = new Map<string, Copied>()
    const disk = new WorkDisk(folder, copied)
    const size = await roomFor(stages, folder.path)
    const tree = join(folder.path, 'tree')
    for (const stage of stages) {
      const before = await copyStage(stage, tree, limits.signal)
      copied.set(stage.directory, { place: stage.place, before, returned: stage.returned })
    }
    const file = await open(disk.path, 'wx', 0o600)
    await file.truncate(size)
    await file.close()
    const { status, stderr } = await e2fs(
      ['mke2fs', '-q', '-F', '-t', 'ext4', '-m', '0', '-O', FEATURES, '-d', tree, disk.path],
      limits,
    )
    if (status !== 0) throw stagingError(disk.path, 'mke2fs cannot make the disk', stderr.trim())
    await rm(tree, { recursive: true })
    return disk
  }

  /** Ranks are about to write on it. */
  inUse(): void {
    this.#folder.mark()
  }

  /**
   * Reads what ranks wrote from a disk that nobody has any more; `clean` tells that its guest has unmounted it. The disk stays,
   * whatever else ends, until that is merged.
   */
  async fetch(clean: boolean, limits: WaitLimits): Promise<FetchedResults> {
    const folder = this.#folder
    folder.hold()
    const copy = join(folder.path, 'back')
    await mkdir(copy)
    // Without a journal what a guest had half written when it was killed must be put in order first.
    if (!clean) await e2fs(['e2fsck', '-fy', this.path], limits)
    const { status, stderr } = await e2fs(['debugfs', '-R', 'rdump / .', this.path], limits, copy)
    // It says its version there, and that it cannot make files root's.
    const complaint = stderr
      .split('\n')
      .filter((line) => line.trim() !== '' && !/^debugfs \d|while changing ownership/.test(line))
    if (status !== 0 || complaint.length > 0) {
      throw stagingError(this.path, 'not all of it can be read', complaint.slice(0, 5).join('; '))
    }
    return {
      directories: [...this.#copied].map(([directory, own]) => ({
        ...{ ...own, directory, copy: join(copy, directory) },
        same: new Set<string>(),
        failed: [],
      })),
      kept: this.kept,
      merged: () => folder.release(),
    }
  }

  /** Where the disk will be if not all that is on it was merged, and how that is had from it. */
  get kept(): string {
    const { keptAt } = this.#folder
    return `on the disk ${keptAt}: debugfs -R "rdump / DIR" ${keptAt}`
  }
}

/** How large the disk may become; refused when not even the files have room. */
async function roomFor(stages: readonly StagePlan[], folder: string): Promise<number> {
  const blocks = (bytes: number) => Math.ceil(bytes / BLOCK + 1) * BLOCK
  const content = stages.flatMap(({ entries }) => entries).reduce((sum, { size }) => sum + blocks(size), 0)
  const { bavail, bsize } = await statfs(folder)
  // For a moment the files may be there twice, as copies and on the disk.
  const left = bavail * bsize - 2 * content
  if (left < OWN_ROOM) {
    throw stagingError(
      folder,
      `has no room for a disk with the ${Math.ceil(content / 2 ** 20)} MiB of the working directory`,
      `${Math.floor((bavail * bsize) / 2 ** 20)} MiB are free there`,
      'set TMPDIR to a directory with room, or --stage-only to carry less',
    )
  }
  return content + OWN_ROOM + Math.min(MOST_ROOM, left)
}

async function copyStage(
  { directory, place, entries }: StagePlan,
  tree: string,
  signal: AbortSignal | undefined,
): Promise<CopiedDirectory> {
  const at = Date.now()
  const root = join(tree, directory)
  const files = new Map<string, FileBefore>()
  const folders = new Set(entries.map(({ path, kind }) => (kind === 'directory' ? path : dirname(path))))
  for (const path of ['', ...folders]) await mkdir(join(root, path), { recursive: true })
  const copy = async (path: string) => {
    signal?.throwIfAborted()
    const [from, to] = [join(place, path), join(root, path)]
    const { size, mtimeMs, atime, mtime } = await stat(from)
    const young = isYoung(mtimeMs, at)
    // A second name is as good as a copy where nobody writes. To copy what may still be written to is over sooner.
    if (young || !(await nameToo(await realpath(from), to))) {
      await copyFile(from, to, constants.COPYFILE_FICLONE)
      // Programs look whether their input was changed since they began.
      await utimes(to, atime, mtime)
    }
    files.set(path, { size, modified: mtimeMs, ...(young ? { digest: await digestOf(to) } : {}) })
  }
  const { limitFunction } = await import('p-limit')
  const each = limitFunction(copy, { concurrency: PARALLEL })
  await Promise.all(entries.filter(({ kind }) => kind === 'file').map(({ path }) => each(path)))
  return { files }
}

function stagingError(where: string, what: string, why?: string, hint?: string): LeetError {
  return new LeetError({ code: 'LEET_E_STAGING', where, what, ...(why ? { why } : {}), hint })
}
