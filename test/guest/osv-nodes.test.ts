// Real OSv guests on two nodes of a Slurm that share no working directory, wherever LEET_OSV_BASE names what OSv's build left:
// each node is sent a copy, and what ranks wrote comes back, also after an abort.
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { importOsvBase, osvStore } from '../../launcher/images/osv/base.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'
import { describeOsv, osvBuild } from '../support/needs.ts'

/** Each rank writes what it read; with a second word rank 1 aborts the job then. */
const SOURCE = `#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  int rank;
  char name[32], line[64];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  snprintf(name, sizeof name, argc > 2 ? argv[1] : "%s.%d", argv[1], rank);
  FILE *in = fopen("in", "r"), *out = fopen(name, "w");
  fgets(line, sizeof line, in);
  fprintf(out, "%d read %s", rank, line);
  fclose(out);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 1 && argv[1][0] == 'a') MPI_Abort(MPI_COMM_WORLD, 42);
  MPI_Finalize();
  return 0;
}
`
/** In the first there is a disk for it, in the second the guest's memory. */
const PLACES = ['/opt/case', '/tmp/case'] as const

describeOsv(['mpicc.openmpi'], 'OSv guests of nodes without a common file system', () => {
  describeLab('in Slurm', () => {
    let lab: Lab
    let folder: string
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
      writeFileSync(join(folder, 'write.c'), SOURCE)
      execFileSync('mpicc.openmpi', ['-o', join(folder, 'write'), join(folder, 'write.c')])
      lab = await startLab({ nodes: 2 })
      const cache = lab.path('/home/root/.cache')
      await importOsvBase(osvBuild as string, { store: osvStore({ XDG_CACHE_HOME: cache }) })
      copyFileSync(join(folder, 'write'), lab.path('/srv/project/write'))
      for (const place of PLACES) {
        const setUp = `mkdir -p ${place}; cp /srv/project/write ${place}; echo the case >${place}/in`
        await lab.run('head', ['sh', '-c', setUp])
      }
    })
    afterAll(() => {
      lab?.stop()
      rmSync(folder, { recursive: true })
    })

    const run = (cwd: string, ...words: string[]) =>
      lab.run(
        'head',
        [
          ...['salloc', '-Q', '-N2', '/srv/leet/launcher/bin/leet-mpirun', '--guest', 'osv'],
          ...['--guest-memory', '512M', '-n', '2', './write', ...words],
        ],
        { cwd, env: { XDG_CACHE_HOME: '/home/root/.cache' }, deadline: Deadline.after(200_000) },
      )
    const files = async (cwd: string) => {
      const { stdout } = await lab.run('head', ['sh', '-c', 'tail -n +1 [abo]*; rm -f [abo]*'], { cwd })
      return stdout
    }

    it.each(PLACES)('bring back to %s what their ranks wrote', async (place) => {
      const { status, stderr } = await run(place, 'out')
      expect({ status, stderr }).toMatchObject({ status: 0 })
      expect(await files(place)).toBe('==> out.0 <==\n0 read the case\n\n==> out.1 <==\n1 read the case\n')
    })

    it('bring it back after an abort', async () => {
      const { status, stderr } = await run('/tmp/case', 'abort')
      expect({ status, stderr }).toMatchObject({ status: 42 })
      expect(await files('/tmp/case')).toContain('1 read the case')
    })

    it('keep both when the ranks of two nodes wrote the same file', async () => {
      const { status, stderr } = await run('/opt/case', 'both', 'name')
      expect(status).toBe(1)
      expect(stderr).toMatch(/those of the guest as \/opt\/case\/both\.node2/)
      expect(await files('/opt/case')).toBe(
        '==> both <==\n0 read the case\n\n==> both.node2 <==\n1 read the case\n',
      )
    })
  })
})
