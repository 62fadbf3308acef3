// A command of the user in one guest of a session: in the same directory, with the same environment and as the same user
// as on the node. What it leaves behind ends with it.
import { Scope } from '../../common/index.ts'
import {
  type ControlChannel,
  forwardEnvironment,
  forwardInput,
  openSshChannel,
  type RankEvent,
} from '../../mpi-bridge/index.ts'
import { isMounted } from '../plan/mounts.ts'
import { answering, doorOf } from './door.ts'
import type { SessionRecord } from './record.ts'

/** What to run, and as whom. */
export interface ExecOrder {
  readonly guest: string
  readonly argv: readonly [string, ...string[]]
  readonly root: boolean
}

const THE_COMMAND = 0

/** Runs it; resolves to its exit status, 128+N when signal N ended it. */
export function execInGuest(record: SessionRecord, order: ExecOrder): Promise<number> {
  // What goes wrong when it is over changes nothing for whoever asked.
  return Scope.run({ name: 'the command', warn() {} }, (scope) => execIn(scope, record, order))
}

async function execIn(
  scope: Scope,
  record: SessionRecord,
  { guest, argv, root }: ExecOrder,
): Promise<number> {
  const { plan } = record
  const { target, mpi } = doorOf(record, guest)
  const ended = Promise.withResolvers<number>()
  const listener = (event: RankEvent) => {
    if (event.kind === 'output') process[event.stream].write(event.data)
    else if (event.kind === 'ended') {
      const { end } = event
      ended.resolve(end.kind === 'exit' ? end.status : 128 + end.signal)
    } else if (event.kind !== 'began') ended.reject(event.error)
  }
  const order = { ...target, command: '/leet/starter', scope, listener }
  const channel = await openSshChannel(order, answering())
  const { name, uid, gid, groups, home } = plan.user
  const directory = process.cwd()
  const env = {
    ...mpi,
    ...forwardEnvironment(process.env, true).variables,
    HOME: root ? '/root' : home,
    USER: root ? 'root' : name,
  }
  scope.onEnd('what passes signals on', passSignals(channel))
  await channel.start([
    {
      ...{ rank: THE_COMMAND, argv, env, stdin: true, terminal: false },
      cwd: isMounted(plan, directory) ? directory : '/',
      ...(root ? {} : { user: { uid, gid, groups } }),
    },
  ])
  const input = forwardInput(process.stdin, [
    {
      write: (data) => channel.write(THE_COMMAND, data),
      end: () => channel.endInput(THE_COMMAND),
    },
  ])
  scope.onEnd('its input', () => input.stop())
  return ended.promise
}

const PASSED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']

function passSignals(channel: ControlChannel): () => void {
  const pass = (signal: NodeJS.Signals) => channel.signal('all', signal)
  for (const signal of PASSED) process.on(signal, pass)
  return () => {
    for (const signal of PASSED) process.off(signal, pass)
  }
}
