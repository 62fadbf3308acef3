// Output of ranks in files. Written at once and in order, so that a rank that writes faster than the disk holds up its own
// output and no memory grows.
import { closeSync, existsSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { LeetError, messageOf } from '../common/index.ts'

/** Files by their paths, made anew when first written to. */
export class FilesOfRanks {
  readonly #open = new Map<string, number>()

  /** Appends; `LEET_E_OUTPUT` when that cannot be. */
  write(path: string, data: Uint8Array): void {
    try {
      let file = this.#open.get(path)
      if (file === undefined) {
        const full = resolve(path)
        makeDirectory(dirname(full))
        file = openSync(full, 'w')
        this.#open.set(path, file)
      }
      for (let at = 0; at < data.length; ) at += writeSync(file, data, at)
    } catch (cause) {
      throw new LeetError({
        code: 'LEET_E_OUTPUT',
        what: 'the output of a rank cannot be written',
        where: path,
        why: messageOf(cause),
        hint: '--output-filename in a directory that can be written, on a disk with room',
        cause,
      })
    }
  }

  close(): void {
    for (const file of this.#open.values()) closeSync(file)
    this.#open.clear()
  }
}

// With its parents. Node.js, asked for those, too, never returns where the system has no place for a new directory, as in /proc.
function makeDirectory(path: string): void {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    // Another job may have been quicker.
    if (!existsSync(path)) throw error
  }
}
