// The profiles that come with LEET. A bundle has them as they are once read, and this module not at all: to load what reads
// YAML, and to read them, would be a fifth of what leet-mpirun does before the first guest of a job starts.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseProfile } from './parse.ts'
import { type Profile, SUFFIX } from './profile.ts'

/** All of them. */
export function shippedProfiles(): Profile[] {
  return shippedFiles().map((path) => parseProfile(readFileSync(path, 'utf8'), basename(path, SUFFIX), path))
}

/** The files in which they are written. */
export function shippedFiles(): string[] {
  const { dirname } = import.meta
  return readdirSync(dirname)
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => join(dirname, name))
}
