// Where the init of our own Linux guests is: the package ships it compiled, a checkout compiles it when its source is
// newer.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'

const FOLDER = join(import.meta.dirname, '..', 'guest-init')

/** Path of the static init binary. What to install when it cannot be built is said by `LEET_E_INIT_BUILD`. */
export async function guestInitPath(limits: WaitLimits): Promise<string> {
  const binary = join(FOLDER, 'build', 'init')
  const sources = readdirSync(FOLDER).filter((name) => /\.[ch]$/.test(name))
  const built = modified(binary)
  const newest = Math.max(0, ...sources.map((name) => modified(join(FOLDER, name)) ?? 0))
  if (built !== undefined && built >= newest) return binary
  const result = await runCommand(['sh', join(FOLDER, 'build.sh')], { ...limits, env: process.env })
  if (result.status === 0) return binary
  throw new LeetError({
    code: 'LEET_E_INIT_BUILD',
    what: 'the init of Linux guests is missing and cannot be built',
    why: result.stderr.trim().slice(-500),
    hint: 'install musl-tools (Debian), or gcc with a static C library (glibc-static on Fedora and its like)',
  })
}

function modified(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs
}
