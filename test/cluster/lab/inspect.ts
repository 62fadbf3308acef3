// What is there on a host: processes, interfaces, leases of addresses, mounts, files. Read from outside, so that looking runs nothing on it.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { identify } from '../../../common/index.ts'
import type { LabHost } from './hosts.ts'

/** A process of a host. */
export interface HostProcess {
  /** As the machine sees it: may be given to `process.kill`. */
  readonly pid: number
  readonly startTime: number
  readonly uid: number
  readonly argv: readonly string[]
}

/** One thing that is on a host. `what` names it uniquely there. */
export interface Finding {
  readonly host: string
  readonly kind: 'process' | 'interface' | 'lease' | 'mount' | 'file'
  readonly what: string
  /** Of a process. */
  readonly command?: string
}

/** Files of the lab's own daemons, which come and go. */
const DAEMON_FILES = [
  '/var/log',
  '/var/lib/slurm',
  '/var/spool/slurmd',
  '/run/slurm',
  '/var/lib/nfs',
  '/var/spool/gridengine',
  '/var/lib/gridengine',
]
const WATCHED_TMPFS = ['/run', '/tmp', '/dev/shm']

/** The processes of a host, its init and zombies left out. */
export function processesOf(host: LabHost): HostProcess[] {
  const namespace = readlinkSync(`/proc/${host.init.pid}/ns/pid`)
  const found: HostProcess[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === host.init.pid) continue
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) !== namespace) continue
      const identity = identify(pid)
      if (!identity) continue
      const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
      found.push({ ...identity, uid: statSync(`/proc/${pid}`).uid, argv })
    } catch {
      // It ended while it was looked at.
    }
  }
  return found
}

/** Everything that is on a host. `layer` is the directory, as the machine sees it, of all its changes to files. */
export function findingsOn(host: LabHost, layer: string): Finding[] {
  const root = `/proc/${host.init.pid}/root`
  const finding = (kind: Finding['kind']) => (what: string) => ({ host: host.name, kind, what })
  const mounts = readFileSync(`/proc/${host.init.pid}/mountinfo`, 'utf8')
    .split('\n')
    .filter(Boolean)
    // Fields after proc(5): 4 root, 5 mount point; the file system type follows the lone hyphen.
    .map((line) => `${line.split(' ')[4]} (${line.split(' - ')[1]})`)
  const changed = walk(layer, '').filter((path) => !existsAsDirectory(path))
  const files = [...changed, ...WATCHED_TMPFS.flatMap((top) => walk(root, top))]
  return [
    ...processesOf(host).map(({ pid, startTime, argv }) => {
      const command = argv.join(' ')
      return { ...finding('process')(`${command} [pid ${pid}, start ${startTime}]`), command }
    }),
    ...readdirSync(join(root, 'sys/class/net')).map(finding('interface')),
    ...leasesIn(readFileSync(`/proc/${host.init.pid}/net/unix`, 'utf8')).map(finding('lease')),
    ...mounts.map(finding('mount')),
    ...files.filter((path) => !DAEMON_FILES.some((top) => path.startsWith(`${top}/`))).map(finding('file')),
  ]
}

/** Names of LEET's in the abstract namespace (unix(7)), where addresses of guests are leased; proc(5) shows them with an @. */
function leasesIn(sockets: string): string[] {
  return sockets.split('\n').flatMap((line) => / (@leet-\S+)$/.exec(line)?.[1] ?? [])
}

/** Paths below `top`, without `base`; directories come before what they hold. */
function walk(base: string, top: string): string[] {
  const found: string[] = []
  let entries: ReturnType<typeof listDirectory>
  try {
    entries = listDirectory(join(base, top))
  } catch {
    return found
  }
  for (const entry of entries) {
    const path = `${top}/${entry.name}`
    found.push(path)
    if (entry.isDirectory()) found.push(...walk(base, path))
  }
  return found
}

function listDirectory(path: string) {
  return readdirSync(path, { withFileTypes: true })
}

/** A directory of the machine appears in a host's layer as soon as something in it changes. */
function existsAsDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
