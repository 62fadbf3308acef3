// What a command prints of its own, without a job that would look after its output.
import { describeError, isSystemError, LeetError, messageOf, systemReason } from '../../common/index.ts'

/** Ends the command when nobody takes what it prints; a reader that has seen enough, such as head(1), is no error. */
export function watchOwnOutput(command: string): void {
  process.stdout.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    const why = isSystemError(error) ? systemReason(error) : messageOf(error)
    const failure = new LeetError({ code: 'LEET_E_OUTPUT', what: 'standard output cannot be written', why })
    process.stderr.write(`${command}: ${describeError(failure)}\n`)
    process.exit(failure.exitCode)
  })
}
