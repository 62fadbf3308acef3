// Whether the NFS client of OSv guests knows what is asked of it. One that is older than an option does not hear it.
import { EXIT_USAGE, LeetError } from '../../common/index.ts'
import { nameOf, osvNfsOptions } from '../../contextualise/index.ts'
import type { PlanMount } from '../plan/mounts.ts'

/** The client in the image of the guests. */
export interface NfsClientOfImage {
  readonly name: string
  /** Which of these arguments it does not know, as far as that can be told. */
  readonly unknown: (names: readonly string[]) => readonly string[]
}

/** Refuses, with `LEET_E_OSV_BASE`, what somebody asked for in vain; what is only so on the nodes may go unheard. */
export function checkOsvMounts(mounts: readonly PlanMount[], { name, unknown }: NfsClientOfImage): void {
  for (const mount of mounts) {
    if (mount.kind !== 'nfs' || !mount.asked) continue
    const [lacking] = unknown(
      osvNfsOptions(mount.options)
        .arguments.map(nameOf)
        .filter((argument) => !ALWAYS_KNOWN.has(argument)),
    )
    if (lacking === undefined) continue
    throw new LeetError({
      code: 'LEET_E_OSV_BASE',
      exitCode: EXIT_USAGE,
      where: name,
      what: `its NFS client may not know the option "${lacking}", which is asked for at ${mount.path}`,
      hint: 'OSv built anew, with the libnfs of today; or leave the option out',
    })
  }
}

/** Every libnfs has them, and what compares so short a name need not have it as a text. */
const ALWAYS_KNOWN: ReadonlySet<string> = new Set(['uid', 'gid'])
