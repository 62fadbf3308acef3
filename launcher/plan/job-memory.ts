// How much memory the job may use on this node, by the cgroups that the batch system put it into, and whether its guests
// fit: what is more would have the kernel end a guest in the middle of its work.
// Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel, proc(5), cgroups(7).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError } from '../../common/index.ts'

/** A limit, what of it is in use and would not be given up for a guest, and the file that has the limit. */
export interface MemoryLimit {
  readonly bytes: number
  readonly used: number
  readonly from: string
}

/**
 * The memory limit that leaves least, among the cgroups that this process is in and those above them: batch systems limit
 * the job, and the step and the task below it may have more. undefined: there is none. `root` is another tree than `/` in tests.
 */
export function memoryLimit(root = '/'): MemoryLimit | undefined {
  const mounts = parseMounts(read(`${root}proc/self/mountinfo`))
  const limits = parseMembership(read(`${root}proc/self/cgroup`)).flatMap(({ version, path }) => {
    const mount = mounts.find((one) => one.version === version)
    if (!mount) return []
    const below = path === mount.root || mount.root === '/' ? path : path.slice(mount.root.length)
    const relative = path === mount.root ? '/' : below
    const names = relative.split('/').filter(Boolean)
    return names.concat('').flatMap((_, depth) => {
      const folder = join(mount.point, ...names.slice(0, depth))
      const from = join(folder, LIMIT_FILES[version])
      const bytes = Number.parseInt(read(join(root, from)), 10)
      if (!(bytes >= 0 && bytes < UNLIMITED)) return []
      return [{ bytes, from, used: usedOf(read(join(root, folder, 'memory.stat'))) }]
    })
  })
  return limits.sort((a, b) => leftOf(a) - leftOf(b))[0]
}

/** Bytes of a limit that are left. */
export const leftOf = ({ bytes, used }: MemoryLimit): number => Math.max(0, bytes - used)

/** `LEET_E_MEMORY`, with the figures, when the guests of a node are more than the job may use there. Pure. */
export function checkMemory(
  guests: readonly { readonly memory: number }[],
  limit: MemoryLimit | undefined,
  node: string,
): void {
  const wanted = guests.reduce((sum, { memory }) => sum + memory + HYPERVISOR, 0)
  if (!limit || guests.length === 0 || wanted <= leftOf(limit)) return
  const each = Math.floor((guests[0]?.memory ?? 0) / MIB)
  const room = Math.floor(leftOf(limit) / guests.length - HYPERVISOR)
  const inUse = limit.used < MIB ? '' : `, of which ${Math.ceil(limit.used / MIB)} MiB are in use`
  throw new LeetError({
    code: 'LEET_E_MEMORY',
    where: node,
    what: `${guests.length === 1 ? 'a guest' : `${guests.length} guests`} of ${each} MiB, with ${HYPERVISOR / MIB} MiB each for QEMU, make ${Math.ceil(wanted / MIB)} MiB, and the job may use ${Math.floor(limit.bytes / MIB)} MiB${inUse}`,
    why: `${limit.from} says so`,
    hint:
      room >= LEAST
        ? `--guest-memory ${Math.floor(room / MIB)}M, or a job with more memory`
        : 'fewer guests, or a job with more memory',
  })
}

const MIB = 2 ** 20
/** What a QEMU needs besides its guest's memory: seen with 7.2 are 35 to 60 MiB, more under emulation. */
export const HYPERVISOR = 64 * MIB
const LEAST = 128 * MIB
/** cgroup v1 says "no limit" with the largest multiple of a page in 63 bits. */
const UNLIMITED = 2 ** 62

type Version = 'v1' | 'v2'
const LIMIT_FILES = { v1: 'memory.limit_in_bytes', v2: 'memory.max' } as const satisfies Record<
  Version,
  string
>

// Pages of files are given up when memory is wanted, so they do not count (cgroup-v2.rst; total_rss of memory.rst).
function usedOf(stat: string): number {
  return Number(/^(?:anon|total_rss) (\d+)$/m.exec(stat)?.[1] ?? 0)
}

// Lines `HIERARCHY:CONTROLLERS:PATH`; those of v2 are `0::PATH` (cgroups(7)).
function parseMembership(text: string): { version: Version; path: string }[] {
  return text.split('\n').flatMap((line): { version: Version; path: string }[] => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) return []
    if (controllers === '') return [{ version: 'v2', path }]
    return controllers.split(',').includes('memory') ? [{ version: 'v1', path }] : []
  })
}

interface CgroupMount {
  readonly version: Version
  readonly root: string
  readonly point: string
}

// Fields of proc(5): 4 root, 5 mount point; behind a lone hyphen the type, and last the options of the file system.
function parseMounts(text: string): CgroupMount[] {
  return text.split('\n').flatMap((line): CgroupMount[] => {
    const [before = '', after = ''] = line.split(' - ')
    const [, , , root, point] = before.split(' ')
    const [type, , options = ''] = after.split(' ')
    if (root === undefined || point === undefined) return []
    if (type === 'cgroup2') return [{ version: 'v2', root, point }]
    return type === 'cgroup' && options.split(',').includes('memory') ? [{ version: 'v1', root, point }] : []
  })
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
