// Facts about file systems that a plan needs: this node's mount table, and where directories really are.
import { readFileSync, realpathSync } from 'node:fs'
import { parseMountInfo } from '../../contextualise/index.ts'
import type { MountFacts, MountPlanner } from './mounts.ts'
import { planMounts } from './plan-mounts.ts'

/** Plans with what this node says of where `directories` lie. */
export function mountPlanner(
  directories: readonly string[],
  known: Pick<MountFacts, 'here' | 'batchJob' | 'added'>,
): MountPlanner {
  // Asked first: a file system of an automounter is mounted by that.
  const realPaths = Object.fromEntries(directories.map((path) => [path, realPath(path)]))
  const facts = {
    table: parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')),
    realPaths,
    ...known,
  }
  return (request) => planMounts(request, facts)
}

// A home that is not there is no error: not every account has one on every node.
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
