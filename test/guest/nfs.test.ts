// Guests that mount a real NFS server, as root and as an ordinary user: what they read and write, what is said when they
// cannot, and directories that leet serves itself.
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { CommandResult } from '../../common/index.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import type { LabUser } from '../cluster/lab/hosts.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'

const BIN = '/srv/leet/launcher/bin'
const GUEST = ['--guest-memory', '512M', '-n', '1']
const PROJECT = 'nfs:/export/project'

describeLab('guests on NFS', () => {
  let lab: Lab
  beforeAll(async () => {
    lab = await startLab({ nodes: 1, nfs: true })
    // Images of both users are the same.
    await lab.run('node1', ['mkdir', '-m', '1777', '/tmp/work', '/tmp/cache'])
  })
  afterEach(() => {
    expect(lab.leftovers().filter(({ kind }) => kind !== 'file')).toEqual([])
  })
  afterAll(() => lab?.stop())

  interface Options {
    readonly cwd?: string
    readonly env?: Readonly<Record<string, string>>
  }
  const optionsOf = (user: LabUser, { cwd = '/tmp/work', env = {} }: Options) => ({
    user,
    cwd,
    env: { XDG_CACHE_HOME: `/tmp/cache-${user.name}`, ...env },
  })
  const run = (user: LabUser, argv: readonly string[], options: Options = {}): Promise<CommandResult> =>
    lab.run('node1', [`${BIN}/leet-mpirun`, ...GUEST, ...argv], optionsOf(user, options))

  const readAndWrite = async (name: 'root' | 'alice') => {
    const user = lab.users[name]
    mkdirSync(lab.path(`/srv/project/${name}`))
    chownSync(lab.path(`/srv/project/${name}`), user.uid, user.gid)
    writeFileSync(lab.path(`/srv/project/${name}/in`), 'from the server\n')
    const script = [
      'set -e',
      'for v in 3 4; do',
      `cd /v$v/${name}; cat in; id -u > by-v$v; mkdir d$v; dd if=/dev/zero of=d$v/big bs=65536 count=64 2>/dev/null`,
      'done; sync; grep -o ",vers=[0-9.]*" /proc/mounts; touch /ro/x || echo read-only',
    ].join('\n')
    const mounts = [`${PROJECT}:/v3:vers=3`, `${PROJECT}:/v4`, `${PROJECT}:/ro:ro`].flatMap((text) => [
      '--mount',
      text,
    ])
    const { status, stdout, stderr } = await run(user, [...mounts, 'sh', '-c', script])
    expect({ status, stderr }).toMatchObject({ status: 0 })
    expect(stdout).toBe('from the server\nfrom the server\n,vers=4.1\n,vers=3\n,vers=4.1\nread-only\n')
    for (const version of ['3', '4']) {
      const written = lab.path(`/srv/project/${name}/by-v${version}`)
      expect(readFileSync(written, 'utf8')).toBe(`${user.uid}\n`)
      const big = statSync(lab.path(`/srv/project/${name}/d${version}/big`))
      expect([big.uid, big.gid, big.size]).toEqual([user.uid, user.gid, 64 * 65536])
    }
  }
  it('read and write by versions 3 and 4.1 as alice', () => readAndWrite('alice'))
  it('do so as root', { tags: ['long'] }, () => readAndWrite('root'))

  it('have home and working directory where the node has them, from its mount table', async () => {
    const { alice } = lab.users
    const table = [
      '1 1 0:99 / /home rw,relatime - nfs4 nfs:/export/home rw,vers=4.2,hard,proto=tcp,sec=sys,addr=10.77.0.2',
      '2 1 0:98 / /srv/project rw,relatime - nfs nfs:/export/project rw,vers=3,mountport=20048,mountproto=tcp,addr=10.77.0.2',
    ]
    writeFileSync(lab.path('/home/alice/table'), `${table.join('\n')}\n`)
    mkdirSync(lab.path('/srv/project/case'))
    writeFileSync(lab.path('/srv/project/case/in'), 'the case\n')
    const env = {
      NODE_OPTIONS: '--import=/srv/leet/test/support/mount-table.mjs',
      MOUNT_TABLE: '/home/alice/table',
    }
    const script = 'pwd; cat in; cd; pwd; id -un > note; grep -c nfs /proc/mounts'
    const { status, stdout, stderr } = await run(alice, ['sh', '-c', script], {
      cwd: '/srv/project/case',
      env,
    })
    expect({ status, stdout, stderr }).toMatchObject({
      status: 0,
      stdout: '/srv/project/case\nthe case\n/home/alice\n2\n',
    })
    expect(statSync(lab.path('/home/alice/note')).uid).toBe(alice.uid)
  })

  for (const { version, why, tags } of [
    { version: '3', why: /Permission denied/, tags: ['long'] },
    { version: '4', why: /No such file or directory/, tags: [] },
  ]) {
    const name = `are told of \`insecure\` when an export refuses their ports, by version ${version}`
    it(name, { tags }, async () => {
      const mount = `nfs:/export/guarded:/data:vers=${version}`
      const { status, stderr } = await run(lab.users.alice, ['--mount', mount, 'true'])
      expect(status).toBe(1)
      expect(stderr).toMatch(why)
      expect(stderr).toMatch(/g0: .*\/export\/guarded.*ports below 1024[\s\S]*`insecure`/)
    })
  }

  describe('whose server is gone', () => {
    beforeAll(() => lab.nfs?.stop())
    afterAll(() => lab.nfs?.start())
    it.each([
      [PROJECT, 'ECONNREFUSED'],
      ['10.77.0.99:/export', 'EHOSTUNREACH'],
    ])('are not booted: %s', async (source, why) => {
      const { status, stderr } = await run(lab.users.alice, ['--mount', `${source}:/data`, 'true'])
      expect(status).toBe(1)
      expect(stderr).toMatch(new RegExp(`10.77.0.*/data does not answer.*${why}.*LEET_E_NFS_SERVER`))
    })
  })

  describe('and leet export', () => {
    const leetExport = (user: LabUser, ...argv: string[]) =>
      lab.run('node1', [`${BIN}/leet`, 'export', ...argv], optionsOf(user, { cwd: '/tmp/work' }))

    it('serves a directory of the node while a command runs, as its owner', async () => {
      const { root, alice } = lab.users
      await lab.run('node1', ['sh', '-c', 'mkdir case && echo the case >case/in && chown -R alice: case'], {
        cwd: '/tmp/work',
      })
      const script = 'cat in; echo result >out; stat -f -c %T .; exit 5'
      const job = [`${BIN}/leet-mpirun`, ...GUEST, '-wdir', '/tmp/work/case', 'sh', '-c', script]
      const { status, stdout, stderr } = await leetExport(root, 'case', '--', ...job)
      expect({ status, stdout, stderr }).toMatchObject({ status: 5, stdout: 'the case\nnfs\n' })
      const owner = await lab.run('node1', ['stat', '-c', '%u %s', '/tmp/work/case/out'])
      expect(owner.stdout).toBe(`${alice.uid} 7\n`)
    })
    it('says that only root can', async () => {
      expect(await leetExport(lab.users.alice, '.')).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/only root.*LEET_E_EXPORT/),
      })
    })
    it('says what the server says when it cannot', async () => {
      // The host's /opt is on an overlay file system, which has no handles of files.
      expect(await leetExport(lab.users.root, '/opt')).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/\/opt: nfs-ganesha cannot serve it: .*not supported/),
      })
    })
    it('ends the command when the server is gone', async () => {
      const kill =
        'for p in $(ls /proc); do case $(readlink /proc/$p/exe) in *ganesha*) kill -9 $p;; esac; done'
      const command = ['sh', '-c', `${kill}; exec sleep 1000`]
      expect(await leetExport(lab.users.root, '/tmp/work', '--', ...command)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/nfs-ganesha ended by SIGKILL/),
      })
    })
  })
})
