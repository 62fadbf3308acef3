// A case as solvers have it: a directory with an input, in which two ranks of `results` (test/protocol/programs) write.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the ranks leave there when all of it comes back. */
export const RESULTS = {
  ...{ 'result 0': 'result 0', 'result 1': 'result 1' },
  ...{ alike: 'alike', input: 'changed' },
} as const

/** A case that nobody has run yet. */
export interface Case {
  readonly directory: string
  /** What is in its files, by their names; without directories. */
  files(): Record<string, string>
  remove(): void
}

/** Makes the case, below `root`. */
export function makeCase(root: string): Case {
  const directory = mkdtempSync(join(root, 'leet-case-'))
  mkdirSync(join(directory, 'system'))
  writeFileSync(join(directory, 'input'), 'as it was')
  return {
    directory,
    files: () =>
      Object.fromEntries(
        readdirSync(directory, { withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map(({ name }) => [name, readFileSync(join(directory, name), 'utf8')]),
      ),
    remove: () => rmSync(directory, { recursive: true }),
  }
}
