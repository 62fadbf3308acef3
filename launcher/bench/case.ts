// The case of a solver: each run gets a fresh copy, so that it never finds the results of another.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { cp, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'

/** Copies a case; what its links lead to is copied, too, so that nobody writes to it. */
export async function copyCase(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, dereference: true, preserveTimestamps: true })
}

/** SHA-256 of all files below a directory, hexadecimal, by their paths there. */
export async function digestsBelow(directory: string): Promise<Map<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const digests = new Map<string, string>()
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const hash = createHash('sha256')
    await pipeline(createReadStream(path), hash)
    digests.set(relative(directory, path), hash.digest('hex'))
  }
  return digests
}
