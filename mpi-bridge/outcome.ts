// What became of a job, from what was seen of its ranks: which rank failed first, the exit status, the words for the
// user. Pure functions. The status is what mpirun gives: that of the rank that failed first, 128+N for signal N, the
// code of MPI_Abort; unlike mpirun, an abort never counts as success.
import { constants } from 'node:os'
import { describeError, LeetError } from '../common/index.ts'
import type { RankEnd } from './channels/channel.ts'

/** What was seen of one rank. Times are in any unit that only grows, the same for a whole job. */
export interface RankObservation {
  /** 0, or the number of the spawned job. */
  readonly job: number
  readonly rank: number
  /** Name of its guest. */
  readonly guest: string
  /** Whether its program has an MPI library. */
  readonly usesMpi: boolean
  readonly connected: boolean
  readonly initialised: boolean
  readonly finalised: boolean
  readonly end?: RankEnd
  /** Why it could not be started, or was lost with its guest. */
  readonly error?: LeetError
  /** It called MPI_Abort. */
  readonly aborted?: { readonly at: number; readonly status: number; readonly message: string }
  /** Its connection to the process manager ended without finalize. */
  readonly lost?: { readonly at: number; readonly why: string }
  /** When it ended, could not be started or was lost with its guest; undefined while nothing of that is known. */
  readonly endedAt?: number
}

/** What was seen of a job. */
export interface JobObservation {
  readonly ranks: readonly RankObservation[]
  /** When LEET began to end the job: what ranks do after that says nothing of them. */
  readonly stoppedAt?: number
  /** Why, when it was not for what a rank did: a time limit, a signal. */
  readonly stoppedFor?: LeetError
}

/** A rank that failed. */
export interface RankFailure {
  readonly job: number
  readonly rank: number
  readonly guest: string
  readonly at: number
  /** Exit status that it stands for, from 1 to 255. */
  readonly status: number
  /** What happened to the rank, in words for the user (`LEET_E_RANK`, or why it could not be started). */
  readonly error: LeetError
  /** Whether the others can no longer do their work: the job ends at once. */
  readonly fatal: boolean
}

/** What became of one rank. */
interface RankResult {
  readonly job: number
  readonly rank: number
  readonly guest: string
  readonly end: RankEnd | undefined
  /** A few words: `exit status 3`, `ended by leet`. */
  readonly reason: string
}

/** What became of a job. */
export interface Outcome {
  readonly ranks: readonly RankResult[]
  /** Exit status of the whole, 0 to 255. */
  readonly status: number
  readonly firstFailure: RankFailure | undefined
  /** Sentences for the user, without a newline; none when all went well. */
  readonly summary: readonly string[]
}

/**
 * What a rank's end means, undefined when it did well or is still at work. `othersWait`: another rank of its job is
 * connected and has not ended, so that it waits for this one in MPI_Init.
 */
export function rankFailure(rank: RankObservation, othersWait: boolean): RankFailure | undefined {
  const { end, aborted, lost, endedAt } = rank
  const failed = (at: number, error: LeetError, fatal = true): RankFailure => ({
    job: rank.job,
    rank: rank.rank,
    guest: rank.guest,
    at,
    status: exitByte(error.exitCode),
    error,
    fatal,
  })
  const because = (exitCode: number, what: string, why?: string, hint?: string) =>
    new LeetError({ code: 'LEET_E_RANK', where: nameOf(rank), what, why, hint, exitCode })
  if (aborted) {
    const what = `called MPI_Abort with ${aborted.status}`
    return failed(aborted.at, because(aborted.status, what, aborted.message.trim()))
  }
  if (rank.error && endedAt !== undefined) return failed(endedAt, rank.error)
  if (!end || endedAt === undefined) {
    return lost && failed(lost.at, because(1, 'left the job without MPI_Finalize', lost.why))
  }
  if (end.kind === 'signal') {
    const hint = end.signal === constants.signals.SIGKILL ? MEMORY_HINT : undefined
    return failed(endedAt, because(128 + end.signal, `was killed by ${describeEnd(end)}`, undefined, hint))
  }
  if (end.status !== 0) {
    // After MPI_Finalize the others lose nothing by it, and they may have more to say.
    return failed(endedAt, because(end.status, `ended with ${describeEnd(end)}`), !rank.finalised)
  }
  if (rank.initialised && !rank.finalised) {
    const hint = 'a program must call MPI_Finalize in every rank, or MPI_Abort'
    return failed(endedAt, because(1, 'ended after MPI_Init without MPI_Finalize', undefined, hint))
  }
  if (rank.usesMpi && !rank.connected && othersWait) {
    return failed(endedAt, because(1, 'ended before MPI_Init, in which other ranks wait for it'))
  }
  return undefined
}

/** The outcome of a job whose ranks have all ended or been given up. */
export function outcomeOf({ ranks, stoppedAt, stoppedFor }: JobObservation): Outcome {
  const waiting = new Set(ranks.filter((rank) => rank.connected && !rank.finalised).map((rank) => rank.job))
  const firstFailure = ranks
    .map((rank) => rankFailure(asOf(rank, stoppedAt), waiting.has(rank.job)))
    .filter((failure) => failure !== undefined)
    .toSorted((one, other) => one.at - other.at)[0]
  const error = stoppedFor ?? firstFailure?.error ?? unconnectedError(ranks) ?? stoppedError(stoppedAt)
  return {
    ranks: ranks.map((rank) => resultOf(rank, stoppedAt)),
    status: error ? exitByte(error.exitCode) : 0,
    firstFailure,
    summary: error ? describeError(error).split('\n') : [],
  }
}

// A rank as it was known when the job was ended: what it did after that was LEET's doing. Of a rank that was lost before,
// the reason for which its guest went is told even when it became known later.
function asOf(rank: RankObservation, stoppedAt: number | undefined): RankObservation {
  const { end, error, endedAt, aborted, lost, ...rest } = rank
  const known = (at: number | undefined) => at !== undefined && (stoppedAt === undefined || at <= stoppedAt)
  const wasLost = lost !== undefined && known(lost.at)
  return {
    ...rest,
    ...(aborted && known(aborted.at) ? { aborted } : {}),
    ...(wasLost ? { lost } : {}),
    ...(known(endedAt) ? { end, error, endedAt } : wasLost && error ? { error, endedAt: lost.at } : {}),
  }
}

/** A job that was ended is never a success, even if nobody can say why. */
function stoppedError(stoppedAt: number | undefined): LeetError | undefined {
  if (stoppedAt === undefined) return undefined
  return new LeetError({ code: 'LEET_E_STOPPED', what: 'the job was ended before its ranks were done' })
}

/**
 * A short table of the ranks, a line for each group of ranks of a guest that ended alike, for the user to see after a
 * failed run. At most 20 groups are shown; none when LEET ended all of them, which the summary says already.
 */
export function rankTable({ ranks, firstFailure }: Outcome): string[] {
  if (ranks.every(({ reason }) => reason === ENDED_BY_LEET)) return []
  const groups = new Map<string, { job: number; ranks: number[]; guest: string; reason: string }>()
  for (const { job, rank, guest, reason: whole } of ranks) {
    // The rest, such as the last lines of a console, is in the summary.
    const reason = whole.split('\n', 1)[0] as string
    const isFirst = firstFailure?.job === job && firstFailure.rank === rank
    const key = JSON.stringify([isFirst, job, guest, reason])
    const group = groups.get(key)
    if (group) group.ranks.push(rank)
    else
      groups.set(key, { job, ranks: [rank], guest, reason: isFirst ? `${reason}  <- first to fail` : reason })
  }
  const rows = [...groups.values()].map(({ job, ranks, guest, reason }) => ({
    rank: `${rankList(ranks)}${job > 0 ? ` of spawned job ${job}` : ''}`,
    guest,
    reason,
  }))
  // The first to fail is never among those left out.
  const first = rows.findIndex((row) => row.reason.endsWith('first to fail'))
  if (first >= ROWS_MAX) rows.unshift(...rows.splice(first, 1))
  const shown = [{ rank: 'rank', guest: 'guest', reason: 'end' }, ...rows.slice(0, ROWS_MAX)]
  const width = (column: 'rank' | 'guest') => Math.max(...shown.map((row) => row[column].length))
  const [rankWidth, guestWidth] = [width('rank'), width('guest')]
  const lines = shown.map(
    (row) => `${row.rank.padEnd(rankWidth)}  ${row.guest.padEnd(guestWidth)}  ${row.reason}`,
  )
  const hidden = rows.length - ROWS_MAX
  return hidden > 0 ? [...lines, `and ${hidden} more such lines`] : lines
}

const ROWS_MAX = 20
const ENDED_BY_LEET = 'ended by leet'
const MEMORY_HINT = 'more memory, if it was the kernel that ran out of it: --guest-memory'

/** `exit status 3`, `signal 11 (SIGSEGV, core dumped)`. */
export function describeEnd(end: RankEnd): string {
  if (end.kind === 'exit') return `exit status ${end.status}`
  const name = Object.entries(constants.signals).find(([, number]) => number === end.signal)?.[0]
  const details = [name, end.core ? 'core dumped' : undefined].filter((detail) => detail !== undefined)
  return `signal ${end.signal}${details.length > 0 ? ` (${details.join(', ')})` : ''}`
}

/** The low byte, as _exit(2) has it, but never the 0 of success. */
function exitByte(status: number): number {
  return status & 0xff || 1
}

function resultOf(rank: RankObservation, stoppedAt: number | undefined): RankResult {
  const { job, guest, end, error, aborted, lost, endedAt } = rank
  const after = (at: number | undefined) => stoppedAt !== undefined && (at === undefined || at > stoppedAt)
  const reason = () => {
    if (aborted && !after(aborted.at)) return `called MPI_Abort with ${aborted.status}`
    if (lost && !after(lost.at) && after(endedAt)) return `lost: ${lost.why}`
    if (after(endedAt) && error?.code === 'LEET_E_RANK_STUCK') return error.details.what
    if (after(endedAt)) return end?.kind === 'exit' && end.status === 0 ? 'exit status 0' : ENDED_BY_LEET
    if (error) return error.message
    if (!end) return 'unknown'
    const unfinished = end.kind === 'exit' && end.status === 0 && rank.initialised && !rank.finalised
    return `${describeEnd(end)}${unfinished ? ' without MPI_Finalize' : ''}`
  }
  return { job, rank: rank.rank, guest, end, reason: reason() }
}

function nameOf({ job, rank, guest }: RankObservation): string {
  return `rank ${rank}${job > 0 ? ` of spawned job ${job}` : ''} in ${guest}`
}

/** An MPI program of which no rank ever connected has run N times alone, whatever its ranks believed. */
function unconnectedError(ranks: readonly RankObservation[]): LeetError | undefined {
  const first = ranks.filter((rank) => rank.job === 0)
  if (first.length < 2 || !first.every((rank) => rank.usesMpi) || first.some((rank) => rank.connected))
    return undefined
  return new LeetError({
    code: 'LEET_E_NO_RANK_CONNECTED',
    what: `none of the ${first.length} ranks joined the job: each ran alone, or ended before MPI_Init`,
    hint: 'name the MPI library with --mpi if it was guessed wrong',
  })
}

/** `0-2,5` for 0, 1, 2 and 5; the numbers ascend. */
function rankList(ranks: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const rank of ranks.toSorted((one, other) => one - other)) {
    const last = ranges.at(-1)
    if (last && rank === last[1] + 1) last[1] = rank
    else ranges.push([rank, rank])
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}
