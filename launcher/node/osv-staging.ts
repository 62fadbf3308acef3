// The working directory of ranks in an OSv guest, carried into its memory and back where the guest cannot share it, and
// what a rank's program and directory are called there.
import { readdirSync } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { LeetError, type Log, messageOf, type WaitLimits } from '../../common/index.ts'
import type { Seed, SeedFile } from '../../contextualise/index.ts'
import {
  type OsvRest,
  type SeededStage,
  type StagedIn,
  type StagePlan,
  seedStage,
  stagedPath,
  stageIn,
  stageOut,
} from '../../mpi-bridge/index.ts'
import { isLinked } from '../images/osv/stage-links.ts'
import { isMounted, isWithin } from '../plan/mounts.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import { type CopiedDirectory, digestOf, type FileBefore } from './bring-back.ts'
import type { FetchedDirectory, FetchedResults } from './results.ts'
import type { CarriedDirectory } from './stage-roots.ts'
import { WorkFolder, type WorkFolderContext } from './work-folder.ts'
import type { OsvImageFiles } from './worker.ts'

/** Of a guest's memory, what staged files may take: its /tmp is memory. */
const STAGED_SHARE = 0.5

/** Whose directories, and into which guest. */
export interface OsvStagingContext {
  readonly plan: Pick<JobPlan, 'staging' | 'mounts'>
  readonly stages: readonly CarriedDirectory[]
  readonly guest: GuestPlan
  readonly image: Pick<OsvImageFiles, 'programs' | 'links'>
  readonly log: Log
}

/** The directories of one job in one guest; nothing is carried before `stageIn`. */
export class OsvStaging {
  readonly #context: OsvStagingContext
  readonly #seeded = new Map<string, SeededStage>()
  readonly #staged = new Map<string, StagedIn & Pick<FetchedDirectory, 'place' | 'before' | 'returned'>>()

  /** `LEET_E_OSV_GUEST` when it does not fit. */
  constructor(context: OsvStagingContext) {
    this.#context = context
    const { guest, stages } = context
    for (const { size, directory } of stages) {
      if (size <= guest.memory * STAGED_SHARE) continue
      throw new LeetError({
        code: 'LEET_E_OSV_GUEST',
        where: guest.name,
        what: `has no room for the ${Math.ceil(size / 2 ** 20)} MiB of ${directory}`,
        why: 'files are carried into its memory',
        hint: 'more --guest-memory, or --stage-only to carry less',
      })
    }
  }

  /** What the guest's seed is to say, so that less is to be carried. */
  async seed(): Promise<Required<Pick<Seed, 'directories' | 'files'>>> {
    const directories: string[] = []
    const files: SeedFile[] = []
    for (const stage of this.#context.stages) {
      const seeded = await seedStage(stage)
      this.#seeded.set(stage.directory, seeded)
      const root = stagedPath(stage.directory)
      directories.push(...seeded.directories.map((path) => join(root, path)))
      for (const [path, content] of seeded.files) {
        files.push({ path: join(root, path), content, mode: 0o644, owner: 'root' })
      }
    }
    return { directories, files }
  }

  async stageIn(rest: OsvRest, limits: WaitLimits): Promise<void> {
    const { stages, guest, log } = this.#context
    for (const stage of stages) {
      const { directory, place, returned, entries } = stage
      log.detail(`${guest.name}: ${entries.length} files of ${directory} are carried in, and results back`)
      const seeded = this.#seeded.get(directory)
      const before = await filesOf(stage)
      const staged = await stageIn(rest, stage, stagedPath(directory), limits, seeded)
      this.#staged.set(directory, { ...staged, place, before, returned })
    }
  }

  /** The path of a program of the node, and of a directory, in the guest. */
  place(argv: readonly [string, ...string[]], workDir: string) {
    const { plan, image } = this.#context
    const [program, ...words] = argv
    // A program that is not in the image may have come with its directory.
    const own = [image.programs[program] ?? this.#carried(program), ...words] as const
    const isThere = plan.staging.when !== 'never' || isMounted(plan, workDir)
    if (!isThere) return { argv: own, workDir: '/' }
    return { argv: own, workDir: isLinked(image.links, workDir) ? workDir : this.#carried(workDir) }
  }

  #carried(path: string): string {
    for (const [directory, { guestDirectory }] of this.#staged) {
      if (isWithin(path, directory)) return guestDirectory + path.slice(directory.length)
    }
    return path
  }

  /** Reads what the ranks changed onto the node; undefined when nothing was carried in. */
  async fetch(
    rest: OsvRest,
    { journal, scope }: Pick<WorkFolderContext, 'journal' | 'scope'>,
    limits: WaitLimits,
  ): Promise<FetchedResults | undefined> {
    if (this.#staged.size === 0) return undefined
    const { guest } = this.#context
    const folder = await WorkFolder.make('results', RESULTS, { journal, scope, guest: guest.name })
    folder.hold()
    const directories: FetchedDirectory[] = []
    for (const [directory, staged] of this.#staged) {
      const copy = join(folder.path, RESULTS, directory)
      await mkdir(copy, { recursive: true })
      const { place, before, returned } = staged
      const { same, failed } = await stageOut(rest, staged, copy, returned, limits).catch((error) => {
        const isEmpty = directories.length === 0 && readdirSync(copy).length === 0
        if (isEmpty) folder.release()
        throw lost(guest.name, directory, error, isEmpty ? undefined : folder.keptAt)
      })
      directories.push({ directory, place, copy, before, returned, same: new Set(same), failed })
    }
    return { directories, kept: `in ${folder.keptAt}`, merged: () => folder.release() }
  }
}

/** Name of the results in their folder. */
const RESULTS = 'results'

/** Of a guest that is gone nobody can have what was in its memory. */
function lost(where: string, directory: string, error: unknown, keptAt: string | undefined): LeetError {
  return new LeetError({
    code: 'LEET_E_STAGING',
    where,
    what: `what its ranks wrote in ${directory} cannot be brought back from its memory`,
    why: messageOf(error),
    hint: keptAt && `what came before is in ${keptAt}`,
    cause: error,
  })
}

/** Files as they are now. The guest's own times say nothing of them, so what is in them has to. */
async function filesOf({ place, entries }: StagePlan): Promise<CopiedDirectory> {
  const files = new Map<string, FileBefore>()
  for (const { path, kind } of entries) {
    if (kind === 'directory') continue
    const { size, mtimeMs } = await stat(join(place, path))
    files.set(path, { size, modified: mtimeMs, digest: await digestOf(join(place, path)) })
  }
  return { files }
}
