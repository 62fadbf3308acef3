// `leet logs`: what a session, or the console of one of its guests, has said so far, or says on.
import type { Command } from 'commander'

/** Adds `leet logs`. */
export function addLogs(program: Command): void {
  program
    .command('logs [guest]')
    .description('what the session has said, or what a guest has written to its console')
    .option('--session <name>', 'of this session')
    .option('-f, --follow', 'go on until the session ends')
    .action(async (guest: string | undefined, flags: { session?: string; follow?: true }) => {
      const { thisSession } = await import('./session.ts')
      const { showLog } = await import('../../session/logs.ts')
      await showLog(await thisSession(flags.session), guest, flags.follow ?? false)
    })
}
