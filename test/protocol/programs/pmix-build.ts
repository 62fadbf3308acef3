// Compiles the programs of the PMIx tests: MPI programs with Open MPI's compiler, clients with the PMIx library.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Deadline, runCommand } from '../../../common/index.ts'

/** Programs in a folder of their own, by the names of their sources. */
export interface PmixPrograms {
  path(name: string): string
  remove(): void
}

/** Compiles MPI programs of this folder, and clients of the library itself. */
export async function buildPmixPrograms(
  names: readonly string[],
  clients: readonly string[] = [],
): Promise<PmixPrograms> {
  const folder = mkdtempSync(join(tmpdir(), 'leet-pmix-'))
  const path = (name: string) => join(folder, name)
  const source = (name: string) => fileURLToPath(new URL(`${name}.c`, import.meta.url))
  const compile = async (argv: readonly [string, ...string[]]) => {
    const { status, stderr } = await runCommand(argv, { deadline: Deadline.after(60_000) })
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`)
  }
  for (const name of names) {
    await compile(['mpicc.openmpi', '-O1', '-Wall', '-o', path(name), source(name)])
  }
  for (const client of clients) {
    const flags = await runCommand(['pkg-config', '--cflags', '--libs', 'pmix'], {
      deadline: Deadline.after(10_000),
    })
    const words = flags.stdout.trim().split(/\s+/)
    await compile(['cc', '-O1', '-Wall', '-o', path(client), source(client), ...words])
  }
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
