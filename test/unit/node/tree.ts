// A part of /proc and /sys as a test wants it, in a folder of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** The root of the tree, with a slash at its end, and how to remove it. */
export interface FakeRoot {
  readonly root: string
  remove(): void
}

/** Makes the tree; directories come with the files in them, and a file may be empty. */
export function fakeRoot(files: Readonly<Record<string, string>>): FakeRoot {
  const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return { root: `${folder}/`, remove: () => rmSync(folder, { recursive: true }) }
}
