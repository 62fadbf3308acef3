/** @module-tag long */
// Guests of a distribution's own disk image with real cloud-init: Debian, made here as clouds have it, boots, mounts a
// real NFS server and runs MPI from one --image.
import { execFileSync } from 'node:child_process'
import { chownSync, constants, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { starterPath } from '../../mpi-bridge/index.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { debianImage, IMAGE_TOOLS } from './debian-image/image.ts'

const NEEDS = [
  ...IMAGE_TOOLS,
  'debugfs',
  'qemu-system-x86_64',
  'vde_switch',
  'busybox',
  'mpicc.mpich',
  'mpicc.openmpi',
]
const JOB_MS = 500_000
const IMAGE = '/srv/project/debian-12.qcow2'
/** Where the recipe of the image has it. */
const FIRST_PARTITION = 1 << 20

describeLab(
  'Debian with real cloud-init',
  () => {
    let lab: Lab
    let mpich: Programs
    let openmpi: Programs
    beforeAll(async () => {
      // The lab's hosts have the checkout read-only.
      await starterPath({ deadline: Deadline.after(JOB_MS) })
      const image = await debianImage(['libmpich12'])
      mpich = await buildPrograms('mpicc.mpich', ['work', 'neighbours'])
      openmpi = await buildPrograms('mpicc.openmpi', ['hello'])
      lab = await startLab({ nodes: 1, nfs: true })
      const { uid, gid } = lab.users.alice
      copyFileSync(image, lab.path(IMAGE), constants.COPYFILE_FICLONE)
      mkdirSync(lab.path('/srv/project/case'))
      copyFileSync(mpich.path('work'), lab.path('/srv/project/case/work'))
      copyFileSync(mpich.path('neighbours'), lab.path('/srv/project/case/neighbours'))
      copyFileSync(openmpi.path('hello'), lab.path('/srv/project/case/other'))
      writeFileSync(lab.path('/srv/project/case/in'), 'from the server\n')
      chownSync(lab.path('/srv/project/case'), uid, gid)
    })
    afterAll(() => {
      lab?.stop()
      mpich?.remove()
      openmpi?.remove()
    })

    const run = (...argv: string[]) => runOn('/srv/leet/launcher/bin/leet-mpirun', ...argv)
    const runOn = (...argv: string[]) =>
      lab.run('node1', argv, {
        user: lab.users.alice,
        cwd: '/srv/project/case',
        env: { XDG_CACHE_HOME: '/tmp/cache-alice' },
        // A whole distribution boots emulated.
        deadline: Deadline.after(JOB_MS),
      })

    it('boots, mounts NFS and runs MPI from one --image', async () => {
      const before = statSync(lab.path(IMAGE)).mtimeMs
      const script = [
        'read -r line <in',
        '. /etc/os-release',
        'echo "$ID $VERSION_ID $(id -u) $line $(stat -f -c %T .)" >"out.$PMI_RANK"',
        // Of an MPI that the image has not.
        './other',
        'exec ./work',
      ].join('\n')
      const { status, stdout, stderr } = await run(
        ...['--image', IMAGE, '--mount', 'nfs:/export/project:/srv/project', '--mpi', 'mpich'],
        ...['--guest-memory', '1G', '-n', '2', 'sh', '-c', script],
      )
      expect(status, stderr).toBe(0)
      expect(stdout).toBe('work ok\nwork ok\n')
      expect(stderr).toMatch(/g0: the image has no libmpi\.so\.40: install its package in the image/)
      for (const rank of [0, 1]) {
        const file = lab.path(`/srv/project/case/out.${rank}`)
        const { uid } = lab.users.alice
        expect(readFileSync(file, 'utf8')).toBe(`debian 12 ${uid} from the server nfs\n`)
        expect(statSync(file).uid).toBe(uid)
      }
      expect(statSync(lab.path(IMAGE)).mtimeMs).toBe(before)
      await lab.waitClean(undefined, ({ kind }) => kind !== 'file')
    })

    it('joins several of them', async () => {
      const { status, stdout, stderr } = await run(
        ...[
          '--image',
          IMAGE,
          '--mount',
          'nfs:/export/project:/srv/project',
          '--guests',
          '2',
          '--guest-cpus',
          '1',
        ],
        ...['--guest-memory', '768M', '-n', '2', './neighbours'],
      )
      expect(status, stderr).toBe(0)
      const lines = stdout.split('\n').filter((line) => line.includes(' with '))
      expect(lines.sort()).toEqual(['rank 0 with 0', 'rank 1 with 1'])
    })

    it('stays for several jobs in a session', async () => {
      const script = [
        'PATH=/srv/leet/launcher/bin:$PATH',
        `leet up --image ${IMAGE} --mount nfs:/export/project:/srv/project --guest-memory 1G -n 2 || exit 9`,
        'leet-mpirun -n 2 ./neighbours || exit 8',
        'leet-mpirun -n 2 ./work || exit 7',
        // Of an MPI that the image has not.
        'leet-mpirun -n 1 ./other',
        'leet exec g0 sh -c \'. /etc/os-release; echo "$ID $(id -u) $PWD"\' || exit 6',
        'echo \'echo "on the console of $(hostname)"; exit\' | leet console g0 || exit 5',
        'leet logs g0 | grep -c "Cloud-init v.* finished" || exit 4',
        'leet down && leet status',
      ].join('\n')
      const { status, stdout, stderr } = await runOn('sh', '-c', script)
      expect(status, stderr).toBe(0)
      expect(stdout).toMatch(/^rank 1 with 0$/m)
      expect(stdout).toMatch(/^work ok\nwork ok\n/m)
      expect(stdout).toMatch(new RegExp(`^debian ${lab.users.alice.uid} /srv/project/case$`, 'm'))
      expect(stdout).toMatch(/on the console of leet-\w+-g0/)
      expect(stdout).toMatch(/^1\n.*no session is up/ms)
      expect(stderr).toMatch(/g0: the image has no libmpi\.so\.40/)
      await lab.waitClean(undefined, ({ kind }) => kind !== 'file')
    })

    it('boots where its cloud-init looks for a configuration drive alone', async () => {
      const raw = '/srv/project/config-drive.raw'
      execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', lab.path(IMAGE), lab.path(raw)])
      const sources = lab.path('/srv/project/sources.cfg')
      writeFileSync(sources, 'datasource_list: [ConfigDrive]\n')
      const write = `write ${sources} /etc/cloud/cloud.cfg.d/95_sources.cfg`
      execFileSync('debugfs', ['-w', '-R', write, `${lab.path(raw)}?offset=${FIRST_PARTITION}`], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const { status, stdout, stderr } = await run(
        ...['--image', raw, '--mount', 'nfs:/export/project:/srv/project', '--mpi', 'none'],
        ...['--guest-memory', '768M', '-n', '1', 'cat', '/var/lib/cloud/instance/datasource'],
      )
      expect({ status, stdout }, stderr).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/^DataSourceConfigDrive/),
      })
    })

    it('says what its console says last when it has no time to boot', async () => {
      const { status, stderr } = await run('--image', IMAGE, '--boot-timeout', '4s', '-n', '1', './work')
      expect(status).toBe(1)
      expect(stderr).toMatch(/g0: waited .* for the guest to be ready.*console.*a longer --boot-timeout/s)
    })

    it('is refused when it would have QEMU read another file', async () => {
      const layer = ['-b', lab.path(IMAGE), '-F', 'qcow2', lab.path('/srv/project/layer.qcow2')]
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...layer])
      const { status, stderr } = await run('--image', '/srv/project/layer.qcow2', '--share-by', '9p', 'true')
      expect({ status, stderr }).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/layer\.qcow2: has a backing file/),
      })
    })
  },
  NEEDS,
)
