// leet-mpirun over all nodes of a real Slurm: with the ranks on the bare nodes and in Linux guests on the hosts' bridge,
// for root and ordinary users; what ends it, and that nothing is left on any host. (Ranks of Open MPI that are killed on
// bare nodes leave its session directories, as under its own mpirun; so those that are killed here are of MPICH.)
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import {
  BARE,
  buildCheckout,
  GUESTS,
  hostsOfRanks,
  LEET_MPIRUN,
  leetProcesses,
  makeCase,
  submit,
} from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

const KINDS = [
  { kind: 'on the bare nodes', options: BARE },
  { kind: 'in Linux guests', options: GUESTS },
]
const NO_END = '600'

/** Three hosts, in the order of the ranks. */
const expectTwoOnEach = (hosts: readonly string[]) => {
  expect(new Set(hosts).size).toBe(3)
  expect(hosts).toEqual([0, 0, 2, 2, 4, 4].map((first) => hosts[first]))
}

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
  const kill = (
    host: string,
    what: Parameters<typeof leetProcesses>[2],
    name: keyof typeof cases = 'alice',
  ) => {
    const victims = leetProcesses(lab, host, what).filter(({ uid }) => uid === lab.users[name].uid)
    expect(victims.map(({ argv }) => argv.slice(0, 3))).toHaveLength(1)
    process.kill(victims[0]?.pid as number, 'SIGKILL')
  }

  it.each(['mpich', 'openmpi'])('runs %s where one node gathers the fences of another', async (mpi) => {
    // Two wide, the third node is under the first one.
    const options = [...BARE, '--tree-width', '2', '-n', '6', `./share.${mpi}`, '0', '3']
    const job = await submit(lab, options, { user: lab.users.alice, directory: cases.alice })
    expect(await lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 3, signal: 0 })
    expectTwoOnEach(hostsOfRanks(lab, cases.alice, 'alice', 6))
  })

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
        expectTwoOnEach(hostsOfRanks(lab, cases[name], name, 6))
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
        kill('node1', 'leet-mpirun', 'root')
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

  it('refuses to be started once per task, with the right command', async () => {
    const argv = ['srun', '-N2', '-n2', LEET_MPIRUN, ...BARE, 'hostname']
    const { status, stderr } = await lab.run('head', argv, { user: lab.users.alice })
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/sbatch|salloc/)
  })

  describe('of guests', () => {
    it.each([
      ['they boot', /booting/],
      ['their ranks are launched', /guests ready after/],
    ])('ends in order when it is cancelled while %s', async (_, moment) => {
      const job = await startJob([...GUESTS, '-v'])
      await job.says(moment)
      await lab.scancel(job.id)
      expect((await lab.waitJob(job.id)).state).toBe('CANCELLED')
      expect(job.output()).toMatch(/SIGTERM/)
    })

    it('shares nodes with another one, and does not feel that one lose a guest', async () => {
      const one = { options: ['--ntasks-per-node=1'] }
      const unlucky = await submit(lab, [...GUESTS, '-n', '3', './share.mpich', NO_END], {
        ...{ user: lab.users.alice, directory: cases.alice },
        ...one,
      })
      await unlucky.says(/all ranks are at work/)
      const job = await submit(lab, [...GUESTS, '-v', '-n', '3', './share.openmpi'], {
        ...{ user: lab.users.bob, directory: cases.bob },
        ...one,
      })
      await job.says(/booting/)
      kill('node2', 'qemu')
      expect(await lab.waitJob(unlucky.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
      expect(unlucky.output()).toMatch(/on node2: ended unexpectedly/)
      const end = await lab.waitJob(job.id)
      expect({ ...end, output: job.output() }).toMatchObject({ state: 'COMPLETED' })
    })

    it('ends in order at its time limit, and says that this is why', async () => {
      // Slurm's limits are whole minutes.
      const job = await startJob(GUESTS, 'alice', ['--time=1'])
      expect((await lab.waitJob(job.id, { deadline: Deadline.after(200_000) })).state).toBe('TIMEOUT')
      expect(job.output()).toMatch(/the time limit of the job is reached/)
    })

    it('names the guest and the node of a hypervisor that is killed', async () => {
      const job = await startJob(GUESTS)
      await job.says(/all ranks are at work/)
      kill('node3', 'qemu')
      expect(await lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
      expect(job.output()).toMatch(/guest leet-\w+-g2 on node3: ended unexpectedly/)
    })

    it('says that its NFS server is dead, and can be cancelled meanwhile', async () => {
      const job = await startJob(GUESTS)
      await job.says(/all ranks are at work/)
      await lab.nfs?.stop()
      try {
        await job.says(/the NFS server nfs \(10\.77\.0\.2:2049\) does not answer/)
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
