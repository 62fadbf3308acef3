// C parts of LEET that guests need: the package ships them compiled, a checkout compiles them when a source is newer.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand, type WaitLimits } from '../../common/index.ts'

/** Whether `build/NAME` of a folder is there, compiled now if it must be; else what its build.sh said. */
export async function compiled(
  folder: string,
  name: string,
  limits: WaitLimits,
): Promise<{ readonly path: string } | { readonly why: string }> {
  const path = join(folder, 'build', name)
  const sources = statSync(folder, { throwIfNoEntry: false })
    ? readdirSync(folder).filter((file) => /\.[ch]$/.test(file))
    : []
  const built = modified(path)
  const newest = Math.max(0, ...sources.map((file) => modified(join(folder, file)) ?? 0))
  if (built !== undefined && built >= newest) return { path }
  const result = await runCommand(['sh', join(folder, 'build.sh')], { ...limits, env: process.env })
  return result.status === 0 ? { path } : { why: result.stderr.trim().slice(-500) }
}

function modified(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs
}
