// A job of a batch system run as if it were a command here: what it writes appears, its exit status comes back, and a
// signal cancels it. Its files are on a file system that this machine shares with the nodes, as its directory is.
import { spawn } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import type { Writable } from 'node:stream'
import {
  abortReason,
  atMost,
  commandMissing,
  Deadline,
  endOf,
  LeetError,
  pause,
  poll,
  runCommand,
} from '../../common/index.ts'
import type { JobEnd } from '../../scheduler-adapters/index.ts'

/** How often the job's files are looked at. NFS tells what is new when a file is opened. */
const LOOK_MS = 250
/** How often a batch system is asked whose submitting command cannot wait. */
const ASK_MS = 1000
/** For a cancelled job to end, and for a command that cancels it. */
const CANCEL_MS = 60_000
/** For the files of an ended job to be seen here. */
const FILES_MS = 10_000
const PIECE = 64 * 1024

/** A job to be submitted and waited for. */
export interface WaitedJob {
  readonly submit: readonly [string, ...string[]]
  /** The script, for the submitting command's standard input. */
  readonly text: string
  readonly end: JobEnd
  /** Where it writes, and where that is shown. */
  readonly shown: readonly { readonly file: string; readonly to: Writable }[]
  /** What the batch system says of the job. */
  readonly say: (text: string) => void
  readonly signal: AbortSignal
}

/**
 * Submits a job and resolves with its exit status, or with that of the submitting command when it took no job.
 * With an aborted signal the job is cancelled, its last words are shown, and the signal's reason is thrown.
 */
export async function runAsJob(job: WaitedJob): Promise<number> {
  const { submit, end, shown, say, signal } = job
  const [command, ...words] = [...submit, ...end.words]
  // In a session of its own: the terminal's signals are for this command, which cancels the job.
  const child = spawn(command, words, { detached: true, stdio: 'pipe' })
  let said = ''
  child.stdin.on('error', () => {})
  child.stdin.end(job.text)
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < PIECE) said += text
    say(text)
  })
  child.stderr.setEncoding('utf8').on('data', say)
  const followed = shown.map(({ file, to }) => follow(file, to))
  const more = () => followed.reduce((all, { more }) => more() && all, true)
  const id = () => end.id.exec(said)?.[1]

  const whole = endOf(child).then(
    async (how) => {
      const status = how.kind === 'exit' ? how.status : 128
      const number = id()
      if (status !== 0 || end.ask === undefined) return status
      if (number === undefined) throw unnumbered(submit, said)
      return askUntilOver(end.ask, number)
    },
    (error) => {
      throw error.code === 'ENOENT' ? commandMissing(command as string, error) : error
    },
  )
  const isOver = whole.then(
    () => true,
    () => true,
  )
  let isCancelled = false
  while (!(await atMost(LOOK_MS, isOver, false))) {
    more()
    if (!signal.aborted || isCancelled) continue
    isCancelled = true
    const number = id()
    if (number === undefined) child.kill()
    else await cancel(end, number, say)
    if (!(await atMost(CANCEL_MS, isOver, false))) {
      say(`job ${number} was cancelled and is not over yet\n`)
      child.kill()
      break
    }
  }
  if (isCancelled) {
    more()
    throw abortReason(signal)
  }
  const status = await whole
  // A job that was refused has none.
  if (id() !== undefined) {
    const seen = Deadline.after(FILES_MS)
    while (!more() && !seen.expired) await pause(LOOK_MS, signal)
  }
  return status
}

async function askUntilOver({ command, statusOf }: NonNullable<JobEnd['ask']>, id: string): Promise<number> {
  const ask = async () => statusOf(await runCommand(command(id), { deadline: Deadline.never }))
  return poll(ask, ASK_MS, { deadline: Deadline.never }, { what: `job ${id}` })
}

async function cancel({ cancel }: JobEnd, id: string, say: (text: string) => void): Promise<void> {
  const argv = cancel(id)
  try {
    const { stdout, stderr } = await runCommand(argv, { deadline: Deadline.after(CANCEL_MS) })
    say(stdout + stderr)
  } catch (error) {
    if (!(error instanceof LeetError)) throw error
    say(`job ${id} could not be cancelled: ${error.message}\n`)
  }
}

/** Shows what a file has more than when it was last looked at; `more` tells whether it is there. */
function follow(path: string, to: Writable): { readonly more: () => boolean } {
  const bytes = Buffer.alloc(PIECE)
  let position = 0
  return {
    more() {
      let file: number
      try {
        file = openSync(path, 'r')
      } catch {
        // Not there before the job begins, nor when its node has another file system.
        return false
      }
      try {
        for (let size = read(file); size > 0; size = read(file)) {
          to.write(Buffer.from(bytes.subarray(0, size)))
          position += size
        }
      } finally {
        closeSync(file)
      }
      return true
    },
  }
  function read(file: number): number {
    return readSync(file, bytes, 0, PIECE, position)
  }
}

function unnumbered(submit: readonly string[], said: string): LeetError {
  return new LeetError({
    code: 'LEET_E_ALLOCATION',
    where: submit.join(' '),
    what: 'it took the job but did not say its number',
    why: said.trim().slice(0, 200),
    hint: 'without --wait the job is only handed over',
  })
}
