// What the ranks of a guest wrote, once it is on the node: merged into the user's directories, and told.
import { LeetError, type Log, messageOf, shortList } from '../../common/index.ts'
import type { StageFilter } from '../../mpi-bridge/index.ts'
import { isWithin } from '../plan/mounts.ts'
import { type BroughtBack, bringBack, type CopiedDirectory } from './bring-back.ts'

/** What ranks wrote in one directory, as the node has it from their guest. */
export interface FetchedDirectory {
  /** As the user knows it. */
  readonly directory: string
  /** Where it lies on this node. */
  readonly place: string
  /** A directory with what came from the guest. */
  readonly copy: string
  readonly before: CopiedDirectory
  /** What is to come back to it. */
  readonly returned: StageFilter
  /** Files, by relative path, that the guest has as it was given them: `copy` may lack them. */
  readonly same: ReadonlySet<string>
  /** `copy` has nothing else but what was changed. */
  readonly changedOnly?: boolean
  /** What the guest did not give, with the reason. */
  readonly failed: readonly string[]
}

/** All that came from one guest in one way. */
export interface FetchedResults {
  readonly directories: readonly FetchedDirectory[]
  /** Where it all is, and how it is had from there: for the case that not all can be merged. */
  readonly kept: string
  /** All is where it belongs: nothing need be kept. */
  readonly merged: () => void
}

/** Whose results they are. */
export interface ResultsContext {
  readonly guest: string
  readonly log: Log
}

/**
 * Merges results into the user's directories. `LEET_E_STAGING` when some could not be, or `signal` left no time for them,
 * `LEET_E_RESULTS` when somebody else had changed the same: then both are kept.
 */
export async function mergeResults(
  { directories, kept, merged }: FetchedResults,
  { guest, log }: ResultsContext,
  signal: AbortSignal,
): Promise<void> {
  const results: BroughtBack[] = []
  for (const { directory, place, copy, before, returned, same, changedOnly = false, failed } of directories) {
    const options = { before, same, changedOnly, guest, wants: returned.wants, signal }
    const own = await bringBack(copy, place, options).catch((error) => {
      throw notAllBack(guest, kept, messageOf(error), error)
    })
    const conflicts = own.conflicts.map(({ path, kept }) => ({ path, kept: asUser(kept, place, directory) }))
    results.push({ ...own, directory, conflicts, failed: [...failed, ...own.failed] })
  }
  for (const { directory, brought, removed, left } of results) {
    log.detail(`${guest}: ${brought.length} files brought back to ${directory}`)
    if (removed.length > 0)
      log.note(`${guest}: removed by its ranks, kept in ${directory}: ${shortList(removed)}`)
    if (left.length > 0)
      log.note(`${guest}: links that lead out of ${directory} are left: ${shortList(left)}`)
  }
  const failed = results.flatMap((result) => result.failed)
  if (failed.length > 0) throw notAllBack(guest, kept, shortList(failed))
  merged()
  const conflicts = results.flatMap((result) => result.conflicts)
  if (conflicts.length > 0) throw changedTwice(guest, conflicts)
}

/** A path of this node as the user knows it. */
function asUser(path: string, place: string, directory: string): string {
  return isWithin(path, place) ? directory + path.slice(place.length) : path
}

/** Some results are not where they belong; `kept` says where they are. */
export function notAllBack(where: string, kept: string, why: string, cause?: unknown): LeetError {
  return new LeetError({
    code: 'LEET_E_STAGING',
    where,
    what: 'results were not all brought back',
    why,
    hint: `they are ${kept}`,
    cause,
  })
}

function changedTwice(where: string, conflicts: BroughtBack['conflicts']): LeetError {
  return new LeetError({
    code: 'LEET_E_RESULTS',
    where,
    what: `its ranks changed what was changed elsewhere, too: ${shortList(conflicts.map(({ path }) => path))}`,
    hint: `both are kept, those of the guest as ${shortList(conflicts.map(({ kept }) => kept))}`,
  })
}
