// Whether a bench that was interrupted may go on here: only where the rest of its runs can be compared with those that
// were done, which is on the same machine, with the same bytes and the same commands.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { LeetError } from '../../common/index.ts'
import { differencesOf } from './environment.ts'
import type { Environment, ProgramFile, Results, Run } from './results.ts'

/** What can differ from one time to another. */
export interface Circumstances {
  readonly environment: Omit<Environment, 'load'>
  readonly programs: readonly ProgramFile[]
}

/** What is in the files that are run. */
export function digestsOf(files: readonly string[]): ProgramFile[] {
  return [...new Set(files)].map((file) => ({
    file,
    sha256: createHash('sha256').update(readFileSync(file)).digest('hex'),
  }))
}

const refuse = (what: string, where: string, why: string, hint: string) =>
  new LeetError({ code: 'LEET_E_BENCH', what, where, why, hint, exitCode: 2 })

/** `LEET_E_BENCH` in another directory: words, files and settings would mean something else there. */
export function refuseElsewhere({ directory }: Results, here: string): void {
  if (directory === here) return
  throw refuse('was begun in another directory', '--resume', `here is ${here}`, `cd ${directory}`)
}

/** `LEET_E_BENCH` when what was kept was measured otherwise than it would be now; `commandOf` is what a run would be now. */
export function refuseOthers(
  kept: Results,
  now: Circumstances,
  commandOf: (run: Run) => readonly string[],
): void {
  const anew = 'a bench of its own (--out DIR), and leet bench compare'
  const [other] = differencesOf(kept.environment, now.environment)
  if (other)
    throw refuse(`the ${other.name} is another`, '--resume', `it was ${other.a}, and is ${other.b}`, anew)
  for (const { file, sha256 } of kept.programs) {
    if (now.programs.find((each) => each.file === file)?.sha256 !== sha256)
      throw refuse('the program has changed', file, 'its bytes are not those that were measured', anew)
  }
  for (const run of kept.runs) {
    const command = commandOf(run).join(' ')
    if (command !== run.command.join(' '))
      throw refuse('a run would have another command', command, `it was ${run.command.join(' ')}`, anew)
  }
}
