// The one family of errors: what happened, where, why, and what to try, under a stable code.
import { getSystemErrorMessage } from 'node:util'

/** Exit status of a command refused for its arguments, before anything was started. */
export const EXIT_USAGE = 2

/** Parts of a message. `what` is a sentence without a full stop; `hint` says what to try. */
export interface LeetErrorDetails {
  /** Stable code, `LEET_E_…`, documented in the troubleshooting page. */
  readonly code: `LEET_E_${string}`
  readonly what: string
  /** Node, guest, rank, file or option concerned. */
  readonly where?: string
  readonly why?: string
  readonly hint?: string
  /** Exit status of the command that ends with this error; 1 unless told. */
  readonly exitCode?: number
  readonly cause?: unknown
  /** Failures beside this one, told behind it. */
  readonly also?: readonly LeetErrorDetails[]
}

/** Every error that LEET raises on purpose. Anything else that reaches a user is a bug. */
export class LeetError extends Error {
  readonly code: `LEET_E_${string}`
  readonly details: LeetErrorDetails
  readonly exitCode: number

  constructor(details: LeetErrorDetails) {
    super(sentence(details), details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'LeetError'
    this.code = details.code
    this.details = details
    this.exitCode = details.exitCode ?? 1
  }
}

/** A refusal of the user's input: exit status 2, nothing was started. */
export function usageError(what: string, hint?: string, where?: string): LeetError {
  return new LeetError({ code: 'LEET_E_USAGE', what, where, hint, exitCode: EXIT_USAGE })
}

/** The first few of many, for a message: `a, b, … (40 in all)`. */
export function shortList(names: readonly string[], most = 8): string {
  return names.slice(0, most).join(', ') + (names.length > most ? `, … (${names.length} in all)` : '')
}

/** The failures of tasks as one error, which ends with the status of the first; undefined when none has failed. */
export function failureOf(ends: readonly PromiseSettledResult<unknown>[]): LeetError | undefined {
  const [first, ...others] = ends
    .flatMap((end) => (end.status === 'rejected' ? [asLeetError(end.reason).details] : []))
    .flatMap(({ also = [], ...details }) => [details, ...also])
  return first && new LeetError(others.length === 0 ? first : { ...first, also: others })
}

/** Does tasks one after the other, each whatever became of those before it; rejects with all failures as one error. */
export async function eachInTurn(tasks: readonly (() => unknown)[]): Promise<void> {
  const ends: PromiseSettledResult<unknown>[] = []
  for (const task of tasks) ends.push(...(await Promise.allSettled([(async () => task())()])))
  const failed = failureOf(ends)
  if (failed) throw failed
}

function asLeetError(thrown: unknown): LeetError {
  if (thrown instanceof LeetError) return thrown
  if (isSystemError(thrown)) return systemError(thrown)
  return new LeetError({ code: 'LEET_E_AGENT', what: messageOf(thrown), cause: thrown })
}

/** An error as the user reads it: a paragraph with its code and, on a line of its own, what to try; then those beside it. */
export function describeError(thrown: unknown): string {
  const error = isSystemError(thrown) ? systemError(thrown) : thrown
  if (!(error instanceof LeetError)) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
  const { hint, also = [] } = error.details
  const told = [`${error.message} [${error.code}]`]
  if (hint) told.push(`  try: ${hint}`)
  told.push(...also.slice(0, MOST_TOLD).map((details) => describeError(new LeetError(details))))
  if (also.length > MOST_TOLD) told.push(`and ${also.length - MOST_TOLD} more`)
  return told.join('\n')
}

const MOST_TOLD = 16

/** The exit status of a command that ends with what was thrown; a bug of ours has its own, as sysexits(3) says. */
export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof LeetError) return thrown.exitCode
  return isSystemError(thrown) ? 1 : EXIT_INTERNAL
}

const EXIT_INTERNAL = 70

/** What the system refused: a full disk, a file of somebody else, too many open files. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { errno: number } {
  return (
    error instanceof Error &&
    typeof (error as NodeJS.ErrnoException).errno === 'number' &&
    typeof (error as NodeJS.ErrnoException).syscall === 'string'
  )
}

/** What the system says of a refusal, such as `permission denied`. */
export function systemReason({ errno }: { readonly errno: number }): string {
  return getSystemErrorMessage(errno)
}

const SYSTEM_HINTS: Readonly<Record<string, string>> = {
  EACCES: 'ls -ld shows who may',
  ENOSPC: 'df -h shows which disk is full',
  EDQUOT: 'quota shows what is left',
  EMFILE: 'ulimit -n shows how many files may be open',
}

function systemError(error: NodeJS.ErrnoException & { errno: number }): LeetError {
  const { code = '', syscall, path, message } = error
  // The call by which Node.js learns the working directory has a name of its own.
  const lost = code === 'ENOENT' && message.includes('uv_cwd')
  return new LeetError({
    code: 'LEET_E_SYSTEM',
    ...(path === undefined ? {} : { where: path }),
    what: lost ? 'the working directory is not there any more' : `the system refused ${syscall}`,
    ...(lost ? {} : { why: systemReason(error) }),
    hint: lost ? 'cd to one that is' : SYSTEM_HINTS[code],
    cause: error,
  })
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function sentence({ what, where, why }: LeetErrorDetails): string {
  return `${where ? `${where}: ` : ''}${what}${why ? `: ${why}` : ''}`
}
