// `leet config`: every setting and where it came from.
import type { Command } from 'commander'
import { print, settingsHere } from './shared.ts'

/** Adds `leet config`. */
export function addConfig(program: Command): void {
  program
    .command('config')
    .description('settings of leet-mpirun here, and where each came from')
    .option('--schema', 'the JSON schema of leet.yaml instead')
    .action(async ({ schema }: { schema?: true }) => {
      const { OPTIONS } = await import('../options.ts')
      if (schema) {
        const { configSchema } = await import('../../config/schema.ts')
        print(JSON.stringify(configSchema(OPTIONS), undefined, 2))
        return
      }
      const { configPaths, loadConfigs } = await import('../../config/load.ts')
      const { showConfig } = await import('../../config/show.ts')
      const paths = configPaths(process.env, process.cwd())
      const sources = {
        flags: new Map(),
        environment: process.env,
        files: await loadConfigs(paths, OPTIONS),
      }
      for (const line of showConfig(OPTIONS, sources, paths)) print(line)
      // Values that leet-mpirun would refuse are refused here too.
      await settingsHere()
    })
}
