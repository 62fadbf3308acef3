// The NFS servers of a job as one node sees them: by what address guests reach them, whether they answer before guests
// are booted, and whether they still do while ranks run.
import { lookup } from 'node:dns/promises'
import {
  Deadline,
  LeetError,
  type Log,
  messageOf,
  type Scope,
  type WaitLimits,
  waitFor,
} from '../../common/index.ts'
import type { NfsMount } from '../../contextualise/index.ts'
import type { PlanMount } from '../plan/mounts.ts'
import { askNfsServer, type NfsEndpoint } from './rpc.ts'

/** An NFS server of the job. */
export interface NfsServer extends NfsEndpoint {
  /** As the user or the mount table names it. */
  readonly name: string
}

/** How long a server may take to answer, in milliseconds. */
const ANSWER_MS = 10_000
/** How often a server is asked while ranks run, in milliseconds: seldom enough for a thousand nodes that all ask one. */
const WATCH_MS = 15_000
const NFS_PORT = 2049

/**
 * The servers of the mounts, each once, resolved by this node: guests have no resolver. Resolves when all have
 * answered; `LEET_E_NFS_SERVER` names the one that does not.
 */
export async function findNfsServers(mounts: readonly PlanMount[], limits: WaitLimits): Promise<NfsServer[]> {
  const wanted = new Map<string, NfsMount>()
  for (const mount of mounts) {
    if (mount.kind === 'nfs') wanted.set(`${mount.server} ${portOf(mount)} ${mount.version}`, mount)
  }
  const soon = { ...limits, deadline: limits.deadline.within(ANSWER_MS) }
  return Promise.all(
    [...wanted.values()].map(async (mount) => {
      const server = await resolveServer(mount, soon)
      await askNfsServer(server, soon).catch((cause) => {
        if (limits.signal?.aborted) throw cause
        throw new LeetError({
          code: 'LEET_E_NFS_SERVER',
          where: describe(server),
          what: `the NFS server of ${mount.path} does not answer`,
          why: cause instanceof LeetError ? cause.details.what : messageOf(cause),
          hint: `is it up, and open to this node? rpcinfo -t ${server.name} nfs ${server.version}`,
          cause,
        })
      })
      return server
    }),
  )
}

/** The address of a mount's server among those found. */
export function addressOfServer(servers: readonly NfsServer[], mount: NfsMount): string {
  const found = servers.find(({ name }) => name === mount.server)
  if (!found) throw new RangeError(`the server ${mount.server} was not looked up`)
  return found.address
}

/** Tells the user when a server falls silent and when it is back, since ranks wait for it without a word. */
export function watchNfsServers(
  servers: readonly NfsServer[],
  log: Log,
  scope: Scope,
  everyMs = WATCH_MS,
): void {
  const silent = new Set<NfsServer>()
  const ask = async (server: NfsServer) => {
    const limits = { deadline: Deadline.after(ANSWER_MS), signal: scope.signal }
    const error: unknown = await askNfsServer(server, limits).then(
      () => undefined,
      (cause) => cause,
    )
    if (scope.signal.aborted) return
    if (error === undefined && silent.delete(server))
      log.note(`the NFS server ${describe(server)} answers again`)
    if (error !== undefined && !silent.has(server)) {
      silent.add(server)
      const why = error instanceof LeetError ? error.details.what : messageOf(error)
      log.warn(
        `the NFS server ${describe(server)} does not answer (${why}): ranks that use it wait until it does`,
      )
    }
  }
  const timer = setInterval(() => {
    for (const server of servers) void ask(server)
  }, everyMs)
  timer.unref()
  scope.onEnd('the watch over NFS servers', () => clearInterval(timer))
}

async function resolveServer(mount: NfsMount, limits: WaitLimits): Promise<NfsServer> {
  const endpoint = { name: mount.server, port: portOf(mount), version: mount.version }
  const subject = { what: `the address of the NFS server ${mount.server}` }
  try {
    const { address } = await waitFor(lookup(mount.server, { family: 4 }), limits, subject)
    return { ...endpoint, address }
  } catch (cause) {
    if (cause instanceof LeetError && cause.code !== 'LEET_E_DEADLINE') throw cause
    throw new LeetError({
      code: 'LEET_E_NFS_ADDRESS',
      where: mount.server,
      what: `the NFS server of ${mount.path} has no IPv4 address on this node`,
      why: messageOf(cause),
      hint: `getent ahostsv4 ${mount.server}`,
      cause,
    })
  }
}

function describe({ name, address, port }: NfsServer): string {
  return name === address ? `${address}:${port}` : `${name} (${address}:${port})`
}

function portOf({ options }: NfsMount): number {
  const said = options.findLast((option) => /^(nfs)?port=/.test(option))
  return said === undefined ? NFS_PORT : Number(said.slice(said.indexOf('=') + 1))
}
