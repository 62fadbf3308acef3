// `leet console`: this terminal as the serial console of a guest, with a shell on it, until the escape key or the end of the shell.
import type { Socket } from 'node:net'
import { Scope, waitFor } from '../../common/index.ts'
import { openSshChannel, type RankEvent, type SshOptions } from '../../mpi-bridge/index.ts'
import { shellQuote } from '../../scheduler-adapters/index.ts'
import { answering, doorOf } from './door.ts'
import type { Session } from './find.ts'
import { connectLine } from './lines.ts'

/** Control and ], as in telnet and virsh console. */
export const ESCAPE_KEY = 0x1d
/** Control and D, with which a shell takes its input for ended; not what is typed while it is busy, so it is said again. */
const END_OF_INPUT = '\u0004'
const SAY_AGAIN_MS = 500
/** How long after the end of a shell its last words may come, and no longer: others may write on the console, too. */
const LAG_MS = 1_000
const LAST_MS = 5_000
const NO_LOGIN = 'command -v systemctl >/dev/null && systemctl stop serial-getty@ttyS0'

/** What comes before the escape key in what was typed, and whether it was typed at all. */
export function untilEscape(typed: Uint8Array): { readonly before: Uint8Array; readonly escaped: boolean } {
  const at = typed.indexOf(ESCAPE_KEY)
  return at < 0 ? { before: typed, escaped: false } : { before: typed.subarray(0, at), escaped: true }
}

/** Joins standard input and output with the console of a guest until the escape key, or the end of its shell or its session. */
export function openConsole(session: Session, word: string): Promise<void> {
  // What goes wrong when it is over changes nothing for whoever asked.
  return Scope.run({ name: 'the console', warn() {} }, (scope) => joinConsole(scope, session, word))
}

async function joinConsole(scope: Scope, { directory, record }: Session, word: string): Promise<void> {
  const { guest, target } = doorOf(record, word)
  const order = { guest: guest.index, from: 'end', follow: true } as const
  const socket = await connectLine(directory, order, answering())
  const { stdin, stdout } = process
  scope.onEnd('the line', () => void socket.destroy())
  socket.pipe(stdout, { end: false })
  const shell = await startShell(scope, target, record.plan.user).catch((error) => {
    // A guest that starts no more commands may still say something.
    process.stderr.write(`leet: no shell on the console: ${error.message}\r\n`)
    return undefined
  })
  let saying: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    void shell?.ended.then(() => quiet(socket)).then(resolve)
    stdin.on('data', (typed: Buffer) => {
      const { before, escaped } = untilEscape(typed)
      socket.write(before)
      if (escaped) resolve()
    })
    stdin.once('end', () => {
      if (!shell) return resolve()
      socket.write(END_OF_INPUT)
      saying = setInterval(() => socket.write(END_OF_INPUT), SAY_AGAIN_MS)
    })
  })
  scope.onEnd('the terminal', () => {
    clearInterval(saying)
    stdin.setRawMode?.(false)
    stdin.pause()
    stdin.unref()
  })
  stdin.setRawMode?.(true)
  stdin.resume()
  await over
}

// What a shell said last comes by another way than its end, and may be later.
function quiet(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, LAG_MS)
    socket.on('data', () => timer.refresh())
    setTimeout(resolve, LAST_MS).unref()
  })
}

// Nothing reads the serial line of a small guest by itself; a distribution's asks there for a password that nobody has,
// and makes way. A process that leads its session gets the terminal that it opens first; it ends with its channel.
async function startShell(
  scope: Scope,
  target: SshOptions,
  user: { readonly name: string; readonly uid: number },
): Promise<{ readonly ended: Promise<void> }> {
  const opened = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const listener = ({ kind }: RankEvent) => {
    if (kind === 'output') opened.resolve()
    else if (kind !== 'began') {
      opened.resolve()
      ended.resolve()
    }
  }
  const order = { ...target, command: '/leet/starter', scope, listener }
  const channel = await openSshChannel(order, answering())
  const shell = user.uid === 0 ? 'sh -i' : `su -s /bin/sh ${shellQuote(user.name)}`
  // What is typed before the terminal is open is lost.
  const script = `${NO_LOGIN}; exec 3<>/dev/ttyS0; echo open; exec <&3 >&3 2>&3 3>&-; exec ${shell}`
  await channel.start([
    {
      ...{ rank: 0, stdin: false, terminal: false, cwd: '/' },
      argv: ['/bin/sh', '-c', script],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', TERM: process.env.TERM ?? 'vt100', HOME: '/root' },
    },
  ])
  await waitFor(opened.promise, answering(), { what: 'the console', where: target.where })
  return { ended: ended.promise }
}
