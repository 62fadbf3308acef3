// leet-mpirun over all nodes of a real Slurm: with the ranks on the bare nodes and in Linux guests on the hosts' bridge,
// for root and ordinary users; what ends it, and that nothing is left on any host. (Ranks of Open MPI that are killed on
// bare nodes leave its session directories, as under its own mpirun; so those that are killed here are of MPICH.)
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, endOf, poll } from '../../common/index.ts'
import { BARE, buildCheckout, GUESTS, LEET_MPIRUN, leetProcesses, makeCase, submit } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

const KINDS = [
  { kind: 'on the bare nodes', options: BARE },
  { kind: 'in Linux guests', options: GUESTS },
]
const NO_END = '600'

describeLab('a whole allocation', () => {
  let lab: Lab
  const cases = { root: '', alice: '', bob: '' }
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 3, nfs: true })
    for (const name of ['root', 'alice', 'bob'] as const)
      cases[name] = await makeCase(lab, name, lab.users[name])
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())

  /** Starts a job of six ranks that would run for minutes, as a user in that user's directory. */
  const startJob = async (
    options: readonly string[],
    name: keyof typeof cases = 'alice',
    sbatch: string[] = [],
  ) =>
    submit(lab, [...options, '-n', '6', './share.mpich', NO_END], {
      user: lab.users[name],
      directory: cases[name],
      options: sbatch,
    })
  /** What was killed leaves the files of its job directory, which `leet reap` removes; nothing else. */
  const reap = async (name: keyof typeof cases) => {
    await lab.waitClean({ deadline: Deadline.after(10_000) }, ({ kind }) => kind !== 'file')
    for (const host of ['head', ...lab.nodes]) {
      const { status, stderr } = await lab.run(host, ['/srv/leet/launcher/bin/leet', 'reap'], {
        user: lab.users[name],
      })
      expect({ host, status, stderr }).toEqual({ host, status: 0, stderr: '' })
    }
  }
  const kill = (host: string, what: Parameters<typeof leetProcesses>[2]) => {
    const victims = leetProcesses(lab, host, what)
    expect(victims.map(({ argv }) => argv.slice(0, 3))).toHaveLength(1)
    process.kill(victims[0]?.pid as number, 'SIGKILL')
  }

  for (const { kind, options } of KINDS) {
    describe(`with ranks ${kind}`, () => {
      it.each([
        ['mpich', 'root'],
        ['mpich', 'alice'],
        ['openmpi', 'root'],
        ['openmpi', 'alice'],
      ] as const)('runs %s for %s on all nodes, which share a directory', async (mpi, name) => {
        const job = await submit(lab, [...options, '-n', '6', `./share.${mpi}`, '0', '3'], {
          user: lab.users[name],
          directory: cases[name],
        })
        const end = await lab.waitJob(job.id)
        expect({ ...end, output: job.output() }).toMatchObject({ state: 'FAILED', exitStatus: 3, signal: 0 })
        const lines = [0, 1, 2, 3, 4, 5].map((rank) => {
          const line = readFileSync(join(lab.path(cases[name]), `output.${rank}`), 'utf8')
          const match = new RegExp(`^${rank} of 6 on (\\S+) read what ${name} needs\n$`).exec(line)
          return match?.[1] ?? line
        })
        expect(new Set(lines).size).toBe(3)
        expect(lines).toEqual([0, 0, 2, 2, 4, 4].map((first) => lines[first]))
      })

      it('ends in order when it is cancelled', async () => {
        const job = await startJob(options)
        await job.says(/all ranks are at work/)
        await lab.scancel(job.id)
        expect((await lab.waitJob(job.id)).state).toBe('CANCELLED')
        expect(job.output()).toMatch(/SIGTERM/)
      })

      it('ends with its allocation, and leaves nothing, when its controller is killed', async () => {
        const job = await startJob(options, 'root')
        await job.says(/all ranks are at work/)
        kill('node1', 'leet-mpirun')
        expect(await lab.waitJob(job.id)).toMatchObject({ state: 'FAILED' })
        await reap('root')
      })

      it('names the node whose agent is killed', async () => {
        const job = await startJob(options)
        await job.says(/all ranks are at work/)
        kill('node2', 'leet-agent')
        expect(await lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
        expect(job.output()).toMatch(/node2: the agent of this node is gone/)
        await reap('alice')
      })
    })
  }

  it('names a node that the network has lost, which ends its ranks by itself', async () => {
    const job = await startJob(BARE)
    await job.says(/all ranks are at work/)
    await lab.plug('node3', false)
    try {
      const gone = () => lab.processes('node3').every(({ argv }) => !argv.join(' ').includes('share.mpich'))
      const limits = { deadline: Deadline.after(6_000) }
      await poll(() => gone() || undefined, 100, limits, { what: 'the ranks of the lost node to end' })
      expect(await lab.waitJob(job.id, undefined, (state) => state !== 'RUNNING')).toMatchObject({
        exitStatus: 1,
      })
      expect(job.output()).toMatch(/node3: the agent of this node is gone: no sign of life/)
    } finally {
      await lab.plug('node3', true)
    }
    await lab.waitJob(job.id)
    await reap('alice')
  })

  it('runs from salloc, on whose host it has no ranks', async () => {
    const argv = ['salloc', '-Q', '-N2', '--ntasks-per-node=1', LEET_MPIRUN, ...BARE, 'hostname']
    const { status, stdout, stderr } = await lab.run('head', argv, { user: lab.users.bob, cwd: cases.bob })
    expect({ status, hosts: stdout.trim().split('\n').sort(), stderr }).toEqual({
      status: 0,
      hosts: ['node1', 'node2'],
      stderr: '',
    })
  })

  it('ends when salloc is interrupted', async () => {
    const { argv, env } = lab.command(
      'head',
      ['salloc', '-Q', '-N3', LEET_MPIRUN, ...BARE, '-n', '6', './share.mpich', NO_END],
      { user: lab.users.bob, cwd: cases.bob },
    )
    const child = spawn(argv[0], argv.slice(1), { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const end = endOf(child)
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text) => {
        if (String(text).includes('at work')) resolve()
      })
    })
    for (const { pid } of leetProcesses(lab, 'head', 'leet-mpirun')) process.kill(pid, 'SIGINT')
    expect(await end).toEqual({ kind: 'exit', status: 130 })
  })

  it('refuses to be started once per task, with the right command', async () => {
    const argv = ['srun', '-N2', '-n2', LEET_MPIRUN, ...BARE, 'hostname']
    const { status, stderr } = await lab.run('head', argv, { user: lab.users.alice })
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/sbatch|salloc/)
  })

  describe('of guests', () => {
    it('ends in order when it is cancelled while they boot', async () => {
      const job = await startJob([...GUESTS, '-v'])
      await job.says(/booting/)
      await lab.scancel(job.id)
      expect((await lab.waitJob(job.id)).state).toBe('CANCELLED')
    })

    it('shares nodes with another one', async () => {
      const jobs = await Promise.all(
        (['alice', 'bob'] as const).map((name) =>
          submit(lab, [...GUESTS, '-n', '3', './share.openmpi'], {
            user: lab.users[name],
            directory: cases[name],
            options: ['--ntasks-per-node=1'],
          }),
        ),
      )
      for (const job of jobs) {
        const end = await lab.waitJob(job.id)
        expect({ ...end, output: job.output() }).toMatchObject({ state: 'COMPLETED' })
      }
    })

    it('ends in order at its time limit', async () => {
      const job = await startJob(GUESTS)
      await job.says(/all ranks are at work/)
      await lab.run('head', ['scontrol', 'update', `JobId=${job.id}`, 'EndTime=now+2'])
      expect((await lab.waitJob(job.id)).state).toBe('TIMEOUT')
    })

    it('names the guest and the node of a hypervisor that is killed', async () => {
      const job = await startJob(GUESTS)
      await job.says(/all ranks are at work/)
      kill('node3', 'qemu')
      expect(await lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
      expect(job.output()).toMatch(/guest leet-\w+-g2 on node3: ended unexpectedly/)
    })

    it('can be cancelled while its NFS server is dead', async () => {
      const job = await startJob(GUESTS)
      await job.says(/all ranks are at work/)
      await lab.nfs?.stop()
      try {
        await lab.scancel(job.id)
        expect((await lab.waitJob(job.id)).state).toBe('CANCELLED')
      } finally {
        await lab.nfs?.start()
      }
    })

    it('says so when the NFS server is dead from the start', async () => {
      await lab.nfs?.stop()
      try {
        const job = await startJob(GUESTS)
        const end = await lab.waitJob(job.id, { deadline: Deadline.after(200_000) })
        expect(end).toMatchObject({ state: 'FAILED' })
        expect(job.output()).toMatch(/the NFS server of \/(home|srv\/project) does not answer/)
      } finally {
        await lab.nfs?.start()
      }
    })
  })
})
