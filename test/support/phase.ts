// One phase of the tests: a command that writes a record, with a limit after which it is ended, told of, and cleaned up.
import { spawn } from 'node:child_process'
import { endOf } from '../../common/index.ts'
import { describeProcesses, endProcesses, PHASE_MARK, phaseProcesses } from './phase-processes.ts'
import { type Outcome, RECORD, readRecordFile } from './record.ts'

/** What a phase runs. */
export interface Phase {
  readonly name: string
  readonly argv: readonly [string, ...string[]]
  /** Milliseconds after which it is ended. */
  readonly limit: number
  /** The file of its record, not there yet. */
  readonly record: string
}

/** Runs a phase to its end, or to its limit: then what it was at is a failure, and what it started is ended. */
export async function runPhase({ name, argv, limit, record }: Phase): Promise<Outcome> {
  const mark = `${name}-${process.pid}`
  const [command, ...args] = argv
  const env = { ...process.env, [RECORD]: record, [PHASE_MARK]: mark }
  const child = spawn(command, args, { stdio: 'inherit', env })
  let late: string | undefined
  const timer = setTimeout(() => {
    const running = readRecordFile(record).running.map((one) => `\n  ${one}`)
    late = `${name}: did not end within ${limit / 60_000} minutes; it was at${running.join('') || ' no test'}`
    console.log(`\n${late}\n${describeProcesses(phaseProcesses(mark))}`)
    child.kill('SIGKILL')
  }, limit)
  const end = await endOf(child)
  clearTimeout(timer)
  const left = await endProcesses(mark)
  if (left.length > 0) console.log(`${name}: ended what it left running:\n  ${left.join('\n  ')}`)

  const outcome = readRecordFile(record)
  if (late !== undefined) return withFailure(outcome, late)
  if ((end.kind === 'exit' && end.status === 0) || outcome.failed > 0) return outcome
  const how = end.kind === 'exit' ? `status ${end.status}` : end.signal
  return withFailure(outcome, `${name}: ended with ${how} outside any test`)
}

function withFailure(outcome: Outcome, failure: string): Outcome {
  return { ...outcome, failed: outcome.failed + 1, failures: [...outcome.failures, failure] }
}
