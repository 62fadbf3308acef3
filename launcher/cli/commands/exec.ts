// `leet exec`: a command in one guest of a session.
import type { Command } from 'commander'

/** Adds `leet exec`. */
export function addExec(program: Command): void {
  program
    .command('exec <guest> <command...>')
    .description('run a command in a guest of the session, in this directory and as this user')
    .usage('[options] GUEST COMMAND ARGUMENTS…')
    .option('--session <name>', 'in this session')
    .option('--root', 'as root of the guest')
    .passThroughOptions()
    .action(async (guest: string, argv: [string, ...string[]], flags: { session?: string; root?: true }) => {
      const { thisSession } = await import('./session.ts')
      const { execInGuest } = await import('../../session/exec.ts')
      const { record } = await thisSession(flags.session)
      process.exitCode = await execInGuest(record, { guest, argv, root: flags.root ?? false })
    })
}
