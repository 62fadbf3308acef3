// The lab itself: what the other tests of whole allocations stand on is what it claims to be.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Deadline, endOf, identify, poll, runCommand } from '../../common/index.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

const limits = () => ({ deadline: Deadline.after(30_000) })

describeLab('cluster lab', () => {
  let lab: Lab
  beforeAll(async () => {
    lab = await startLab({ nodes: 3, nfs: true })
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())

  it.each(['root', 'alice'] as const)('runs a task of %s on each node', async (name) => {
    const user = lab.users[name]
    const { stdout } = await lab.run('head', ['srun', '-N3', '-l', 'sh', '-c', 'echo $(hostname) $(id -u)'], {
      user,
    })
    const lines = stdout.trim().split('\n').sort()
    expect(lines).toEqual([1, 2, 3].map((n) => `${n - 1}: node${n} ${user.uid}`))
  })

  it('tells the exit status of a batch job, and where its output is', async () => {
    const id = await lab.sbatch('#!/bin/sh\necho on $(hostname)\nexit 7\n', {
      user: lab.users.alice,
      options: ['-N2'],
    })
    const job = await lab.waitJob(id)
    expect(job).toMatchObject({ state: 'FAILED', exitStatus: 7, signal: 0 })
    expect(job.stdout).toBe(`/home/alice/slurm-${id}.out`)
    expect(readFileSync(lab.path(job.stdout), 'utf8')).toBe('on node1\n')
    const waited = await lab.run('head', ['sbatch', '-W', '--wrap', 'exit 5'], { user: lab.users.bob })
    expect(waited.status).toBe(5)
  })

  it('gives jobs uneven shares of the nodes', async () => {
    const { stdout } = await lab.run('head', [
      ...[
        'salloc',
        '-Q',
        '-N2',
        '-n5',
        'sh',
        '-c',
        'echo $SLURM_JOB_NODELIST $SLURM_TASKS_PER_NODE $(hostname)',
      ],
    ])
    expect(stdout).toBe('node[1-2] 4,1 head\n')
  })

  it('cancels with TERM to the script and the tasks, and shows what a job leaves', async () => {
    // What srun still passes on of a task's output when it gets the signal itself is a matter of chance: tasks write files.
    const task = 'trap "touch ended.$(hostname); exit 0" TERM; touch started.$(hostname); sleep 60 & wait'
    const script = [
      '#!/bin/sh',
      'trap "touch ended.script; exit 9" TERM',
      `srun sh -c '${task}' &`,
      "setsid sh -c 'sleep 987654 & exit' &",
      'wait; wait',
    ].join('\n')
    const id = await lab.sbatch(script, { cwd: '/srv/project', options: ['-N3', '--ntasks-per-node=1'] })
    const daemons = () => lab.processes('node1').filter(({ argv }) => argv.includes('987654'))
    try {
      const written = (name: string) => existsSync(lab.path(`/srv/project/${name}`))
      const hosts = [1, 2, 3].map((n) => `node${n}`)
      const begun = () => hosts.every((host) => written(`started.${host}`)) && daemons().length === 1
      await poll(() => begun() || undefined, 50, limits(), { what: 'tasks on all nodes' })
      await lab.scancel(id, { args: ['--full'] })
      const job = await lab.waitJob(id)
      expect(job.state).toBe('CANCELLED')
      const ends = ['script', ...hosts].filter((who) => !written(`ended.${who}`))
      expect(ends).toEqual([])
      // A daemon that left its session and its parent survives the cancel (proctrack/linuxproc): the lab sees it.
      expect(daemons()).toHaveLength(1)
      expect(lab.leftovers().map(({ host, kind }) => `${host} ${kind}`)).toContain('node1 process')
    } finally {
      for (const { pid } of daemons()) process.kill(pid, 'SIGKILL')
    }
  })

  it('joins the hosts on one network', async () => {
    const pings = [1, 2, 3].map((n) => lab.run(`node${n}`, ['ping', '-c1', '-w5', `node${(n % 3) + 1}`]))
    for (const ping of await Promise.all(pings)) expect(ping.status).toBe(0)
  })

  it('keeps what a host writes to itself, and shares the homes and the project directory', async () => {
    const files = ['/tmp/mark', '/dev/shm/mark', '/run/mark', '/opt/mark']
    await lab.run('node1', ['touch', ...files])
    const own = lab.leftovers().filter(({ host, kind }) => host === 'node1' && kind === 'file')
    expect(own.map(({ what }) => what).sort()).toEqual([...files].sort())
    for (const file of files) expect(existsSync(file)).toBe(false)
    expect((await lab.run('node2', ['ls', ...files])).stdout).toBe('')
    await lab.run('node1', ['rm', ...files])

    await lab.run('node1', ['sh', '-c', 'echo hello >note; echo hello >/srv/project/note'], {
      user: lab.users.alice,
    })
    const { stdout } = await lab.run('node2', ['cat', 'note', '/srv/project/note'], { user: lab.users.alice })
    expect(stdout).toBe('hello\nhello\n')
    expect(statSync(lab.path('/home/alice/note')).uid).toBe(lab.users.alice.uid)
    const strange = await lab.run('node2', ['cat', '/home/alice/note'], { user: lab.users.bob })
    expect(strange.status).toBe(1)
  })

  it("runs the checkout's Node.js for ordinary users", async () => {
    const { stdout } = await lab.run('node3', [lab.node, '-p', 'process.version'], { user: lab.users.bob })
    expect(stdout.trim()).toBe(process.version)
  })

  it('lets ordinary users put a tap on the bridge, gone when its QEMU is killed', async () => {
    const argv = ['qemu-system-x86_64', '-S', '-nodefaults', '-display', 'none', '-accel', 'tcg']
    const net = ['-netdev', 'bridge,id=n,br=br0', '-device', 'virtio-net-pci,netdev=n,romfile=']
    const { argv: command, env } = lab.command('node2', [...argv, ...net], { user: lab.users.alice })
    const child = spawn(command[0], command.slice(1), { env, stdio: 'ignore' })
    const tap = await poll(() => lab.leftovers().find(({ kind }) => kind === 'interface'), 50, limits(), {
      what: 'a tap',
    })
    expect(tap).toMatchObject({ host: 'node2', what: 'tap0' })
    const end = endOf(child)
    for (const { pid, argv } of lab.processes('node2')) {
      if (argv[0] === 'qemu-system-x86_64') process.kill(pid, 'SIGKILL')
    }
    await end
  })

  it('serves the shared directories by NFS 3 and 4, until its server dies', async () => {
    const nfs = lab.nfs as NonNullable<Lab['nfs']>
    const ids = ({ uid, gid }: { uid: number; gid: number }) => `uid=${uid}&gid=${gid}`
    const cat = (path: string, options: string) =>
      lab.run('node1', ['nfs-cat', `nfs://${nfs.address}${path}?${options}`], { user: lab.users.alice })
    await lab.run('node1', ['sh', '-c', 'echo over NFS >/srv/project/served; echo x >/export/guarded/x'])
    for (const version of [3, 4]) {
      const { stdout } = await cat('/export/project/served', `version=${version}&${ids(lab.users.alice)}`)
      expect(stdout).toBe('over NFS\n')
    }
    const guarded = await cat('/export/guarded/x', `version=3&${ids(lab.users.alice)}`)
    expect(guarded).toMatchObject({ stdout: '' })
    expect((await lab.run('node1', ['showmount', '-e', 'nfs'])).stdout).toContain('/export/home')

    await nfs.stop()
    expect(
      (await lab.run('node1', ['rpcinfo', '-n', '2049', '-t', nfs.address, 'nfs', '3'])).status,
    ).not.toBe(0)
    await nfs.start()
    expect((await cat('/export/project/served', 'version=4')).stdout).toBe('over NFS\n')
  })

  it('ends a command at its deadline', async () => {
    const run = lab.run('node1', ['sleep', '4321'], { deadline: Deadline.after(300) })
    await expect(run).rejects.toMatchObject({ code: 'LEET_E_DEADLINE' })
  })

  it('does not outlive its owner, and what a killed one leaves is cleaned', async () => {
    const file = (name: string) => fileURLToPath(new URL(`lab/${name}`, import.meta.url))
    const program = [
      `import { startLab } from ${JSON.stringify(file('lab.ts'))}`,
      'const lab = await startLab({ nodes: 1 })',
      'console.log(JSON.stringify([lab.path("/home"), ...lab.hosts.map((host) => host.init.pid)]))',
      'setInterval(() => {}, 1000)',
    ].join('\n')
    const owner = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'pipe' })
    const [home, ...inits] = await new Promise<[string, ...number[]]>((resolve) => {
      owner.stdout.once('data', (line) => resolve(JSON.parse(line)))
    })
    expect(inits.map(identify)).not.toContain(undefined)
    const end = endOf(owner)
    owner.kill('SIGKILL')
    await end
    await poll(() => (inits.some(identify) ? undefined : true), 20, limits(), { what: 'the hosts to end' })
    expect(existsSync(home)).toBe(true)
    await runCommand([process.execPath, file('clean.ts')], limits())
    expect(existsSync(home)).toBe(false)
  })
})
