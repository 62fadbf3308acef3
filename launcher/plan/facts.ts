// Facts about this machine and user that a plan needs.
import { readFileSync } from 'node:fs'
import { availableParallelism, hostname, userInfo } from 'node:os'
import type { JobPlan, PlanNode } from './plan.ts'

/** This machine as the one node of a job: processors and memory that the job's control group leaves it. */
export function thisNode(): PlanNode {
  const cpus = availableParallelism()
  return { name: hostname(), slots: cpus, cpus, memory: process.availableMemory() }
}

/** The user who runs the command, as the guests shall know him. */
export function thisUser(environment: NodeJS.ProcessEnv): JobPlan['user'] {
  const { username, uid, gid, homedir, shell } = userInfo()
  return {
    name: username,
    uid,
    gid,
    group: groupName(gid) ?? username,
    home: environment.HOME?.startsWith('/') ? environment.HOME : homedir,
    shell: shell ?? '/bin/sh',
  }
}

// Groups of a directory service are not in this file; a name is only wanted for ls, so the user's own will do.
function groupName(gid: number): string | undefined {
  try {
    const line = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((entry) => entry.split(':')[2] === String(gid))
    return line?.split(':')[0]
  } catch {
    return undefined
  }
}
