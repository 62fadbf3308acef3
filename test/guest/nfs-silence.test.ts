/** @module-tag long */
// Guests whose NFS server does not answer, at their boot or later: what they wait for, and what the user is told. The waits
// are the kernel's own, so these tests take minutes.
import { spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Deadline, endOf, poll } from '../../common/index.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'
import { startNullServer } from '../simulators/nfs-null.ts'
import { leetMpirun, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const BIN = '/srv/leet/launcher/bin'
const GUEST_PARTS = ['qemu-system-x86_64', 'busybox', 'dropbear', 'setpriv']
const GUEST = ['--guest-memory', '512M', '-n', '1']
const PROJECT = 'nfs:/export/project'

describeLab('guests on NFS', () => {
  let lab: Lab
  beforeAll(async () => {
    lab = await startLab({ nodes: 1, nfs: true })
    await lab.run('node1', ['mkdir', '-m', '1777', '/tmp/work'])
  })
  afterEach(() => {
    expect(lab.leftovers().filter(({ kind }) => kind !== 'file')).toEqual([])
  })
  afterAll(() => lab?.stop())

  it('wait for a server that stops and go on when it is back, and the user is told', async () => {
    const nfs = lab.nfs as NonNullable<Lab['nfs']>
    const script = `i=0; echo up; while [ ! -e /data/end ]; do i=$((i+1)); echo $i >> /data/lines; done; echo over`
    const argv = [`${BIN}/leet-mpirun`, ...GUEST, '--mount', `${PROJECT}:/data`, 'sh', '-c', script]
    const { argv: command, env } = lab.command('node1', argv, {
      user: lab.users.alice,
      cwd: '/tmp/work',
      env: { XDG_CACHE_HOME: '/tmp/cache-alice' },
    })
    const child = spawn(command[0], command.slice(1), { env, stdio: 'pipe' })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        said += text
      })
    }
    const saw = (text: string) =>
      poll(() => said.includes(text) || undefined, 20, { deadline: Deadline.after(120_000) }, { what: text })
    const end = endOf(child)
    await saw('up\n')
    await nfs.stop()
    await saw('the NFS server nfs (10.77.0.2:2049) does not answer')
    await nfs.start()
    await saw('answers again')
    writeFileSync(lab.path('/srv/project/end'), '')
    expect(await end).toEqual({ kind: 'exit', status: 0 })
    expect(said).toContain('over\n')
    rmSync(lab.path('/srv/project/end'))
  })
})

describeWith(GUEST_PARTS, 'a server that is there but silent', () => {
  it('is an error of its guest within half a minute', async () => {
    const place = playground()
    const server = await startNullServer()
    try {
      const mount = `localhost:/e:/data:port=${server.port}`
      const { status, stderr } = await leetMpirun([...GUEST, '--mount', mount, 'true'], {
        cwd: place.directory,
        env: place.env,
      })
      expect({ status, stderr }).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/mount \/data nfs4 10\.0\.2\.2:\/e failed: no answer within 30 s/),
      })
      expect(place.files()).toEqual([])
    } finally {
      await server.close()
      place.remove()
    }
  })
})
