// Tests that need a part which may be missing: they say so in one line and count as skipped; in CI nothing may be missing.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe } from 'vitest'

/** Whether a command is on PATH (or in the places where servers live). */
export function hasCommand(name: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * `describe` for tests that need commands: when one is missing the group is skipped with one line that names it,
 * but fails in CI, where everything that can be installed must be there.
 */
export function describeWith(commands: readonly string[], name: string, body: () => void): void {
  const missing = commands.filter((command) => !hasCommand(command))
  if (missing.length === 0) return void describe(name, body)
  if (process.env.CI) throw new Error(`${name}: needs ${missing.join(', ')}, which CI must install`)
  console.warn(`skipped: ${name} (needs ${missing.join(', ')})`)
  describe.skip(name, body)
}
