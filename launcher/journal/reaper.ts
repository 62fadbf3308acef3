// Removes what jobs left whose controller was killed. Live jobs, other users' jobs and jobs of other hosts or pid
// namespaces are never touched.
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  Deadline,
  isRunning,
  type Log,
  messageOf,
  type ProcessIdentity,
  type WaitLimits,
} from '../../common/index.ts'
import { JOURNAL_FILE, removeIfEmpty, thisPlace } from './journal.ts'
import { type JournalContent, type Place, parseJournal } from './records.ts'
import { removeResource } from './removal.ts'
import { ownDirectory, runtimeRoots } from './runtime-root.ts'

/** What `reap` needs. */
export interface ReapOptions {
  readonly log: Log
  /** Runtime roots to look into; the user's own by default. */
  readonly roots?: readonly string[]
  readonly limits?: WaitLimits
}

/** What was done for one job that was over. */
export interface ReapedJob {
  /** Undefined when the controller was killed before it could write its name. */
  readonly jobId: string | undefined
  readonly directory: string
  /** What was done, one line each. */
  readonly done: readonly string[]
  /** Why something is still there; empty when nothing is. */
  readonly failures: readonly string[]
}

/** Ends and removes what is left of jobs that are over. Costs one directory listing when there are none. */
export async function reap(options: ReapOptions): Promise<ReapedJob[]> {
  const { log, roots = runtimeRoots(), limits = { deadline: Deadline.after(REAP_MS) } } = options
  const reaped: ReapedJob[] = []
  for (const root of roots) {
    const finished = finishedJobs(root)
    for (const directory of finished) {
      const job = await reapJob(directory, log, limits)
      if (job) reaped.push(job)
    }
    if (finished.length > 0) removeIfEmpty(root)
  }
  return reaped
}

const REAP_MS = 10_000

/** Job directories of this user in a runtime root. */
export function jobDirectories(root: string): string[] {
  return namesIn(root)
    .filter((name) => controllerOf(name) !== undefined)
    .map((name) => join(root, name))
    .filter((directory) => ownDirectory(directory) === undefined)
}

/** Job directories whose controller does not run. */
function finishedJobs(root: string): string[] {
  return jobDirectories(root).filter((directory) => {
    const controller = controllerOf(basename(directory))
    return controller !== undefined && !isRunning(controller)
  })
}

// The last job to end removes the directory, perhaps just now.
function namesIn(root: string): string[] {
  if (ownDirectory(root) !== undefined) return []
  try {
    return readdirSync(root)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** The controller named by a job directory `PID.STARTTIME.RANDOM`; undefined for anything else. */
export function controllerOf(name: string): ProcessIdentity | undefined {
  const match = /^([1-9]\d{0,9})\.(\d{1,15})\.[A-Za-z0-9]{6}$/.exec(name)
  return match ? { pid: Number(match[1]), startTime: Number(match[2]) } : undefined
}

async function reapJob(directory: string, log: Log, limits: WaitLimits): Promise<ReapedJob | undefined> {
  const { head, open, unreadable }: JournalContent = readJournal(join(directory, JOURNAL_FILE))
  // Without a head nothing can have been made yet, and there is nothing to end.
  const place = thisPlace()
  const elsewhere = head && whyElsewhere(head.place, place)
  if (elsewhere) {
    log.detail(`${directory} is left alone: ${elsewhere}`)
    return undefined
  }
  if (unreadable > 1) log.warn(`${directory}: ${unreadable} lines of the journal cannot be read`)
  const done: string[] = []
  const failures: string[] = []
  // After a reboot no process of the job can be left, and its pids mean others.
  const resources = open.filter(({ intent }) => intent.kind === 'file' || head?.place.boot === place.boot)
  for (const resource of resources.toReversed()) {
    try {
      const lines = await removeResource(resource, limits)
      // Somebody waits for these, whoever reaps.
      for (const line of lines) if (line.startsWith('kept ')) log.note(line)
      done.push(...lines)
    } catch (error) {
      failures.push(messageOf(error))
    }
  }
  if (failures.length === 0) {
    try {
      await rm(directory, { recursive: true, force: true })
      done.push(`removed ${directory}`)
    } catch (error) {
      failures.push(messageOf(error))
    }
  }
  for (const failure of failures) log.warn(failure)
  return { jobId: head?.jobId, directory, done, failures }
}

// The host first: on a file system that nodes share, a boot that is not ours may be another node's.
function whyElsewhere(job: Place, here: Place): string | undefined {
  if (job.host !== here.host) return `it is a job of host ${job.host}`
  if (job.boot === here.boot && job.pidNamespace !== here.pidNamespace) {
    return 'it is a job of another pid namespace, whose processes cannot be seen from here'
  }
  return undefined
}

const JOURNAL_LIMIT = 64 << 20

function readJournal(path: string): JournalContent {
  const none: JournalContent = { open: [], unreadable: 0 }
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return none
  }
  try {
    const { size } = fstatSync(file)
    const buffer = Buffer.alloc(Math.min(size, JOURNAL_LIMIT))
    return parseJournal(buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, 0)))
  } finally {
    closeSync(file)
  }
}
