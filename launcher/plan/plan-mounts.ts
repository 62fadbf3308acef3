// Decides what guests mount so that paths mean the same in them as on the nodes: what the user asked for, then home and
// working directory, by NFS where the node has them on NFS, else from the guest's own node, which is given a copy where it has
// not the same. Pure.
import { join } from 'node:path'
import { type LeetError, usageError } from '../../common/index.ts'
import {
  type MountInfo,
  mountOf,
  type NfsClient,
  type NfsMount,
  nfsMountOf,
  osvNfsOptions,
  parseNfsMount,
} from '../../contextualise/index.ts'
import {
  isLoopback,
  isMounted,
  isWithin,
  type MountFacts,
  type MountRequest,
  type PlanMount,
} from './mounts.ts'

/** Decides what guests mount, parents before what lies in them. Refuses, with a usage error, what cannot be. */
export function planMounts(request: MountRequest, facts: MountFacts): PlanMount[] {
  const { client, shareBy, stage, workDirs, user, nodes } = request
  const asked = askedMounts(request, facts)
  if (request.onlyAsked) return asked
  const wanted = [...new Set([...workDirs, user.home])].filter((path) => !isMounted({ mounts: asked }, path))
  const places = wanted.map((path) => placeOf(path, facts, request))

  const found = new Map<string, PlanMount>()
  for (const { nfs } of places) {
    if (nfs && !isMounted({ mounts: asked }, nfs.path))
      found.set(nfs.path, { kind: 'nfs', ...fitting(nfs, client) })
  }
  // A path that leads there by a symbolic link is mounted too, unless the link itself is on what is mounted.
  for (const { path, alias } of places) {
    if (alias && !isMounted({ mounts: [...found.values()] }, path))
      found.set(path, { kind: 'nfs', ...fitting(alias, client) })
  }
  const others = nodes.filter((node) => node !== facts.here)
  // OSv guests cannot share: what is carried into them is decided for each (workDirWay).
  const always = stage === 'always' && client === 'linux'
  const shared = places.flatMap(({ path, nfs, everywhere }) => {
    const isWorkDir = workDirs.includes(path)
    if (always && isWorkDir) return [{ path, isMirrored: true }]
    if (nfs || !(everywhere || isWorkDir)) return []
    // Who says 9p vouches that all nodes have the same there.
    const isMirrored = !everywhere && shareBy === 'auto' && others.length > 0
    if (isMirrored && stage === 'never') throw onOneNode(path, others)
    return [{ path, isMirrored }]
  })
  if (shared.some(({ isMirrored }) => isMirrored)) {
    for (const path of facts.added) shared.push({ path, isMirrored: true })
  }
  const { here } = facts
  const mirrored = !always && here !== undefined && nodes.includes(here) ? { except: here } : {}
  for (const { path, isMirrored } of shared) {
    const isInner = shared.some((other) => other.path !== path && isWithin(path, other.path))
    if (!isInner) found.set(path, { kind: 'share', path, ...(isMirrored ? { mirrored } : {}) })
  }
  for (const path of found.keys()) checkMountPoint(path, whoseIs(path, request, facts))
  return [...asked, ...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

function whoseIs(path: string, { workDirs }: MountRequest, { added }: MountFacts): string {
  if (workDirs.includes(path)) return '-wdir'
  return added.includes(path) ? '--stage-in' : 'mounts'
}

/** Refuses, naming `where`, a mount point that would hide the guest's own system. */
export function checkMountPoint(path: string, where: string): void {
  if (!OWN_OF_GUEST.some((own) => isWithin(path, own) || isWithin(own, path))) return
  throw usageError(
    `${path} cannot be mounted in a guest, which has its own`,
    'a directory of yours; the working directory is named with -wdir',
    where,
  )
}

const OWN_OF_GUEST = [
  ...['/bin', '/boot', '/dev', '/etc', '/leet', '/lib', '/lib64', '/proc', '/run/leet', '/sbin', '/sys'],
  ...['/usr/bin', '/usr/lib', '/usr/lib64', '/usr/sbin'],
]

function askedMounts({ wishes, user, nodes, client }: MountRequest, facts: MountFacts): PlanMount[] {
  const byPath = new Map<string, { mount: NfsMount; source: string }>()
  for (const { text, where, source } of wishes) {
    const filled = fillIn(text, user, facts.batchJob, where)
    const mount = parseNfsMount(filled, where, source === 'command line' ? client : 'linux')
    checkMountPoint(mount.path, where)
    if (byPath.get(mount.path)?.source === source) {
      throw usageError(`two mounts are asked for at ${mount.path}`, undefined, where)
    }
    if (nodes.length > 1 && isLoopback(mount.server)) {
      throw usageError(
        `"${mount.server}" is another server on each of the ${nodes.length} nodes`,
        'the name by which all nodes know the server',
        where,
      )
    }
    byPath.set(mount.path, { mount, source })
  }
  // What files and variables say suits every job, so that of it counts what its guests know.
  return [...byPath.values()]
    .filter(({ mount }) => canBeMounted(mount, client))
    .map(({ mount, source }) => {
      const own = source === 'command line' ? mount : fitting(mount, client)
      return { kind: 'nfs', asked: true, ...own }
    })
}

/** OSv cannot mount for reading alone (contextualise/osv-nfs.ts), and is not to write what nodes only read. */
function canBeMounted({ options }: Pick<NfsMount, 'options'>, client: NfsClient): boolean {
  return client === 'linux' || !options.includes('ro')
}

/** A mount that was not made for OSv, as its client can have it: version 3, and the options that it knows. */
function fitting(mount: NfsMount, client: NfsClient): NfsMount {
  if (client === 'linux') return mount
  const options = mount.options.filter((option) => osvNfsOptions([option]).unknown.length === 0)
  return { ...mount, version: 3, options }
}

/** Puts in what the placeholders stand for. */
function fillIn(
  text: string,
  user: MountRequest['user'],
  batchJob: string | undefined,
  where: string,
): string {
  const values: Readonly<Record<string, string | undefined>> = {
    user: user.name,
    uid: String(user.uid),
    gid: String(user.gid),
    jobid: batchJob,
  }
  return text.replace(/\{([^{}]*)\}/g, (placeholder, name: string) => {
    if (!Object.hasOwn(values, name)) {
      throw usageError(`${placeholder} stands for nothing`, '{user}, {uid}, {gid} or {jobid}', where)
    }
    const value = values[name]
    if (value === undefined) {
      throw usageError(`${placeholder} has no value: this is not a job of a batch system`, undefined, where)
    }
    return value
  })
}

interface Place {
  readonly path: string
  /** How guests would mount it, if by NFS. */
  readonly nfs?: NfsMount
  /** The same part of that export at `path`, where a symbolic link leads to it. */
  readonly alias?: NfsMount
  /** Whether all nodes are taken to have it at this path. */
  readonly everywhere: boolean
}

function placeOf(
  path: string,
  { table, realPaths }: MountFacts,
  { shareBy, client, nodes }: MountRequest,
): Place {
  const real = realPaths[path] ?? path
  const mount = mountOf(real, table)
  if (mount === undefined) return { path, everywhere: false }
  const everywhere = CLUSTER_FILE_SYSTEMS.has(mount.type)
  if (shareBy === '9p' || !isMountableNfs(mount) || !canBeMounted(mount, client)) return { path, everywhere }
  // Where the node has its own system on NFS too, guests take only the directory.
  const nfs = nfsOf(hidesGuest(mount.path) ? partOf(mount, real, real) : mount, real)
  if (nfs === undefined) return { path, everywhere }
  if (nodes.length > 1 && isLoopback(nfs.server)) return { path, everywhere: false }
  const alias = path === real ? undefined : nfsOf(partOf(mount, real, path), path)
  return { path, nfs, ...(alias ? { alias } : {}), everywhere }
}

// Guests have no tickets of Kerberos, and no RDMA: the latter is left out below, as servers that offer it also speak TCP.
function isMountableNfs({ type, options }: MountInfo): boolean {
  return /^nfs4?$/.test(type) && !options.some((option) => /^sec=krb5/.test(option))
}

function nfsOf(mount: MountInfo, path: string): NfsMount | undefined {
  const nfs = nfsMountOf(path, [mount])
  return nfs && { ...nfs, options: nfs.options.filter((option) => !TRANSPORT_OPTIONS.test(option)) }
}

/** How the node itself transports and caches, which says nothing about guests; their default is TCP. */
const TRANSPORT_OPTIONS = /^(proto=|rdma$|nconnect=|max_connect=|fsc(=|$)|xprtsec=|namlen=)/

/** The part `real` of a mount as a mount of its own at `path`. */
function partOf(mount: MountInfo, real: string, path: string): MountInfo {
  return { ...mount, root: join(mount.root, real.slice(mount.path === '/' ? 0 : mount.path.length)), path }
}

function hidesGuest(path: string): boolean {
  return OWN_OF_GUEST.some((own) => isWithin(own, path))
}

/**
 * File systems that a cluster has at the same path on all its nodes. What is on any other is taken to be on its node only.
 */
const CLUSTER_FILE_SYSTEMS: ReadonlySet<string> = new Set([
  ...['nfs', 'nfs4', 'lustre', 'gpfs', 'beegfs', 'ceph', 'fuse.ceph-fuse', 'panfs', 'wekafs', 'afs'],
  ...['cifs', 'smb3', 'orangefs', 'pvfs2', 'ocfs2', 'gfs2', 'fuse.glusterfs', 'fuse.quobyte', 'fuse.moosefs'],
])

function onOneNode(path: string, others: readonly string[]): LeetError {
  const named =
    others.length > 3 ? `${others.slice(0, 3).join(', ')} and ${others.length - 3} more` : others.join(', ')
  return usageError(
    `the working directory ${path} is on this host only, and guests on ${named} could not see it`,
    `a directory on NFS, --mount SERVER:/export:/path for one that a server has, as root \`leet export ${path} -- leet-mpirun …\`, or --share-by 9p if every node has the same there; a job can carry it there without --stage never`,
    '-wdir',
  )
}
