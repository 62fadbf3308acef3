/** @module-tag long */
// More of what can befall a job in Linux guests on all nodes of a real Slurm, and the rest of the users and MPIs: those that
// take long, or are like others that allocation.test.ts has.
import { expect, it } from 'vitest'
import { Deadline, pause } from '../../common/index.ts'
import { NO_END, useAllocations } from './allocations.ts'
import { BARE, GUESTS, LEET_MPIRUN, submit, submitScript } from './jobs.ts'
import { describeLab } from './lab/describe.ts'

/** Seconds. */
const SILENCE_S = 2

describeLab('a whole allocation of guests', () => {
  const site = useAllocations()
  const { cases, startJob, kill } = site

  it.each([
    ['mpich', 'root'],
    ['mpich', 'alice'],
    ['openmpi', 'root'],
  ] as const)('runs %s for %s on all nodes, which share a directory', async (mpi, name) => {
    await site.runShare(GUESTS, mpi, name)
  })

  it('ends in order when it is cancelled while their ranks are launched', async () => {
    const job = await startJob([...GUESTS, '-v'])
    await job.says(/guests ready after/)
    await site.lab.scancel(job.id)
    expect((await site.lab.waitJob(job.id)).state).toBe('CANCELLED')
    expect(job.output()).toMatch(/SIGTERM/)
  })

  it('shares nodes with another one, and does not feel that one lose a guest', async () => {
    const one = { options: ['--ntasks-per-node=1'] }
    const unlucky = await submit(site.lab, [...GUESTS, '-n', '3', './share.mpich', NO_END], {
      ...{ user: site.lab.users.alice, directory: cases.alice },
      ...one,
    })
    await unlucky.says(/all ranks are at work/)
    const job = await submit(site.lab, [...GUESTS, '-v', '-n', '3', './share.openmpi'], {
      ...{ user: site.lab.users.bob, directory: cases.bob },
      ...one,
    })
    await job.says(/booting/)
    kill('node2', 'qemu')
    expect(await site.lab.waitJob(unlucky.id)).toMatchObject({ state: 'FAILED', exitStatus: 1 })
    expect(unlucky.output()).toMatch(/on node2: ended unexpectedly/)
    const end = await site.lab.waitJob(job.id)
    expect({ ...end, output: job.output() }).toMatchObject({ state: 'COMPLETED' })
  })

  it('ends in order at its time limit, and says that this is why', async () => {
    // Slurm's limits are whole minutes.
    const job = await startJob(GUESTS, 'alice', ['--time=1'])
    expect((await site.lab.waitJob(job.id, { deadline: Deadline.after(200_000) })).state).toBe('TIMEOUT')
    expect(job.output()).toMatch(/the time limit of the job is reached/)
  })

  it.each([
    { where: 'on the bare nodes', options: BARE },
    { where: 'in guests', options: GUESTS },
  ])('goes on $where when it was suspended for longer than it bears silence', async ({ options }) => {
    const words = [...options, '--controller-timeout', `${SILENCE_S}`, './share.openmpi', '15', '3']
    const job = await submit(site.lab, words, { user: site.lab.users.alice, directory: cases.alice })
    await job.says(/all ranks are at work/)
    await site.lab.must(['scontrol', 'suspend', `${job.id}`])
    // The time that a job is suspended for is what is tried here.
    await pause(3 * SILENCE_S * 1000)
    await site.lab.must(['scontrol', 'resume', `${job.id}`])
    const end = await site.lab.waitJob(job.id)
    expect({ ...end, output: job.output() }).toMatchObject({ state: 'FAILED', exitStatus: 3 })
  })

  it('runs again from the start when it is requeued', async () => {
    const seconds = `\${SLURM_RESTART_COUNT:-${NO_END}}`
    const script = `#!/bin/sh\nexec ${LEET_MPIRUN} ${GUESTS.join(' ')} ./share.mpich ${seconds} 3\n`
    const job = await submitScript(site.lab, script, {
      user: site.lab.users.alice,
      directory: cases.alice,
      options: ['-N3', '--ntasks-per-node=2', '--requeue', '--open-mode=append'],
    })
    await job.says(/all ranks are at work/)
    await site.lab.must(['scontrol', 'requeue', `${job.id}`])
    // Slurm starts it again after two minutes.
    const end = await site.lab.waitJob(job.id)
    expect({ ...end, output: job.output() }).toMatchObject({ state: 'FAILED', exitStatus: 3 })
    expect(job.output().match(/all ranks are at work/g)).toHaveLength(2)
  })

  it('says that its NFS server is dead, and can be cancelled meanwhile', async () => {
    const job = await startJob(GUESTS)
    await job.says(/all ranks are at work/)
    await site.lab.nfs?.stop()
    try {
      await job.says(/the NFS server nfs \(10\.77\.0\.2:2049\) does not answer/)
      await site.lab.scancel(job.id)
      expect((await site.lab.waitJob(job.id)).state).toBe('CANCELLED')
    } finally {
      await site.lab.nfs?.start()
    }
  })

  it('says so when the NFS server is dead from the start', async () => {
    await site.lab.nfs?.stop()
    try {
      const job = await startJob(GUESTS)
      const end = await site.lab.waitJob(job.id, { deadline: Deadline.after(200_000) })
      expect(end).toMatchObject({ state: 'FAILED' })
      expect(job.output()).toMatch(/the NFS server of \/(home|srv\/project) does not answer/)
    } finally {
      await site.lab.nfs?.start()
    }
  })
})
