// `leet explain …`: what was found, and why.
import type { Command } from 'commander'
import { print } from './shared.ts'

/** Adds `leet explain`. */
export function addExplain(program: Command): void {
  const explain = program.command('explain').description('say what was found, and why')
  explain
    .command('allocation')
    .description('nodes and slots of this job, with the origin of each figure')
    .option('--hostfile <file>', 'as for leet-mpirun')
    .option('-H, --hosts <list>', 'as for leet-mpirun')
    .action(async (wishes: { hostfile?: string; hosts?: string }) => {
      const { explainAllocation } = await import('../../../scheduler-adapters/index.ts')
      const { findAllocation } = await import('../../plan/facts.ts')
      for (const line of explainAllocation(await findAllocation(wishes, process.env))) print(line)
    })
}
