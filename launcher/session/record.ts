// What a session tells the commands that use it: one file in its directory, readable by its user alone, with how each
// guest is reached. It holds the key that opens the guests.
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError, type ProcessIdentity } from '../../common/index.ts'
import type { DiskImageFile, GuestAccess, HeldGuest, OsvImageFiles } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'

/** Name of the file in the session's directory. */
const RECORD_FILE = 'session.json'
/** Name of what the session says while it lasts. */
export const LOG_FILE = 'session.log'

/** A guest of a session. */
export interface SessionGuest extends HeldGuest {
  /** By which the other guests know it. */
  readonly address: string
  /** Why it is gone; undefined while it is there. */
  readonly lost?: string
}

/** A session, as its file has it. */
export interface SessionRecord {
  /** Version of LEET that keeps it. */
  readonly version: string
  /** Milliseconds since 1970. */
  readonly began: number
  /** The batch system's name of the job that it is part of; undefined without one. */
  readonly batchJob?: string
  /** With which it ends. */
  readonly shell: ProcessIdentity
  readonly plan: JobPlan
  /** Index of the node that it is kept on; undefined when that is none of the plan. */
  readonly here?: number
  /** In the order of the plan. */
  readonly guests: readonly SessionGuest[]
  /** What leads into the guests. */
  readonly access: GuestAccess
  /** A distribution's own image, where the guests booted one: what programs need is there or in a mount. */
  readonly disk?: DiskImageFile
  /** Of OSv guests: the image that they booted, and what tells whether the programs in it are those of today. */
  readonly osv?: { readonly image: OsvImageFiles; readonly files: Readonly<Record<string, FileStamp>> }
}

/** What changes when a file does. */
export type FileStamp = string

/** The stamp of a file as it is now; undefined when there is none. */
export function stampOfFile(path: string): FileStamp | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats && `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}`
}

/** Writes the file anew, so that whoever reads it sees the old one or the new. */
export function writeRecord(directory: string, record: SessionRecord): void {
  const path = join(directory, RECORD_FILE)
  writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** Reads the file of a session; undefined when there is none (yet). */
export function readRecord(directory: string): SessionRecord | undefined {
  let text: string
  try {
    text = readFileSync(join(directory, RECORD_FILE), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  // The directory is the user's own and the file was put there whole: it is believed.
  return JSON.parse(text) as SessionRecord
}

/** Index of the guest that the user means: by its name, by `g1` or by `1`. */
export function guestOf({ plan }: Pick<SessionRecord, 'plan'>, word: string): number {
  const found = plan.guests.findIndex(
    ({ name, index }) => word === name || word === `g${index}` || word === `${index}`,
  )
  if (found >= 0) return found
  const names = plan.guests.map(({ name }) => name)
  throw new LeetError({
    code: 'LEET_E_SESSION',
    what: `the session ${plan.jobId} has no guest "${word}"`,
    hint: `one of ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''}, or in short g0`,
    exitCode: 2,
  })
}
