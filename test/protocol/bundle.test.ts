// The bundle that the commands start from: of a checkout it is used as long as it is what the sources would be, and
// never a moment longer.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'

const ROOT = new URL('../../', import.meta.url).pathname
const PARTS = ['common', 'launcher', 'mpi-bridge', 'scheduler-adapters', 'contextualise', 'package.json']
/** What the help of leet-mpirun says, and two other texts of the same length. */
const [SAID, BUNDLED, CHANGED] = ['as mpirun does', 'as BUNDLE does', 'as SOURCE does'] as const

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'leet-bundle-'))
  folders.push(folder)
  return folder
}

function newCheckout(): string {
  const folder = newFolder()
  for (const part of PARTS) cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

function replace(file: string, what: string, by: string): void {
  const text = readFileSync(file, 'utf8')
  expect(text).toContain(what)
  writeFileSync(file, text.replace(what, by))
}

const bundle = (folder: string, ...words: string[]) =>
  execFileSync(process.execPath, [join(folder, 'launcher/bundle.ts'), ...words])
const leetMpirun = (folder: string, ...words: string[]) =>
  execFileSync(join(folder, 'launcher/bin/leet-mpirun'), words, { encoding: 'utf8', stdio: 'pipe' })

/** The files in which compiled code is kept, by their content. */
function keptCode(cache: string): Map<string, Buffer> {
  const folder = join(cache, 'leet/node')
  const version = readdirSync(folder).find((name) => name.startsWith('chunks-')) as string
  const names = readdirSync(join(folder, version))
  return new Map(names.map((name) => join(folder, version, name)).map((path) => [path, readFileSync(path)]))
}

it('is used while its sources are what they were, and not after any change', () => {
  const checkout = newCheckout()
  const source = join(checkout, 'launcher/cli/help.ts')
  const help = () => leetMpirun(checkout, '--help')
  bundle(checkout)
  expect(help()).toContain(SAID)

  // Told apart from the sources by a word of its own.
  const chunks = join(checkout, 'dist/bundle')
  const chunk = readdirSync(chunks).find((name) => name.startsWith('help-'))
  replace(join(chunks, chunk as string), SAID, BUNDLED)
  expect(help()).toContain(BUNDLED)
  bundle(checkout, '--if-needed')
  expect(help()).toContain(BUNDLED)

  // A text of the same length: only the time of the change tells.
  replace(source, SAID, CHANGED)
  expect(help()).toContain(CHANGED)
  bundle(checkout, '--if-needed')
  expect(help()).toContain(CHANGED)

  rmSync(source)
  expect(help).toThrow(/help\.ts/)
})

it('is all that the package has, with the profiles that come with it', () => {
  const checkout = newCheckout()
  bundle(checkout)
  const installed = newFolder()
  for (const part of ['dist/bundle', 'launcher/bin', 'package.json', 'node_modules']) {
    cpSync(join(checkout, part), join(installed, part), { recursive: true, verbatimSymlinks: true })
  }
  const words = ['--guest', 'host', '--profile', 'mpi4py', '--dry-run', '-n', '2', 'true']
  expect(JSON.parse(leetMpirun(installed, ...words))).toMatchObject({ size: 2 })
  // Of an `import()` in what node:vm runs Node.js says on stderr that it is an experiment.
  const chunks = join(installed, 'dist/bundle')
  const importing = readdirSync(chunks).filter((name) =>
    /[^.\w]import\(/.test(readFileSync(join(chunks, name), 'utf8')),
  )
  expect(importing).toEqual([])
})

it('keeps compiled code of the first runs, and takes none that is damaged', () => {
  const checkout = newCheckout()
  bundle(checkout)
  const cache = newFolder()
  const help = () =>
    execFileSync(join(checkout, 'launcher/bin/leet-mpirun'), ['--help'], {
      encoding: 'utf8',
      env: { ...process.env, XDG_CACHE_HOME: cache },
    })
  const said = Array.from({ length: 5 }, help)
  const kept = keptCode(cache)
  expect(kept.size).toBeGreaterThan(2)
  expect(new Set([...said, help()])).toEqual(new Set([said[0]]))
  expect(keptCode(cache)).toEqual(kept)

  for (const [path, bytes] of kept) {
    const damaged = Buffer.from(bytes)
    const middle = bytes.length >> 1
    damaged.fill(0xff, middle, middle + 64)
    writeFileSync(path, damaged)
  }
  expect(help()).toBe(said[0])
  // What was made in their place is whole: four runs add to it, and no more.
  const made = Array.from({ length: 5 }, () => {
    help()
    return keptCode(cache)
  })
  expect(made[4]).toEqual(made[3])
})
