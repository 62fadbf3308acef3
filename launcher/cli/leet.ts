// The command `leet`: one file per command in commands/. The table of leet-mpirun's options is not used here.
import { Command, CommanderError } from 'commander'
import { EXIT_USAGE } from '../../common/index.ts'
import { version } from '../plan/version.ts'
import { addBench } from './commands/bench.ts'
import { addCompletion } from './commands/completion.ts'
import { addConfig } from './commands/config.ts'
import { addConsole } from './commands/console.ts'
import { addDoctor } from './commands/doctor.ts'
import { addDown } from './commands/down.ts'
import { addExec } from './commands/exec.ts'
import { addExplain } from './commands/explain.ts'
import { addExport } from './commands/export.ts'
import { addImageCommands } from './commands/image.ts'
import { addLogs } from './commands/logs.ts'
import { addReap } from './commands/reap.ts'
import { addStatus } from './commands/status.ts'
import { addSubmit } from './commands/submit.ts'
import { addUp } from './commands/up.ts'
import { watchOwnOutput } from './own-output.ts'

/** Runs `leet`; resolves to its exit status, rejects with LeetError. */
export async function leet(argv: readonly string[]): Promise<number> {
  watchOwnOutput('leet')
  const program = new Command('leet')
    .description('Images, clean-up and explanations for leet-mpirun, which runs MPI jobs in virtual machines')
    .version(version())
    .exitOverride()
    .enablePositionalOptions()
    .showHelpAfterError('(leet --help shows all commands)')
  addImageCommands(program)
  addReap(program)
  addSubmit(program, argv)
  addExplain(program)
  addDoctor(program)
  addConfig(program)
  addCompletion(program)
  addExport(program)
  addBench(program)
  addUp(program)
  addStatus(program)
  addDown(program)
  addExec(program)
  addLogs(program)
  addConsole(program)
  try {
    await program.parseAsync(argv as string[], { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // Commander has printed its help or its sentence already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
    throw error
  }
}
