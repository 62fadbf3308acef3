// Real OSv guests on a real NFS server, wherever LEET_OSV_BASE names what OSv's build left: mounted by the seed, read and
// written by one rank a guest, with the options that OSv's client knows, and the working directory carried in and out where
// there are more ranks.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { importOsvBase, osvStore } from '../../launcher/images/osv/base.ts'
import { buildCheckout } from '../cluster/jobs.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'
import { isOsvHere, osvBuild } from '../support/needs.ts'

const CASE = '/srv/project/case'
const EMPTY = '/srv/project/empty'
/** On no server. */
const WORK = '/home/alice/work'
const PROGRAM = `
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int c, char **v) {
  int rank, sum;
  char line[64], name[32], here[256];
  MPI_Init(&c, &v);
  if (c > 2 && chdir(v[2])) MPI_Abort(MPI_COMM_WORLD, 8);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  FILE *in = fopen("in", "r");
  if (!in) snprintf(line, sizeof line, "nothing\\n");
  else if (!fgets(line, sizeof line, in)) MPI_Abort(MPI_COMM_WORLD, 9);
  else fclose(in);
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
    for (const path of [EMPTY, WORK]) mkdirSync(lab.path(path))
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

  const run = (guests: number, output: string, { mount, place }: { mount?: string; place?: string } = {}) =>
    lab.run(
      'node1',
      [
        '/srv/leet/launcher/bin/leet-mpirun',
        ...['-v', '--guest', 'osv', '--guest-memory', '512M', '-n', '2', '--guests', `${guests}`],
        ...(mount ? ['--mount', mount] : []),
        '/home/alice/program',
        output,
        ...(place ? [place] : []),
      ],
      {
        user: lab.users.root,
        cwd: mount ? WORK : CASE,
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

  it('read and write what --mount names beside their working directory, with options', async () => {
    const options = 'vers=3,port=2049,mountport=20048,timeo=600,retrans=2,rsize=65536,wsize=65536,dircache=0'
    const mount = `nfs:/export/project:/data:${options}`
    const { status, stderr } = await run(2, 'mounted', { mount, place: '/data/case' })
    expect(status, stderr).toBe(0)
    for (const rank of [0, 1]) {
      expect(readFileSync(lab.path(`${CASE}/mounted.${rank}`), 'utf8')).toBe('from the server\nsum 1\n')
    }
  })

  it('mount an export that is empty', async () => {
    const mount = 'nfs:/export/project/empty:/data'
    const { status, stderr } = await run(2, 'first', { mount, place: '/data' })
    expect(status, stderr).toBe(0)
    expect(readdirSync(lab.path(EMPTY)).sort()).toEqual(['first.0', 'first.1'])
  })

  it.each([
    ['what OSv has no word for', 2, 'nfs:/export/project:/data:soft', 2, 'cannot be told "soft"'],
    ['reading alone', 2, 'nfs:/export/project:/data:ro', 2, 'mounted with "ro"'],
    ['what ranks that share a guest could not use', 1, 'nfs:/export/project:/data', 2, 'could not be used'],
    ['what the server does not export', 2, 'nfs:/export/nothing:/data', 1, 'Error in mount\\(\\): '],
  ])('refuse %s', async (_, guests, mount, exitCode, word) => {
    const { status, stderr } = await run(guests, 'refused', { mount, place: '/data' })
    expect(status).toBe(exitCode)
    expect(stderr).toMatch(new RegExp(word))
  })

  it('leave nothing behind', () => {
    expect(lab.leftovers().filter(({ kind }) => kind !== 'file')).toEqual([])
  })
}, ['qemu-system-x86_64', 'mpicc.openmpi'])
