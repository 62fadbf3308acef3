// `npm run bench`: the ratios of SPEC.md, each with its spread, measured on this machine in this run.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { benchBoot } from './boot.ts'
import { comparePairs, ratioLine } from './pairs.ts'

const root = new URL('../../', import.meta.url).pathname
const leetMpirun = join(root, 'launcher/bin/leet-mpirun')
const work = mkdtempSync(join(tmpdir(), 'leet-bench-'))
const RANKS = 32

function compile(mpi: 'openmpi' | 'mpich'): string {
  const program = join(work, `hello.${mpi}`)
  execFileSync(`mpicc.${mpi}`, ['-O2', '-o', program, join(root, 'examples/programs/hello.c')])
  return program
}

function benchHostLaunch(mpi: 'openmpi' | 'mpich'): string {
  const program = compile(mpi)
  const stock: readonly [string, ...string[]] =
    mpi === 'mpich'
      ? ['mpiexec.mpich', '-n', String(RANKS), program]
      : [
          'mpirun.openmpi',
          '--allow-run-as-root',
          '--oversubscribe',
          '--bind-to',
          'none',
          '-n',
          String(RANKS),
          program,
        ]
  const ratio = comparePairs(
    { argv: [leetMpirun, '--guest', 'host', '-n', String(RANKS), program] },
    { argv: stock },
    7,
  )
  return ratioLine(`hello, ${RANKS} host ranks: leet-mpirun / ${stock[0]}`, ratio, 1)
}

try {
  const version = comparePairs(
    { argv: [leetMpirun, '--version'] },
    { argv: [process.execPath, '-e', '0'] },
    21,
  )
  console.log(ratioLine('leet-mpirun --version / node -e 0', version, 1.5))
  for (const mpi of ['mpich', 'openmpi'] as const) console.log(benchHostLaunch(mpi))
  console.log(ratioLine('boot of two guests: leet-mpirun / QEMU by hand', await benchBoot(work), 1.1))
} finally {
  rmSync(work, { recursive: true, force: true })
}
