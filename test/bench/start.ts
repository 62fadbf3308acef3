// `npm run bench:start`: from the start of leet-mpirun until something runs.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { benchBoot } from './boot.ts'
import { compareHello, compileHello, helloName, leetMpirun, MPIS } from './host-launch.ts'
import { comparePairs, ratioLine } from './pairs.ts'

const work = mkdtempSync(join(tmpdir(), 'leet-bench-'))
const RANKS = 32

try {
  const version = comparePairs(
    { argv: [leetMpirun, '--version'] },
    { argv: [process.execPath, '-e', '0'] },
    21,
  )
  console.log(ratioLine('leet-mpirun --version / node -e 0', version, 1.5))
  for (const mpi of MPIS) {
    const ratio = compareHello(mpi, compileHello(mpi, work), RANKS, 7)
    console.log(ratioLine(helloName(mpi, RANKS), ratio, 1))
  }
  const { ready, answering } = await benchBoot(work)
  console.log(ratioLine('two guests ready: leet-mpirun / QEMU by hand', ready, 1.1))
  console.log(ratioLine('their starters answering / the same', answering, 1.15))
} finally {
  rmSync(work, { recursive: true, force: true })
}
