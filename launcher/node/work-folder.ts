// A directory of the node for what one guest is given and what its ranks wrote. It is gone with the guest, but what is to be
// kept, because it could not all be brought to the user, stays beside it.
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Scope } from '../../common/index.ts'
import type { Journal } from '../journal/journal.ts'
import { RESULTS_MARK } from '../journal/records.ts'

/** Whose the directory is. */
export interface WorkFolderContext {
  readonly journal: Journal
  /** With which the directory is removed. */
  readonly scope: Scope
  /** The guest, for names and messages. */
  readonly guest: string
}

/** The directory of one guest, below the node's directory for temporary files. */
export class WorkFolder {
  readonly path: string
  readonly #part: string
  #keep = false

  private constructor(path: string, part: string) {
    this.path = path
    this.#part = part
  }

  /** Makes it; `part` is the name in it of what may have to be kept, and `what` says what the directory is for. */
  static async make(
    what: string,
    part: string,
    { journal, scope, guest }: WorkFolderContext,
  ): Promise<WorkFolder> {
    const path = join(tmpdir(), `leet-work-${randomBytes(8).toString('hex')}`)
    const folder = new WorkFolder(path, part)
    const { gone } = journal.expectFile(path, `${what} of ${guest}`, part)
    await mkdir(path, { mode: 0o700 })
    scope.onEnd(`${what} of ${guest}`, async () => {
      if (folder.#keep) await rename(join(path, part), folder.keptAt)
      gone()
    })
    return folder
  }

  /** Ranks write from now on: if this process is killed the part is kept. */
  mark(): void {
    writeFileSync(join(this.path, RESULTS_MARK), '')
  }

  /** The part is kept, as `keptAt`, however this ends. */
  hold(): void {
    this.mark()
    this.#keep = true
  }

  /** All that is in the part is elsewhere, too. */
  release(): void {
    rmSync(join(this.path, RESULTS_MARK), { force: true })
    this.#keep = false
  }

  /** Where the part is after the end, if it is kept. */
  get keptAt(): string {
    return `${this.path}.${this.#part}`
  }
}
