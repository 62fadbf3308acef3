// Tests that need a part which may be missing: they say so in one line and count as skipped; in CI nothing may be missing
// but real OSv, of which no image is to be had there.
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe } from 'vitest'

/** Whether a command is on PATH (or in the places where servers live), or a file that is named by its path is there. */
export function hasCommand(name: string): boolean {
  if (name.startsWith('/')) return existsSync(name)
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

/** Whether what tests need is there; else says in one line that `name` is skipped, but fails in CI. */
export function isMet(name: string, needs: string, met: boolean): boolean {
  if (met) return true
  if (process.env.CI) throw new Error(`${name}: needs ${needs}, which CI must have`)
  console.warn(`skipped: ${name} (needs ${needs})`)
  return false
}

type Describe = (commands: readonly string[], name: string, body: () => void) => void

/** `describe` for tests that need commands: when one is missing they count as skipped. */
export const describeWith: Describe = (commands, name, body) => {
  const missing = commands.filter((command) => !hasCommand(command))
  if (isMet(name, missing.join(', '), missing.length === 0)) describe(name, body)
  else describe.skip(name, body)
}

/** `describe` for tests that need commands, and root. */
export const describeAsRoot: Describe = (commands, name, body) => {
  if (isMet(name, 'root', isRoot())) describeWith(commands, name, body)
  else describe.skip(name, body)
}

/** Whether this process is root's. */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** What OSv's build left, where there is such. */
export const osvBuild: string | undefined = process.env.LEET_OSV_BASE

/** Whether tests can have a real OSv, with this file of its build; else says in one line that `name` is skipped, in CI too. */
export function isOsvHere(name: string, file = ''): boolean {
  if (osvBuild !== undefined && existsSync(join(osvBuild, file))) return true
  console.warn(
    `skipped: ${name} (${osvBuild === undefined ? 'LEET_OSV_BASE names no OSv' : `no ${join(osvBuild, file)}`})`,
  )
  return false
}

/** `describe` for tests that need a real OSv, with this file of its build, whatever else they need. */
export function describeOsv(commands: readonly string[], name: string, body: () => void, file = ''): void {
  if (isOsvHere(name, file)) describeWith(commands, name, body)
  else describe.skip(name, body)
}
