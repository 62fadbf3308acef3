// Hello on the bare host, by leet-mpirun and by the launcher that comes with each MPI: what ranks cost to start, wire
// up and end when no guest is in the way. Cold start of Node.js included.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { comparePairs, type Ratio } from './pairs.ts'

const root = new URL('../../', import.meta.url).pathname
/** The command as users start it. */
export const leetMpirun = join(root, 'launcher/bin/leet-mpirun')

/** The MPIs that are compared, each with its own launcher. */
export const MPIS = ['mpich', 'openmpi'] as const
export type Mpi = (typeof MPIS)[number]

const STOCK: Readonly<Record<Mpi, readonly [string, ...string[]]>> = {
  mpich: ['mpiexec.hydra'],
  // Without these it refuses: the bench may be run by root, with more ranks than processors.
  openmpi: ['mpirun.openmpi', '--allow-run-as-root', '--oversubscribe', '--bind-to', 'none'],
}

/** Compiles hello for an MPI into the directory `work`; gives its path. */
export function compileHello(mpi: Mpi, work: string): string {
  const program = join(work, `hello.${mpi}`)
  execFileSync(`mpicc.${mpi}`, ['-O2', '-o', program, join(root, 'examples/programs/hello.c')])
  return program
}

/** Times `ranks` ranks of `program` under leet-mpirun and under the MPI's own launcher, in turn. */
export function compareHello(mpi: Mpi, program: string, ranks: number, pairs: number): Ratio {
  const words = ['-n', String(ranks), program]
  return comparePairs(
    { argv: [leetMpirun, '--guest', 'host', ...words] },
    { argv: [...STOCK[mpi], ...words] },
    pairs,
  )
}

/** What a line of figures calls that comparison. */
export function helloName(mpi: Mpi, ranks: number): string {
  return `hello, ${ranks} host ranks: leet-mpirun / ${STOCK[mpi][0]}`
}
