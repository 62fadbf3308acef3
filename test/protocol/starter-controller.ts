// A controller to be killed: starts two ranks that run the given script, and prints the pids of its starter, of both
// ranks and of what the ranks print as their first line.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { Deadline, Scope } from '../../common/index.ts'
import { openLocalChannel } from '../../mpi-bridge/channels/local.ts'

const [cwd, script] = process.argv.slice(2) as [string, string]
const channel = await openLocalChannel(
  {
    where: 'here',
    scope: Scope.open({ name: 'the controller', warn() {} }),
    listener(event) {
      if (event.kind === 'began') process.stdout.write(`${event.pid}\n`)
      if (event.kind === 'output') process.stdout.write(event.data)
    },
    spawn: ([command, ...args]): ChildProcessWithoutNullStreams => {
      const child = spawn(command, args, { stdio: 'pipe' })
      process.stdout.write(`${child.pid}\n`)
      return child
    },
  },
  { deadline: Deadline.after(10_000) },
)
await channel.start(
  [0, 1].map((rank) => ({
    rank,
    argv: ['/bin/sh', '-c', script],
    env: { PATH: process.env.PATH as string },
    cwd,
    stdin: false,
    terminal: false,
  })),
)
