// `npm run bench:launch [-- N…]`: hello with 16, 64 and 128 host ranks (or as many as asked for) under leet-mpirun and
// under each MPI's own launcher, pair by pair.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compareHello, compileHello, helloName, MPIS } from './host-launch.ts'
import { ratioLine } from './pairs.ts'

const asked = process.argv.slice(2).map(Number)
const sizes = asked.length > 0 ? asked : [16, 64, 128]
if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0)) {
  console.error('the arguments are numbers of ranks')
  process.exit(2)
}

/** Short runs are the noisier ones. */
const pairsOf = (ranks: number) => (ranks <= 32 ? 11 : 7)

const work = mkdtempSync(join(tmpdir(), 'leet-bench-'))
try {
  for (const mpi of MPIS) {
    const program = compileHello(mpi, work)
    for (const ranks of sizes) {
      console.log(ratioLine(helloName(mpi, ranks), compareHello(mpi, program, ranks, pairsOf(ranks)), 1))
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
