// The processors of this node that its ranks may use, as Linux tells them.
// Source: Documentation/admin-guide/cputopology.rst of the kernel, proc(5).
import { readdirSync, readFileSync } from 'node:fs'
import type { Processor } from '../../mpi-bridge/index.ts'

/** Ascending by package and core, as hwloc numbers them. `root` is another tree than `/` in tests. */
export function nodeProcessors(root = '/'): Processor[] {
  const status = read(`${root}proc/self/status`) ?? ''
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '')
  const cpu = `${root}sys/devices/system/cpu/cpu`
  return allowed
    .map((id) => ({
      id,
      core: Number(read(`${cpu}${id}/topology/core_id`) ?? id),
      package: Math.max(0, Number(read(`${cpu}${id}/topology/physical_package_id`) ?? 0)),
      numa: numaOf(`${cpu}${id}`),
    }))
    .sort((a, b) => a.package - b.package || a.core - b.core || a.id - b.id)
}

/** The processors of a guest: one package of so many cores. */
export function guestProcessors(cpus: number): Processor[] {
  return Array.from({ length: cpus }, (_, id) => ({ id, core: id, package: 0, numa: 0 }))
}

/** `0-3,8` as numbers. */
export function parseCpuList(text: string): number[] {
  return text
    .split(',')
    .filter(Boolean)
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number)
      return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i)
    })
}

function numaOf(folder: string): number {
  try {
    const link = readdirSync(folder).find((name) => /^node\d+$/.test(name))
    return Number(link?.slice('node'.length) ?? 0)
  } catch {
    return 0
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}
