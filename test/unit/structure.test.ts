// That the code has layers: no folder needs one that needs it, be it by way of others. What only types are imported from counts.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const FOLDERS = ['common', 'contextualise', 'scheduler-adapters', 'mpi-bridge', 'launcher']
/** Of other files in quotes: `from './x.ts'` and `import('./x.ts')`. */
const IMPORT = /(?:from|import\()\s*'(\.[^']*\.ts)'/g

/** The launcher's folders are looked at one by one. */
function folderOf(file: string): string {
  const [top = '', below = ''] = relative(ROOT, file).split(sep)
  return top === 'launcher' && !below.endsWith('.ts') ? `launcher/${below}` : top
}

function sourcesOf(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    if (statSync(path).isDirectory()) return sourcesOf(path)
    return path.endsWith('.ts') ? [path] : []
  })
}

function neededBy(): Map<string, Set<string>> {
  const needs = new Map<string, Set<string>>()
  for (const file of FOLDERS.flatMap((folder) => sourcesOf(join(ROOT, folder)))) {
    const own = folderOf(file)
    const others = needs.get(own) ?? new Set()
    needs.set(own, others)
    for (const [, path] of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      const other = folderOf(join(file, '..', path as string))
      if (other !== own) others.add(other)
    }
  }
  return needs
}

/** A way from a folder back to itself; undefined when there is none. */
function circleFrom(start: string, needs: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const seen = new Set<string>()
  const walk = (way: readonly string[]): string[] | undefined => {
    for (const next of needs.get(way.at(-1) as string) ?? []) {
      if (next === start) return [...way, next]
      if (seen.has(next)) continue
      seen.add(next)
      const found = walk([...way, next])
      if (found) return found
    }
    return undefined
  }
  return walk([start])
}

it('has no circle of folders', () => {
  const needs = neededBy()
  expect([...needs.keys()]).toEqual(expect.arrayContaining(['common', 'launcher/cli', 'launcher/job']))
  expect([...needs.keys()].map((folder) => circleFrom(folder, needs)).filter(Boolean)).toEqual([])
})

it('has the command line at the top', () => {
  const others = [...neededBy()].filter(([folder]) => folder !== 'launcher')
  expect(others.filter(([, needs]) => needs.has('launcher/cli')).map(([folder]) => folder)).toEqual([])
})
