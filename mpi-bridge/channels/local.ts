// The control channel of the bare host: leet-starter as a child process.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { endOf, messageOf, type WaitLimits } from '../../common/index.ts'
import { starterPath } from '../starter/path.ts'
import type { ChannelOptions, ControlChannel } from './channel.ts'
import { openStarterChannel } from './starter.ts'

/**
 * Starts a process with three pipes as its standard streams, for whoever keeps account of processes. The starter needs
 * no parent-death signal from outside: it asks for its own, with which it can still end what its ranks left behind.
 */
type SpawnStarter = (
  argv: readonly [string, ...string[]],
) => ChildProcessWithoutNullStreams | Promise<ChildProcessWithoutNullStreams>

/** What `openLocalChannel` needs to know. */
export interface LocalChannelOptions extends ChannelOptions {
  /** The host, as the user knows it. */
  readonly where: string
  readonly spawn: SpawnStarter
}

/** Starts a starter on this host and waits until it is ready. */
export async function openLocalChannel(
  { where, scope, listener, spawn }: LocalChannelOptions,
  limits: WaitLimits,
): Promise<ControlChannel> {
  const child = await spawn([await starterPath(limits)])
  const ended = endOf(child).then(
    (end) => (end.kind === 'exit' ? `exit status ${end.status}` : end.signal),
    (error) => messageOf(error),
  )
  const transport = {
    where,
    input: child.stdin,
    output: child.stdout,
    errors: child.stderr,
    ended,
    destroy: () => {
      child.stdin.destroy()
      child.stdout.destroy()
    },
  }
  return openStarterChannel(transport, { scope, listener }, limits)
}
