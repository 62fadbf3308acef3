// NFS as the job sees it: `--mount SERVER:/export:/guest/path[:OPTIONS]`, and what the node itself has mounted by NFS.
// Pure parsers; formats: nfs(5) for sources and options, proc(5) for /proc/PID/mountinfo.
import { isIP } from 'node:net'
import { LeetError, usageError } from '../common/index.ts'
import { isAbsolutePath, isHostName, isWithin } from './checks.ts'
import { osvNfsOptions } from './osv-nfs.ts'
import type { SeedMount } from './seed.ts'

/** One export of a server, to be mounted in guests. */
export interface NfsMount {
  /** Host name or address; an IPv6 address without brackets. */
  readonly server: string
  /** The exported directory, absolute. */
  readonly directory: string
  /** Where it is mounted. */
  readonly path: string
  readonly version: 3 | 4
  /** Further options of nfs(5), without those that say version, server or client; for OSv also its client's own. */
  readonly options: readonly string[]
}

/** Whose NFS client mounts: options and versions are its. */
export type NfsClient = 'linux' | 'osv'

/** Options in a mount table that `NfsMount` has fields for, or that concern that node or that mount point alone. */
const NODE_OPTIONS =
  /^(?:vers=|minorversion=|addr=|clientaddr=|mountaddr=|mountvers=|mountport=|mountproto=|local_lock=|relatime$|noatime$|nodiratime$|nosuid$|nodev$|rw$)/

/**
 * Parses `--mount`; `where` names the option in the refusal (exit status 2). NFS version 4 unless `vers=3` is among the options;
 * OSv has version 3 alone, and what its client does not know is refused.
 */
export function parseNfsMount(text: string, where: string, client: NfsClient = 'linux'): NfsMount {
  const refuse = (why: string) =>
    usageError(
      `"${text.slice(0, 120)}" is not a mount: ${why}`,
      'SERVER:/export:/path/in/guest[:OPTIONS], such as nfs1:/home:/home:vers=3,ro',
      where,
    )
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]]+):(\/[^:]*):(\/[^:]*)(?::([^:]*))?$/i.exec(text)
  if (!match) throw refuse('it has not the parts server, export and path')
  const [, host, directory, path, optionText = ''] = match as unknown as [
    string,
    string,
    string,
    string,
    string?,
  ]
  const server = host.replace(/^\[|\]$/g, '')
  if (!isHostName(server) && isIP(server) === 0) throw refuse(`"${server}" is neither host name nor address`)
  if (directory !== '/' && !isAbsolutePath(directory)) throw refuse(`"${directory}" is not an absolute path`)
  if (!isAbsolutePath(path)) throw refuse(`"${path}" is not an absolute path`)
  const options = optionText.split(',').filter((option) => option !== '')
  for (const option of options) {
    const name = client === 'osv' ? /^[a-z][a-z0-9_-]*/ : /^[a-z][a-z0-9_]*/
    if (!/^(=[A-Za-z0-9_.:/-]+)?$/.test(option.replace(name, '')) || !name.test(option))
      throw refuse(`"${option}" is not an option of nfs(5)`)
  }
  const said = options.filter((option) => /^(nfs)?vers=/.test(option)).at(-1)
  const usual = client === 'osv' ? 3 : 4
  const version = said === undefined ? usual : majorVersion(said.split('=')[1] as string)
  if (version === undefined) throw refuse(`"${said}" is neither version 3 nor 4`)
  const further = options.filter((option) => !/^(nfs)?vers=/.test(option))
  if (client === 'osv') {
    if (version !== 3) throw refuse(`"${said}" is not to be had, OSv speaks NFS version 3`)
    const [unknown] = osvNfsOptions(further).unknown
    if (unknown === 'ro') throw refuse('mounted with "ro", OSv opens no file that anybody may write')
    if (unknown !== undefined) throw refuse(`OSv’s NFS client cannot be told "${unknown}"`)
  }
  return { server, directory, path, version, options: further }
}

function majorVersion(text: string): 3 | 4 | undefined {
  if (text === '3') return 3
  return /^4(\.[0-2])?$/.test(text) ? 4 : undefined
}

/** One line of /proc/PID/mountinfo, as far as it is needed here. */
export interface MountInfo {
  /** Directory of the file system that is mounted (for a bind mount, a part of it). */
  readonly root: string
  readonly path: string
  readonly type: string
  readonly source: string
  /** Options of the file system itself, then of this mount. */
  readonly options: readonly string[]
}

/** Parses /proc/self/mountinfo; lines it does not understand are left out, the order is kept. */
export function parseMountInfo(text: string): MountInfo[] {
  return text.split('\n').flatMap((line) => {
    // 36 35 98:0 /root /point rw,noatime master:1 - type source super-options
    const separator = line.indexOf(' - ')
    if (separator < 0) return []
    const [, , , root, path, options] = line.slice(0, separator).split(' ')
    const [type, source, superOptions] = line.slice(separator + 3).split(' ')
    if (!root || !path?.startsWith('/') || options === undefined || !type || source === undefined) return []
    return [
      {
        root: decodeOctal(root),
        path: decodeOctal(path),
        type,
        source: decodeOctal(source),
        options: [...splitOptions(superOptions ?? ''), ...splitOptions(options)],
      },
    ]
  })
}

/** The kernel writes blank, tab, newline, backslash and `#` as octal escapes. */
function decodeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

function splitOptions(text: string): string[] {
  return text.split(',').filter((option) => option !== '')
}

/** The mount on which an absolute path lies: the deepest mount point above it, of equal ones the last, which hides the others. */
export function mountOf(path: string, mounts: readonly MountInfo[]): MountInfo | undefined {
  let found: MountInfo | undefined
  for (const mount of mounts) {
    if (isWithin(path, mount.path) && (found === undefined || mount.path.length >= found.path.length))
      found = mount
  }
  return found
}

/** The NFS mount that holds `path` on this node, as guests would mount it; undefined when the path is not on NFS. */
export function nfsMountOf(path: string, mounts: readonly MountInfo[]): NfsMount | undefined {
  const mount = mountOf(path, mounts)
  if (mount === undefined || !/^nfs4?$/.test(mount.type)) return undefined
  const colon = mount.source.lastIndexOf(':/')
  if (colon <= 0) return undefined
  const server = mount.source.slice(0, colon).replace(/^\[|\]$/g, '')
  const exported = mount.source.slice(colon + 1)
  // A bind mount of a part of the export is that part of the export.
  const directory = joinPaths(exported, mount.root)
  if ((!isHostName(server) && isIP(server) === 0) || !isAbsolutePath(mount.path)) return undefined
  const vers = mount.options.find((option) => option.startsWith('vers='))?.slice(5)
  const version = majorVersion(vers ?? '') ?? (mount.type === 'nfs4' ? 4 : 3)
  const options = mount.options.filter((option) => !NODE_OPTIONS.test(option))
  return { server, directory, path: mount.path, version, options: [...new Set(options)] }
}

function joinPaths(base: string, rest: string): string {
  const parts = `${base}/${rest}`.split('/').filter((part) => part !== '')
  return `/${parts.join('/')}`
}

/**
 * The mount of a seed for an NFS mount. `address` is the server's, resolved on the node: a guest has no resolver of its
 * own, and the kernel's NFS client needs an address when no mount.nfs helper is there.
 * Throws `LEET_E_NFS_ADDRESS` when it is not an address.
 */
export function nfsSeedMount(mount: NfsMount, address: string): SeedMount {
  const family = isIP(address)
  if (family === 0) {
    throw new LeetError({
      code: 'LEET_E_NFS_ADDRESS',
      what: `"${address}" is not an address of the NFS server ${mount.server}`,
    })
  }
  const host = family === 6 ? `[${address}]` : address
  const version = mount.version === 4 ? 'vers=4.1' : 'vers=3'
  // Without a lock daemon in the guest, version 3 locks only locally.
  const locks = mount.version === 3 && !mount.options.includes('nolock') ? ['nolock'] : []
  return {
    source: `${host}:${mount.directory}`,
    path: mount.path,
    type: mount.version === 4 ? 'nfs4' : 'nfs',
    options: [version, ...locks, ...mount.options],
    required: true,
  }
}
