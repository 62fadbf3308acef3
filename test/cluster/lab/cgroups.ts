// Hosts with cgroups of their own, below a cgroup of the lab on this machine, for batch systems that confine jobs.
import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'

/** Hierarchies of cgroup v1 that a confining Slurm needs. */
const CONTROLLERS = ['cpuset', 'memory', 'freezer']
const ROOT = '/sys/fs/cgroup'

/** Whether this machine has the hierarchies. */
export function haveCgroups(): boolean {
  return CONTROLLERS.every((name) => {
    try {
      return readdirSync(join(ROOT, name)).includes('cgroup.procs')
    } catch {
      return false
    }
  })
}

/** For the shell of a host: its cgroups, mounted where a machine has them. */
export function mountCgroups(lab: string, host: string): string {
  return [
    'set -e',
    `mount -t tmpfs tmpfs ${ROOT}`,
    ...CONTROLLERS.flatMap((name) => [
      `mkdir /run/cgroup.${name} ${ROOT}/${name}`,
      `mount -t cgroup -o ${name} cgroup /run/cgroup.${name}`,
      `own=/run/cgroup.${name}/${lab}/${host}`,
      'mkdir -p $own',
      ...(name === 'cpuset'
        ? [
            'for one in $own/.. $own; do',
            `  cat /run/cgroup.${name}/cpuset.cpus >$one/cpuset.cpus`,
            `  cat /run/cgroup.${name}/cpuset.mems >$one/cpuset.mems`,
            'done',
          ]
        : []),
      `mount --bind $own ${ROOT}/${name}`,
      `umount /run/cgroup.${name}`,
    ]),
  ].join('\n')
}

/** Removes the cgroups of a lab whose processes have ended. */
export function removeCgroups(lab: string): void {
  const remove = (folder: string) => {
    const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    for (const { name } of below) remove(join(folder, name))
    rmdirSync(folder)
  }
  for (const name of CONTROLLERS) {
    const own = join(ROOT, name, lab)
    if (existsSync(own)) remove(own)
  }
}
