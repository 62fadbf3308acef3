// `leet completion`: what is made from the table of options for shells and readers.
import type { Command } from 'commander'
import { print } from './shared.ts'

/** Adds `leet completion`. */
export function addCompletion(program: Command): void {
  const completion = program
    .command('completion')
    .description('completion by the shell, and pages about the options')
  completion
    .command('bash')
    .description('for bash: source <(leet completion bash)')
    .action(async () => {
      const { OPTIONS } = await import('../options.ts')
      const { bashCompletion } = await import('../completion.ts')
      print(
        bashCompletion(
          OPTIONS,
          program.commands.map((command) => command.name()),
        ).trimEnd(),
      )
    })
  completion
    .command('man')
    .description('the manual page leet-mpirun(1): leet completion man | man -l -')
    .action(async () => {
      const { OPTIONS } = await import('../options.ts')
      const { manualPage } = await import('../manual.ts')
      const { version } = await import('../../plan/version.ts')
      print(manualPage(OPTIONS, version()).trimEnd())
    })
  completion
    .command('markdown')
    .description('the page of all options')
    .action(async () => {
      const { OPTIONS } = await import('../options.ts')
      const { configurable } = await import('../../config/file.ts')
      const { referencePage } = await import('../reference.ts')
      print(referencePage(OPTIONS, configurable(OPTIONS)).trimEnd())
    })
}
