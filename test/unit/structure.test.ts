// That the code has layers: no folder and no file needs one that needs it, be it by way of others, and a folder that has a door is
// entered by no other way. What only types are imported from counts.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
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

/** Every import of one source by another, by absolute paths. */
function imports(): { readonly from: string; readonly to: string }[] {
  return FOLDERS.flatMap((folder) => sourcesOf(join(ROOT, folder))).flatMap((from) =>
    [...readFileSync(from, 'utf8').matchAll(IMPORT)].map(([, path]) => ({
      from,
      to: join(from, '..', path as string),
    })),
  )
}

/** What each room needs of the others, a room being what `roomOf` says of a file. */
function neededBy(roomOf: (file: string) => string = folderOf): Map<string, Set<string>> {
  const needs = new Map<string, Set<string>>()
  for (const { from, to } of imports()) {
    const others = needs.get(roomOf(from)) ?? new Set()
    needs.set(roomOf(from), others)
    if (roomOf(to) !== roomOf(from)) others.add(roomOf(to))
  }
  return needs
}

/** Whether the import goes past the `index.ts` of a folder that its importer is not in. */
function passesDoor({ from, to }: { readonly from: string; readonly to: string }): boolean {
  for (let folder = dirname(to); !from.startsWith(`${folder}${sep}`); folder = dirname(folder)) {
    const door = join(folder, 'index.ts')
    if (to !== door && existsSync(door)) return true
  }
  return false
}

/** A way from a room back to itself; undefined when there is none. */
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

it('has no circle of files', () => {
  const needs = neededBy((file) => relative(ROOT, file))
  expect(needs.get('launcher/job/run.ts')).toContain('common/index.ts')
  expect([...needs.keys()].map((file) => circleFrom(file, needs)).filter(Boolean)).toEqual([])
})

it('has the command line at the top', () => {
  const others = [...neededBy()].filter(([folder]) => folder !== 'launcher')
  expect(others.filter(([, needs]) => needs.has('launcher/cli')).map(([folder]) => folder)).toEqual([])
})

it('enters a folder by its door', () => {
  const all = imports()
  expect(all.some(({ to }) => to.endsWith('images/formats/index.ts'))).toBe(true)
  expect(all.filter(passesDoor)).toEqual([])
})

it('has file formats that know nothing of images', () => {
  const formats = join(ROOT, 'launcher/images/formats')
  const outside = imports().filter(({ from, to }) => from.startsWith(formats) && !to.startsWith(formats))
  expect([...new Set(outside.map(({ to }) => to))]).toEqual([join(ROOT, 'common/index.ts')])
})
