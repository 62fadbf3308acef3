// `leet export`: a directory of this node for the guests of the job, by NFS.
import type { Command } from 'commander'
import { gather, log, print, settingsHere } from './shared.ts'

/** Adds `leet export`. */
export function addExport(program: Command): void {
  program
    .command('export <dir> [command...]')
    .description('serve a directory of this node to the guests of the job by NFS, while a command runs')
    .usage('[options] DIR [-- COMMAND ARGUMENTS…]')
    .option('--allow <address>', 'one more address or network that may use it', gather, [])
    .action(async (directory: string, command: string[], { allow }: { allow: readonly string[] }) => {
      const { exportDirectory } = await import('../../nfs/export.ts')
      const { findAllocation } = await import('../../plan/facts.ts')
      const settings = await settingsHere()
      const { nodes } = await findAllocation(settings.allocation, process.env)
      process.exitCode = await exportDirectory({
        directory,
        nodes: nodes.map(({ name }) => name),
        subnet: settings.network.subnet,
        allow,
        command,
        log,
        print,
      })
    })
}
