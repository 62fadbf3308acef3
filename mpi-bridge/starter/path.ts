// Where the leet-starter binary is: the package ships it, a checkout builds it when its source is newer.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'

/**
 * Path of the static `leet-starter` binary for this machine's architecture. A checkout builds it first when it is
 * missing or older than its source; `LEET_E_STARTER_BUILD` names what to install when that cannot be done.
 */
export async function starterPath(limits: WaitLimits): Promise<string> {
  const binary = join(import.meta.dirname, 'build', 'leet-starter')
  const source = modified(join(import.meta.dirname, 'starter.c'))
  const built = modified(binary)
  if (built !== undefined && (source === undefined || built >= source)) return binary
  const problem = source === undefined ? 'the package was made without it' : await build(limits)
  if (problem === undefined) return binary
  throw new LeetError({
    code: 'LEET_E_STARTER_BUILD',
    what: 'the program that starts ranks, leet-starter, is missing and cannot be built',
    why: problem,
    hint: 'install musl-tools (Debian), or gcc with a static C library (glibc-static on Fedora and its like)',
  })
}

async function build(limits: WaitLimits): Promise<string | undefined> {
  const result = await runCommand(['sh', join(import.meta.dirname, 'build.sh')], {
    ...limits,
    env: process.env,
  })
  return result.status === 0 ? undefined : result.stderr.trim().slice(-500)
}

function modified(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs
}
