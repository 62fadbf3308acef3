// Facts about file systems that a plan needs: this node's mount table, and where directories really are.
import { readFileSync, realpathSync } from 'node:fs'
import { hostname } from 'node:os'
import { parseMountInfo } from '../../contextualise/index.ts'
import type { MountFacts } from './mounts.ts'

/** Looks where `directories` of this node lie; `nodes` are the names of the job's nodes. */
export function mountFacts(
  directories: readonly string[],
  nodes: readonly string[],
  batchJob: string | undefined,
): MountFacts {
  // Asked first: a file system of an automounter is mounted by that.
  const realPaths = Object.fromEntries(directories.map((path) => [path, realPath(path)]))
  return {
    table: parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')),
    realPaths,
    here: nodes.find((name) => shortName(name) === shortName(hostname())),
    batchJob,
  }
}

// A home that is not there is no error: not every account has one on every node.
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

// Schedulers tell nodes by their short or their full name.
function shortName(host: string): string {
  return (host.split('.')[0] as string).toLowerCase()
}
