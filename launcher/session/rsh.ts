// leet-rsh: what rsh and ssh are to the stock launchers of MPI, for the guests of a session. A command runs in a guest as
// the user, by his shell; nothing of LEET is then in its way. What it leaves behind stays, as it would behind ssh:
// orted leaves itself behind.
import { Deadline, isRunning, LeetError, poll, usageError } from '../../common/index.ts'
import { connectSsh } from '../../mpi-bridge/index.ts'
import { shellQuote } from '../../scheduler-adapters/index.ts'
import { answering, doorOf } from './door.ts'
import { listSessions, type Session } from './find.ts'
import type { SessionRecord } from './record.ts'

/** A command line of rsh. */
export interface RshWords {
  readonly host: string
  /** Words for the guest's shell. */
  readonly command: string
}

/** Options of ssh that launchers give, and which of them take a word. What they ask for is so, or means nothing here. */
const WITHOUT_WORD = /^-[xXqnTtaAfkKC46vyY]+$/
const WITH_WORD = /^-[lopiFe]$/

/** Takes the words of rsh apart as ssh does: options, the host (with a user or not), and the rest is the command. */
export function parseRsh(argv: readonly string[]): RshWords {
  let at = 0
  for (; at < argv.length && argv[at]?.startsWith('-'); at++) {
    const word = argv[at] as string
    if (WITH_WORD.test(word)) at++
    else if (!WITHOUT_WORD.test(word) && !/^-[lopiFe]./.test(word)) {
      throw usageError('leet-rsh does not know this option', 'leet-rsh GUEST COMMAND…', word)
    }
  }
  const host = argv[at]?.split('@').at(-1)
  const command = argv.slice(at + 1).join(' ')
  if (!host || command === '') {
    throw usageError('names no guest and command', 'leet-rsh GUEST COMMAND…', 'leet-rsh')
  }
  return { host, command }
}

/** The session that has a guest of that name: launchers start this outside of the shell of the session. */
export function sessionWith(sessions: readonly Session[], guest: string): Session {
  const found = sessions.find(({ record }) => record.plan.guests.some(({ name }) => name === guest))
  if (found) return found
  throw new LeetError({
    code: 'LEET_E_SESSION',
    what: `no session that is up here has a guest "${guest}"`,
    hint: '`leet status --hostfile openmpi` (or mpich) prints the names for the launcher',
    exitCode: 255,
  })
}

/** How often it is looked whether the session is still there, in milliseconds. */
const LOOK_MS = 500

/** What the guest's root is told to run, so that the command is the user's. */
export function rshCommand(
  { plan }: Pick<SessionRecord, 'plan'>,
  mpi: Readonly<Record<string, string>>,
  command: string,
): string {
  const exports = Object.entries(mpi).map(([name, value]) => `export ${name}=${shellQuote(value)}; `)
  const { uid, name } = plan.user
  const whole = `${exports.join('')}${command}`
  return uid === 0 ? whole : `exec su -s /bin/sh ${shellQuote(name)} -c ${shellQuote(whole)}`
}

/** Runs the command; resolves to its exit status, 255 when there is none, as ssh has it. */
export async function leetRsh(argv: readonly string[]): Promise<number> {
  const { host, command } = parseRsh(argv)
  const { record, holder } = sessionWith(listSessions(), host)
  const { target, mpi } = doorOf(record, host)
  const client = await connectSsh(target, answering())
  const done = new AbortController()
  const ended = new Promise<number>((resolve, reject) => {
    client.on('error', reject)
    client.exec(rshCommand(record, mpi, command), (error, stream) => {
      if (error) return reject(error)
      let status = 255
      stream.on('exit', (code: number | null) => {
        status = code ?? 255
      })
      stream.on('close', () => resolve(status))
      stream.pipe(process.stdout, { end: false })
      stream.stderr.pipe(process.stderr, { end: false })
      process.stdin.pipe(stream)
    })
  })
  try {
    // A guest that is powered off says nothing any more.
    const over = () => (isRunning(holder) ? undefined : true)
    const sessionOver = poll(
      over,
      LOOK_MS,
      { deadline: Deadline.never, signal: done.signal },
      { what: 'its session' },
    )
    return await Promise.race([
      ended,
      sessionOver.then(
        () => 255,
        () => 255,
      ),
    ])
  } finally {
    done.abort()
    process.stdin.unpipe()
    process.stdin.pause()
    client.destroy()
  }
}
