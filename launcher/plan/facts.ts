// Facts about the job's nodes and user that a plan needs.
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { availableParallelism, freemem, hostname, networkInterfaces, type UserInfo, userInfo } from 'node:os'
import { Deadline, runCommand, usageError } from '../../common/index.ts'
import { type Allocation, nodeOfThisProcess, resolveAllocation } from '../../scheduler-adapters/index.ts'
import { leftOf, memoryLimit } from './job-memory.ts'
import type { JobPlan, PlanNode } from './plan.ts'
import type { AllocationWishes } from './settings.ts'

const QUERY_MS = 10_000

/** The nodes of this job: from the batch system, a hostfile, `-H`, or this machine alone. */
export function findAllocation(
  wishes: AllocationWishes,
  environment: NodeJS.ProcessEnv,
): Promise<Allocation> {
  return resolveAllocation({
    ...wishes,
    env: environment,
    cwd: process.cwd(),
    hostname: hostname(),
    cpus: availableParallelism(),
    readFile: (path) => readFile(path, 'utf8'),
    query: async (argv) => {
      const result = await runCommand(argv, { deadline: Deadline.after(QUERY_MS) }).catch(() => undefined)
      return result?.status === 0 ? result.stdout : undefined
    },
    now: Date.now(),
  })
}

/**
 * Nodes as a plan needs them. What the batch system does not say of a node is taken from this one: the nodes of a job
 * are alike far more often than not, and a guest that does not fit is refused by its node.
 */
export function planNodes(allocation: Allocation, noLocal = false): [PlanNode, ...PlanNode[]] {
  const here = noLocal ? nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() }) : undefined
  const nodes = allocation.nodes.filter((node) => node !== here)
  if (nodes.length === 0) {
    throw usageError('this node is the only one of the job', 'leave it out on one node', '--nolocal')
  }
  const cpus = availableParallelism()
  const limit = memoryLimit()
  // Node’s own process.availableMemory() takes the job’s cached files for memory that is gone.
  const memory = Math.min(freemem(), limit ? leftOf(limit) : Number.POSITIVE_INFINITY)
  return nodes.map((node) => ({
    name: node.name,
    slots: node.slots,
    ...(node.maxSlots === undefined ? {} : { maxSlots: node.maxSlots }),
    cpus: node.cpus ?? cpus,
    memory: node.memory === undefined ? memory : Math.min(node.memory, memory),
  })) as [PlanNode, ...PlanNode[]]
}

/** IPv4 networks that this node is in, with its address in each. */
export function ownNetworks(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return all.flatMap(({ family, internal, cidr }) => (family === 'IPv4' && !internal && cidr ? [cidr] : []))
}

/** The user who runs the command, as the guests shall know him. */
export function thisUser(environment: NodeJS.ProcessEnv): JobPlan['user'] {
  const { username, uid, gid, homedir, shell } = account()
  return {
    name: username,
    uid,
    gid,
    group: groupName(gid) ?? username,
    groups: [...new Set([gid, ...(process.getgroups?.() ?? [])])],
    home: environment.HOME?.startsWith('/') ? environment.HOME : homedir,
    shell: shell ?? '/bin/sh',
  }
}

// On nodes of some sites a user has no entry in the password database; his numbers are all that counts.
function account(): Pick<UserInfo<string>, 'username' | 'uid' | 'gid' | 'homedir' | 'shell'> {
  try {
    return userInfo()
  } catch {
    const uid = process.getuid?.() ?? 0
    return { username: `user${uid}`, uid, gid: process.getgid?.() ?? 0, homedir: '/tmp', shell: null }
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
