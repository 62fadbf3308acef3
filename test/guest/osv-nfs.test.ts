// Real OSv guests on a real NFS server, wherever LEET_OSV_BASE names what OSv's build left: mounted by the seed, read and
// written by one rank a guest, and the working directory carried in and out where there are more.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { importOsvBase, osvStore } from '../../launcher/images/osv/base.ts'
import { buildCheckout } from '../cluster/jobs.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'
import { isOsvHere, osvBuild } from '../support/needs.ts'

const CASE = '/srv/project/case'
const PROGRAM = `
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int c, char **v) {
  int rank, sum;
  char line[64], name[32], here[256];
  MPI_Init(&c, &v);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  FILE *in = fopen("in", "r");
  if (!in || !fgets(line, sizeof line, in)) MPI_Abort(MPI_COMM_WORLD, 9);
  fclose(in);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  snprintf(name, sizeof name, "%s.%d", v[1], rank);
  FILE *out = fopen(name, "w");
  fprintf(out, "%ssum %d\\n", line, sum);
  fclose(out);
  if (rank == 0) printf("in %s\\n", getcwd(here, sizeof here));
  MPI_Finalize();
  return 0;
}`

const describeHere: typeof describeLab = (name, body, more) =>
  isOsvHere(name) ? describeLab(name, body, more) : describe.skip(name, body)

describeHere('OSv guests on NFS', () => {
  let lab: Lab
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 1, nfs: true })
    mkdirSync(lab.path(CASE))
    writeFileSync(lab.path(`${CASE}/in`), 'from the server\n')
    writeFileSync(lab.path('/home/alice/program.c'), PROGRAM)
    // Not in the working directory: that is hidden by the mount.
    execFileSync('mpicc.openmpi', ['-o', lab.path('/home/alice/program'), lab.path('/home/alice/program.c')])
    const env = { XDG_CACHE_HOME: lab.path('/home/alice/cache') }
    await importOsvBase(osvBuild as string, { store: osvStore(env) })
    writeFileSync(
      lab.path('/home/alice/table'),
      '2 1 0:98 / /srv/project rw,relatime - nfs nfs:/export/project rw,vers=3,mountport=20048,mountproto=tcp,addr=10.77.0.2\n',
    )
  })
  afterAll(() => lab?.stop())

  const run = (guests: number, output: string) =>
    lab.run(
      'node1',
      [
        '/srv/leet/launcher/bin/leet-mpirun',
        ...['-v', '--guest', 'osv', '--guest-memory', '512M', '-n', '2', '--guests', `${guests}`],
        '/home/alice/program',
        output,
      ],
      {
        user: lab.users.root,
        cwd: CASE,
        env: {
          XDG_CACHE_HOME: '/home/alice/cache',
          NODE_OPTIONS: '--import=/srv/leet/test/support/mount-table.mjs',
          MOUNT_TABLE: '/home/alice/table',
        },
      },
    )

  it('share their working directory with one rank each', async () => {
    const { status, stdout, stderr } = await run(2, 'shared')
    expect(status, stderr).toBe(0)
    expect(stdout).toBe(`in ${CASE}\n`)
    expect(stderr).toMatch(/read over NFS/)
    for (const rank of [0, 1]) {
      expect(readFileSync(lab.path(`${CASE}/shared.${rank}`), 'utf8')).toBe('from the server\nsum 1\n')
    }
  })

  it('have it carried in and back with two ranks in one', async () => {
    const { status, stderr } = await run(1, 'staged')
    expect(status, stderr).toBe(0)
    expect(stderr).toMatch(/carried in/)
    for (const rank of [0, 1]) {
      expect(readFileSync(lab.path(`${CASE}/staged.${rank}`), 'utf8')).toBe('from the server\nsum 1\n')
    }
    expect(statSync(lab.path(`${CASE}/in`)).size).toBe(16)
  })

  it('leave nothing behind', () => {
    expect(lab.leftovers().filter(({ kind }) => kind !== 'file')).toEqual([])
  })
}, ['qemu-system-x86_64', 'mpicc.openmpi'])
