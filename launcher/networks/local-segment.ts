// The private Ethernet segment of one node's guests: a vde_switch of the job, without any privilege. Only this user can
// plug into it (directory 0700, sockets 0600). The switch runs in the foreground and ends with its standard input, so
// that it goes with this process in any case.
import { createConnection } from 'node:net'
import { type ChildEnd, endOf, LeetError, poll, type Scope, type WaitLimits } from '../../common/index.ts'
import type { Journal, JournalledChild } from '../journal/journal.ts'

/** A running switch. */
export interface LocalSegment {
  /** For `localNetwork`. */
  readonly socketDirectory: string
  /** Resolves, with what to tell the user, when the switch is gone: the guests no longer reach each other. */
  readonly ended: Promise<LeetError>
}

/** What `startLocalSegment` needs. */
export interface LocalSegmentOptions extends WaitLimits {
  readonly journal: Journal
  /** With which the switch ends. */
  readonly scope: Scope
  /** How many guests will be plugged in. */
  readonly guests: number
}

/** Starts the switch; resolves when guests can be plugged in. `LEET_E_NETWORK` when it does not work here. */
export async function startLocalSegment(options: LocalSegmentOptions): Promise<LocalSegment> {
  const { journal, scope, guests } = options
  const socketDirectory = journal.path('segment')
  const { child } = startSwitch(journal, socketDirectory, guests)
  let stderr = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString('utf8')).slice(-2000)
  })
  child.stdin?.on('error', () => {})
  let error: LeetError | undefined
  const ended = endOf(child).then((end) => {
    error = switchEnded(end, stderr)
    return error
  })
  scope.onEnd('the switch of the guests', async () => {
    child.kill('SIGKILL')
    await ended
  })
  await poll(
    async () => {
      if (error) throw error
      return (await accepts(`${socketDirectory}/ctl`)) || undefined
    },
    2,
    options,
    { what: 'the switch of the guests (vde_switch) to listen', where: socketDirectory },
  )
  return { socketDirectory, ended }
}

function startSwitch(journal: Journal, directory: string, guests: number): JournalledChild {
  try {
    return journal.spawn(
      [
        'vde_switch',
        ...['--sock', directory, '--dirmode', '0700', '--mode', '0600'],
        // A port more than guests: whoever looks whether it listens has one for a moment.
        ...['--numports', String(guests + 8)],
        // Neither /etc/vde2/vde_switch.rc nor ~/.vderc has a say in it.
        ...['--rcfile', '/dev/null'],
      ],
      { what: 'the switch of the guests', stdio: ['pipe', 'ignore', 'pipe'], cwd: '/' },
    )
  } catch (cause) {
    if (!(cause instanceof LeetError && cause.code === 'LEET_E_COMMAND_MISSING')) throw cause
    throw new LeetError({
      code: 'LEET_E_COMMAND_MISSING',
      what: 'more than one guest on a node needs vde_switch, which is not on PATH',
      hint: 'apt-get install vde2 vde-switch (Debian), or a single guest',
      cause,
    })
  }
}

function switchEnded(end: ChildEnd, stderr: string): LeetError {
  const how = end.kind === 'signal' ? `by ${end.signal}` : `with status ${end.status}`
  return new LeetError({
    code: 'LEET_E_NETWORK',
    what: `the switch of the guests (vde_switch) ended ${how}`,
    why: stderr.trim() || undefined,
  })
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
