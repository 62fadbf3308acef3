// Compiles the small programs beside this file with the compiler of the test, once a test run.
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Deadline, runCommand } from '../../../common/index.ts'

/** A program beside this file, without `.c`, or the folder of one. */
export type ProgramName =
  | 'hello'
  | 'last-words'
  | 'work'
  | 'results'
  | 'writes'
  | 'neighbours'
  | 'end'
  | 'names'
  | 'pmix-spawn'
  | 'pmix-ports'
  | 'suite'

const here = fileURLToPath(new URL('.', import.meta.url))

// Of the MPI headers themselves: MPI_STATUSES_IGNORE and MPI_UNWEIGHTED are pointers to nothing.
const FLAGS = ['-O1', '-Wall', '-Wno-stringop-overflow', '-Wno-stringop-overread']

/** Compiled programs in a folder of their own. */
export interface Programs {
  /** Path of the compiled program. */
  path(name: ProgramName): string
  /** Removes the folder. */
  remove(): void
}

/** Compiles `names` with `compiler`, such as `mpicc.mpich`; `writes` needs no MPI. */
export async function buildPrograms(compiler: string, names: readonly ProgramName[]): Promise<Programs> {
  const folder = mkdtempSync(join(tmpdir(), 'leet-programs-'))
  const path = (name: ProgramName) => join(folder, name)
  for (const name of names) {
    const sources = globSync(`${here}${name}{.c,/*.c}`)
    const { status, stderr } = await runCommand([compiler, ...FLAGS, '-o', path(name), ...sources], {
      deadline: Deadline.after(60_000),
    })
    if (status !== 0) throw new Error(`${compiler} ${name}: ${stderr}`)
  }
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
