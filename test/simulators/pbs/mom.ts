// A PBS MOM as leet sees it, one per host of the lab: starts tasks of a job in sessions of their own with the
// environment that a real MOM gives (recorded from Torque 6.1.3 and OpenPBS 23.06), appends what they print to the
// job's output, signals the sessions of a job, and tells how a task ended. What leaves its session escapes, as in both.
// One JSON request a line, one JSON reply a line. Run as root: `node mom.ts`.
import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'

/** Where MOMs listen; PBS_MOMPORT of the recorded environments. */
export const MOM_PORT = 15_003

/** What a job that is deleted is told. */
export type JobSignal = 'SIGINT' | 'SIGTERM' | 'SIGKILL'

/** Start a task and reply when it has ended, or signal all tasks of a job on this host. */
export type MomRequest =
  | {
      readonly kind: 'start'
      readonly job: string
      readonly argv: readonly string[]
      readonly env: Readonly<Record<string, string>>
      readonly cwd: string
      readonly uid: number
      readonly gid: number
      /** File of the job's output. */
      readonly output: string
    }
  | { readonly kind: 'signal'; readonly job: string; readonly signal: JobSignal }

/** Exit status of a task (256+N for signal N, as PBS counts); 0 for a signal that was sent. */
export interface MomReply {
  readonly status: number
}

/** Sessions of each job: every task leads one. */
const sessions = new Map<string, Set<number>>()

function start(request: MomRequest & { kind: 'start' }, reply: (reply: MomReply) => void): void {
  const { job, argv, env, cwd, uid, gid, output } = request
  const file = openSync(output, 'a')
  const [command, ...args] = argv as [string, ...string[]]
  const child = spawn(
    'setpriv',
    ['--reuid', `${uid}`, '--regid', `${gid}`, '--init-groups', '--', command, ...args],
    {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', file, file],
    },
  )
  closeSync(file)
  const own = sessions.get(job) ?? new Set()
  sessions.set(job, own)
  if (child.pid !== undefined) own.add(child.pid)
  child.once('error', () => reply({ status: 254 }))
  child.once('exit', (status, signal) =>
    reply({ status: signal ? 256 + constants.signals[signal] : (status ?? 0) }),
  )
}

function signalJob(job: string, signal: NodeJS.Signals): void {
  const own = sessions.get(job) ?? new Set()
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      // Field 6 of proc(5), counted behind the command's name.
      const session = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3])
      if (own.has(session)) process.kill(pid, signal)
    } catch {
      // Gone in between.
    }
  }
}

function serve(socket: Socket): void {
  socket.on('error', () => {})
  const reply = (message: MomReply) => void socket.write(`${JSON.stringify(message)}\n`)
  // readline passes the socket's errors on: one that is reset, as by a pbsdsh that was killed, must not end the MOM.
  const requests = createInterface({ input: socket }).on('error', () => {})
  requests.on('line', (line) => {
    const request = JSON.parse(line) as MomRequest
    if (request.kind === 'start') start(request, reply)
    else {
      signalJob(request.job, request.signal)
      reply({ status: 0 })
    }
  })
}

if (import.meta.main) createServer(serve).listen(MOM_PORT)
