// The directories of the node that are carried into guests: working directories, and what --stage-in adds; and which of
// their files go there and come back.
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { usageError, type WaitLimits } from '../../common/index.ts'
import {
  anyFilter,
  filterBelow,
  plainPart,
  planStageIn,
  STAGE_ALL,
  type StageFilter,
  type StagePlan,
  stageFilter,
} from '../../mpi-bridge/index.ts'
import { isWithin } from '../plan/mounts.ts'
import type { JobPlan } from '../plan/plan.ts'

/** A directory that is carried, by the filters' paths relative to it. None lies in another. */
export interface StageRoot {
  readonly directory: string
  /** Where it lies on this node. */
  readonly place: string
  /** Whether it is there only since --stage-in named something in it. */
  readonly added: boolean
  readonly carried: StageFilter
  readonly returned: StageFilter
}

/** The word for no file at all; a file of this name is `./none`. */
const NONE = 'none'

/** What is carried of a job; empty for `--stage never`. Patterns that can mean nothing are usage errors. */
export function stageRoots({
  programs,
  staging,
}: Pick<JobPlan, 'staging'> & {
  readonly programs: readonly { readonly workDir: string }[]
}): readonly StageRoot[] {
  if (staging.when === 'never') return []
  const workDirs = [...new Set(programs.map(({ workDir }) => workDir))]
  const { add, only, out } = staging
  const places = add.flatMap((pattern) =>
    workDirs.map((directory) => placeOf(plainPart(pattern, directory), pattern)),
  )
  const all = [...new Set([...workDirs, ...places])]
  const outermost = all.filter((path) => !all.some((other) => other !== path && isWithin(path, other)))
  checkPatterns(only, workDirs, workDirs, '--stage-only')
  checkPatterns(out, workDirs, outermost, '--stage-out')
  const carried = anyFilter([stageFilter(meant(only) ?? ['.'], workDirs), stageFilter(add, workDirs)])
  const back = meant(out)
  const returned = back ? stageFilter(back, workDirs) : STAGE_ALL
  return outermost.map((directory) => ({
    directory,
    place: directory,
    added: !workDirs.some((workDir) => isWithin(workDir, directory)),
    carried: filterBelow(carried, directory),
    returned: filterBelow(returned, directory),
  }))
}

/** A directory with its files as they are when they are to be carried, and what is to come back. */
export type CarriedDirectory = StagePlan & Pick<StageRoot, 'returned'>

/** The directories of a job as they are now. */
export async function planStaging(
  roots: readonly StageRoot[],
  limits: WaitLimits,
): Promise<readonly CarriedDirectory[]> {
  return Promise.all(
    roots.map(async ({ directory, place, carried, returned }) => ({
      ...(await planStageIn(place, carried, limits)),
      directory,
      returned,
    })),
  )
}

function meant(patterns: readonly string[] | undefined): readonly string[] | undefined {
  return patterns?.filter((pattern) => pattern !== NONE)
}

/** The directory that has what was named. */
function placeOf(path: string, pattern: string): string {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) throw usageError(`"${pattern}" cannot be found: there is no ${path}`, undefined, '--stage-in')
  const place = stats.isDirectory() ? path : dirname(path)
  if (!OWN.some((own) => isWithin(place, own)) && place !== '/') return place
  throw usageError(`${place} cannot be carried into a guest, which has its own`, undefined, '--stage-in')
}

const OWN = ['/dev', '/proc', '/sys']

function checkPatterns(
  patterns: readonly string[] | undefined,
  workDirs: readonly string[],
  roots: readonly string[],
  option: string,
): void {
  for (const pattern of meant(patterns) ?? []) {
    const parts = workDirs.map((directory) => plainPart(pattern, directory))
    if (parts.some((part) => roots.some((root) => isWithin(part, root) || isWithin(root, part)))) continue
    throw usageError(
      `"${pattern}" is not below the working directory ${workDirs[0]}`,
      'name files of the working directory; --stage-in carries others',
      option,
    )
  }
}
