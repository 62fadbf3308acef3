// Where the init of our own Linux guests is.
import { join } from 'node:path'
import { LeetError, type WaitLimits } from '../../common/index.ts'
import { compiled } from './compiled.ts'

/** Path of the static init binary. What to install when it cannot be built is said by `LEET_E_INIT_BUILD`. */
export async function guestInitPath(limits: WaitLimits): Promise<string> {
  const result = await compiled(join(import.meta.dirname, '..', 'guest-init'), 'init', limits)
  if ('path' in result) return result.path
  throw new LeetError({
    code: 'LEET_E_INIT_BUILD',
    what: 'the init of Linux guests is missing and cannot be built',
    why: result.why,
    hint: 'install musl-tools (Debian), or gcc with a static C library (glibc-static on Fedora and its like)',
  })
}
