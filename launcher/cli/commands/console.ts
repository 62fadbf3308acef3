// `leet console`: the serial console of a guest.
import type { Command } from 'commander'

/** Adds `leet console`. */
export function addConsole(program: Command): void {
  program
    .command('console <guest>')
    .description('the serial console of a guest of the session, with a shell; Ctrl-] leaves it')
    .option('--session <name>', 'in this session')
    .action(async (guest: string, flags: { session?: string }) => {
      const { thisSession } = await import('./session.ts')
      const { openConsole } = await import('../../session/console.ts')
      const session = await thisSession(flags.session)
      if (process.stdin.isTTY) process.stderr.write('leet: Ctrl-] leaves the console\n')
      await openConsole(session, guest)
    })
}
