// The door of the command line: `leet-mpirun` runs a job, `leet` has the other commands. Returns exit statuses.
import { describeError, exitCodeOf } from '../../common/index.ts'

/** Runs a command and returns its exit status; errors are printed here. */
export async function main(command: string, argv: readonly string[]): Promise<number> {
  try {
    if (command === 'leet-mpirun' || command === 'mpirun' || command === 'mpiexec') {
      const { leetMpirun } = await import('./leet-mpirun.ts')
      return await leetMpirun(argv)
    }
    if (command === 'leet-rsh') {
      const { leetRsh } = await import('../session/rsh.ts')
      return await leetRsh(argv)
    }
    if (command === 'leet-agent') {
      const { leetAgent } = await import('./leet-agent.ts')
      const status = await leetAgent(argv)
      // All that an agent started ends with it, and nothing that may still be open is worth waiting for.
      process.exit(status)
    }
    const { leet } = await import('./leet.ts')
    return await leet(argv)
  } catch (error) {
    process.stderr.write(`${command}: ${describeError(error)}\n`)
    return exitCodeOf(error)
  }
}
