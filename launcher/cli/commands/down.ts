// `leet down`: ends a session, with its guests and whatever runs in them.
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { Deadline, isRunning, poll } from '../../../common/index.ts'
import { print } from './shared.ts'

/** How long guests on all nodes may take to be gone, in milliseconds. */
const DOWN_MS = 30_000

/** Adds `leet down`. */
export function addDown(program: Command): void {
  program
    .command('down')
    .description('end the session of this job, with its guests')
    .option('--session <name>', 'end this one')
    .action(async (flags: { session?: string }) => {
      const { thisSession } = await import('./session.ts')
      const { directory, holder, record } = await thisSession(flags.session)
      process.kill(holder.pid, 'SIGTERM')
      const over = () => (isRunning(holder) || existsSync(directory) ? undefined : true)
      await poll(
        over,
        20,
        { deadline: Deadline.after(DOWN_MS) },
        {
          what: `the session ${record.plan.jobId} to end`,
          where: `process ${holder.pid}`,
          hint: `kill -9 ${holder.pid}, which its guests do not survive, then leet reap`,
        },
      )
      print(`session ${record.plan.jobId} is down`)
    })
}
