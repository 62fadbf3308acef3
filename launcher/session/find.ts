// The sessions of this user on this machine, and which of them a command means: the one it names, or the one of its job.
// Without a batch system a job is what was started from one shell.
import { basename } from 'node:path'
import { isRunning, LeetError, type ProcessIdentity } from '../../common/index.ts'
import { controllerOf, jobDirectories } from '../journal/reaper.ts'
import { runtimeRoots } from '../journal/runtime-root.ts'
import { readRecord, type SessionRecord } from './record.ts'

/** A session that is up. */
export interface Session {
  readonly directory: string
  /** The process that keeps it. */
  readonly holder: ProcessIdentity
  readonly record: SessionRecord
}

/** Who asks for a session. */
export interface Asker {
  /** The batch system's name of the job; undefined without one. */
  readonly batchJob: string | undefined
  /** Of the process that asks. */
  readonly ancestors: readonly ProcessIdentity[]
}

/** All sessions of this user here, the youngest first. */
export function listSessions(roots: readonly string[] = runtimeRoots()): Session[] {
  const sessions = roots.flatMap((root) =>
    jobDirectories(root).flatMap((directory) => {
      const holder = controllerOf(basename(directory))
      const record = holder && isRunning(holder) ? readRecord(directory) : undefined
      return holder && record ? [{ directory, holder, record }] : []
    }),
  )
  return sessions.sort((a, b) => b.record.began - a.record.began)
}

/** The session of the asker's job, if there is one. */
export function sessionOfJob(
  sessions: readonly Session[],
  { batchJob, ancestors }: Asker,
): Session | undefined {
  return sessions.find(({ record }) =>
    record.batchJob !== undefined || batchJob !== undefined
      ? record.batchJob === batchJob
      : ancestors.some((one) => one.pid === record.shell.pid && one.startTime === record.shell.startTime),
  )
}

/** The session that `word`, the beginning of its name, means; without a word that of the job, or else the only one. */
export function theSession(sessions: readonly Session[], word: string | undefined, asker: Asker): Session {
  if (word === undefined) {
    const found = sessionOfJob(sessions, asker) ?? (sessions.length === 1 ? sessions[0] : undefined)
    if (found) return found
    throw sessionError(sessions, sessions.length === 0 ? 'no session is up' : 'no session is of this job')
  }
  return named(sessions, word)
}

/** The session of that name. */
export function named(sessions: readonly Session[], word: string): Session {
  const matching = sessions.filter(({ record }) => record.plan.jobId.startsWith(word))
  if (matching.length === 1) return matching[0] as Session
  throw sessionError(
    sessions,
    `${matching.length === 0 ? 'no session’s name begins' : 'the names of several sessions begin'} with "${word}"`,
  )
}

function sessionError(sessions: readonly Session[], what: string): LeetError {
  const names = sessions.map(({ record }) => record.plan.jobId).join(', ')
  return new LeetError({
    code: 'LEET_E_SESSION',
    what,
    hint: names === '' ? '`leet up` makes one' : `--session NAME; up are ${names}`,
    exitCode: 2,
  })
}
