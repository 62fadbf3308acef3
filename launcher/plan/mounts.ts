// What guests mount so that paths mean the same in them as on the nodes: what the user asked for, then home and working
// directory, by NFS where the node has them on NFS, else from the guest's own node. Pure: the plan of a job has the result.
import { join } from 'node:path'
import { usageError } from '../../common/index.ts'
import {
  type MountInfo,
  mountOf,
  type NfsMount,
  nfsMountOf,
  parseNfsMount,
} from '../../contextualise/index.ts'

/** What every guest of a job mounts; `path` is where. */
export type PlanMount =
  /** An export of an NFS server, whose name each node resolves. */
  | ({ readonly kind: 'nfs' } & NfsMount)
  /** A directory of the guest's own node, by 9p at the same path. */
  | { readonly kind: 'share'; readonly path: string }

/** How directories of the node get into guests: NFS where the node has them on NFS, or always from the node by 9p. */
export const SHARE_WAYS = ['auto', '9p'] as const
export type ShareWay = (typeof SHARE_WAYS)[number]

/** A mount that was asked for, as it was written. */
export interface MountWish {
  /** `SERVER:/export:/guest/path[:OPTIONS]`, perhaps with `{user}`, `{uid}`, `{gid}` and `{jobid}`. */
  readonly text: string
  /** Option, variable, or file with line: for messages. */
  readonly where: string
  /** The command line, the environment or one file: a stronger source may say anew what is at a path, the same may not. */
  readonly source: string
}

/** Where directories lie, as the node sees it on which the plan is made. */
export interface MountFacts {
  /** Its mount table. */
  readonly table: readonly MountInfo[]
  /** Where home and working directories really are, when symbolic links lead to them. */
  readonly realPaths: Readonly<Record<string, string>>
  /** Its name among the job's nodes; undefined when it is none of them. */
  readonly here: string | undefined
  /** The batch system's name of the job. */
  readonly batchJob: string | undefined
}

/** What `planMounts` needs besides the facts. */
export interface MountRequest {
  /** From weak to strong. */
  readonly wishes: readonly MountWish[]
  readonly shareBy: ShareWay
  readonly workDirs: readonly string[]
  readonly user: { readonly name: string; readonly uid: number; readonly gid: number; readonly home: string }
  /** Names of the nodes that have guests. */
  readonly nodes: readonly string[]
}

/** Decides what guests mount, parents before what lies in them. Refuses, with a usage error, what cannot be. */
export function planMounts(request: MountRequest, facts: MountFacts): PlanMount[] {
  const { shareBy, workDirs, user, nodes } = request
  const asked = askedMounts(request, facts)
  const wanted = [...new Set([...workDirs, user.home])].filter((path) => !lies(path, asked))
  const places = wanted.map((path) => placeOf(path, facts, shareBy, nodes.length > 1))

  const found = new Map<string, PlanMount>()
  for (const { nfs } of places) if (nfs) found.set(nfs.path, { kind: 'nfs', ...nfs })
  // A path that leads there by a symbolic link is mounted too, unless the link itself is on what is mounted.
  for (const { path, alias } of places) {
    if (alias && !lies(path, [...found.values()])) found.set(path, { kind: 'nfs', ...alias })
  }
  const shared = places
    .filter(({ path, nfs, everywhere }) => !nfs && (everywhere || workDirs.includes(path)))
    .map((place) => {
      if (!place.everywhere) checkOneNode(place.path, nodes, facts.here)
      return place.path
    })
  for (const path of shared) {
    if (!shared.some((other) => other !== path && isWithin(path, other))) {
      found.set(path, { kind: 'share', path })
    }
  }
  for (const path of found.keys()) checkMountPoint(path, workDirs.includes(path) ? '-wdir' : 'mounts')
  return [...asked, ...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** Whether the guests of a job see what the nodes have at this path. */
export function isMounted({ mounts }: { readonly mounts: readonly PlanMount[] }, path: string): boolean {
  return lies(path, mounts)
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

function askedMounts({ wishes, user, nodes }: MountRequest, facts: MountFacts): PlanMount[] {
  const byPath = new Map<string, { mount: NfsMount; source: string }>()
  for (const { text, where, source } of wishes) {
    const mount = parseNfsMount(fillIn(text, user, facts.batchJob, where), where)
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
  return [...byPath.values()].map(({ mount }) => ({ kind: 'nfs', ...mount }))
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

/** `localhost` or an address of 127.0.0.0/8: the node itself, whichever it is. */
export function isLoopback(server: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3})$/i.test(server)
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

function placeOf(path: string, { table, realPaths }: MountFacts, shareBy: ShareWay, several: boolean): Place {
  const real = realPaths[path] ?? path
  const mount = mountOf(real, table)
  if (mount === undefined) return { path, everywhere: false }
  const everywhere = CLUSTER_FILE_SYSTEMS.has(mount.type)
  if (shareBy === '9p' || !isMountableNfs(mount)) return { path, everywhere }
  // Where the node has its own system on NFS too, guests take only the directory.
  const nfs = nfsOf(hidesGuest(mount.path) ? partOf(mount, real, real) : mount, real)
  if (nfs === undefined) return { path, everywhere }
  if (several && isLoopback(nfs.server)) return { path, everywhere: false }
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

function checkOneNode(path: string, nodes: readonly string[], here: string | undefined): void {
  const others = nodes.filter((node) => node !== here)
  if (others.length === 0) return
  const named =
    others.length > 3 ? `${others.slice(0, 3).join(', ')} and ${others.length - 3} more` : others.join(', ')
  throw usageError(
    `the working directory ${path} is on this host only, and guests on ${named} could not see it`,
    `a directory on NFS, --mount SERVER:/export:/path for one that a server has, or as root \`leet export ${path} -- leet-mpirun …\``,
    '-wdir',
  )
}

function lies(path: string, mounts: readonly PlanMount[]): boolean {
  return mounts.some((mount) => isWithin(path, mount.path))
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}
