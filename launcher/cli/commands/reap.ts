// `leet reap`: removes what killed jobs left.
import type { Command } from 'commander'
import { log, print } from './shared.ts'

/** Adds `leet reap`. */
export function addReap(program: Command): void {
  program
    .command('reap')
    .description('remove what killed jobs of yours left on this machine')
    .action(async () => {
      const { reap } = await import('../../journal/reaper.ts')
      const jobs = await reap({ log })
      for (const job of jobs) {
        print(`job ${job.jobId ?? job.directory}:`)
        for (const line of job.done) print(`  ${line}`)
        for (const line of job.failures) print(`  still there: ${line}`)
      }
      if (jobs.length === 0) print('nothing was left behind')
      if (jobs.some((job) => job.failures.length > 0)) process.exitCode = 1
    })
}
