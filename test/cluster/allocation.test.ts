// leet-mpirun over all nodes of a real Slurm: with the ranks on the bare nodes and in Linux guests on the hosts' bridge,
// for root and ordinary users; what ends it, and that nothing is left on any host. (Ranks of Open MPI that are killed on
// bare nodes leave its session directories, as under its own mpirun; so those that are killed here are of MPICH.) More faults
// are in allocation-faults.test.ts.
import { describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { type CaseUser, expectTwoOnEach, useAllocations } from './allocations.ts'
import { BARE, GUESTS, hostsOfRanks, LEET_MPIRUN, type Mpi, submit } from './jobs.ts'
import { describeLab } from './lab/describe.ts'

/** Those with guests that are not here are long tests. */
const KINDS: readonly {
  kind: string
  options: readonly string[]
  runs: readonly (readonly [Mpi, CaseUser])[]
}[] = [
  {
    kind: 'on the bare nodes',
    options: BARE,
    runs: [
      ['mpich', 'root'],
      ['mpich', 'alice'],
      ['openmpi', 'root'],
      ['openmpi', 'alice'],
    ],
  },
  {
    kind: 'in Linux guests',
    options: GUESTS,
    runs: [['openmpi', 'alice']],
  },
]

describeLab('a whole allocation', () => {
  const site = useAllocations()
  const { cases, startJob, reap, kill } = site

  it.each(['mpich', 'openmpi'])('runs %s where one node gathers the fences of another', async (mpi) => {
    // Two wide, the third node is under the first one.
    const options = [...BARE, '--tree-width', '2', '-n', '6', `./share.${mpi}`, '0', '3']
    const job = await submit(site.lab, options, { user: site.lab.users.alice, directory: cases.alice })
    expect(await site.lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 3, signal: 0 })
    expectTwoOnEach(hostsOfRanks(site.lab, cases.alice, 'alice', 6))
  })

  for (const { kind, options, runs } of KINDS) {
    describe(`with ranks ${kind}`, () => {
      // Of guests the README's own script is a test, in readme.test.ts.
      const tags = options === GUESTS ? ['long'] : []
      it.each(runs)('runs %s for %s on all nodes, which share a directory', { tags }, async (mpi, name) => {
        await site.runShare(options, mpi, name)
      })

      it('ends in order when it is cancelled', { tags: ['long'] }, async () => {
        const job = await startJob(options)
        await job.says(/all ranks are at work/)
        await site.lab.scancel(job.id)
        expect((await site.lab.waitJob(job.id)).state).toBe('CANCELLED')
        expect(job.output()).toMatch(/SIGTERM/)
      })

      it('ends with its allocation, and leaves nothing, when its controller is killed', async () => {
        const job = await startJob(options, 'root')
        await job.says(/all ranks are at work/)
        kill('node1', 'leet-mpirun', 'root')
        expect(await site.lab.waitJob(job.id)).toMatchObject({ state: 'FAILED' })
        await reap('root')
      })

      it('names the node whose agent is killed', { tags }, async () => {
        const job = await startJob(options)
        await job.says(/all ranks are at work/)
        kill('node2', 'leet-agent')
        expect(await site.lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
        expect(job.output()).toMatch(/node2: the agent of this node is gone/)
        await reap('alice')
      })
    })
  }

  it('names a node that the network has lost, which ends its ranks by itself', async () => {
    const job = await startJob(BARE)
    await job.says(/all ranks are at work/)
    await site.lab.plug('node3', false)
    try {
      const gone = () =>
        site.lab.processes('node3').every(({ argv }) => !argv.join(' ').includes('share.mpich'))
      const limits = { deadline: Deadline.after(6_000) }
      await poll(() => gone() || undefined, 100, limits, { what: 'the ranks of the lost node to end' })
      expect(await site.lab.waitJob(job.id, undefined, (state) => state !== 'RUNNING')).toMatchObject({
        exitStatus: 1,
      })
      expect(job.output()).toMatch(/node3: the agent of this node is gone: no sign of life/)
    } finally {
      await site.lab.plug('node3', true)
    }
    await site.lab.waitJob(job.id)
    await reap('alice')
  })

  it('refuses to be started once per task, with the right command', async () => {
    const argv = ['srun', '-N2', '-n2', LEET_MPIRUN, ...BARE, 'hostname']
    const { status, stderr } = await site.lab.run('head', argv, { user: site.lab.users.alice })
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/sbatch|salloc/)
  })

  describe('of guests', () => {
    it('ends in order when it is cancelled while they boot', async () => {
      const job = await startJob([...GUESTS, '-v'])
      await job.says(/booting/)
      await site.lab.scancel(job.id)
      expect((await site.lab.waitJob(job.id)).state).toBe('CANCELLED')
      expect(job.output()).toMatch(/SIGTERM/)
    })

    it('names the guest and the node of a hypervisor that is killed', { tags: ['long'] }, async () => {
      const job = await startJob(GUESTS)
      await job.says(/all ranks are at work/)
      kill('node3', 'qemu')
      expect(await site.lab.waitJob(job.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
      expect(job.output()).toMatch(/guest leet-\w+-g2 on node3: ended unexpectedly/)
    })
  })
})
