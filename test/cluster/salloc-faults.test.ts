/** @module-tag long */
// What ends a leet-mpirun with guests under salloc, which runs on the submit host: each fault that allocation.test.ts has for batch
// jobs.
import { expect, it } from 'vitest'
import { GUESTS } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { useSalloc } from './sallocs.ts'

describeLab('an allocation by salloc with guests', () => {
  const site = useSalloc()
  const { startJob, kill, reap } = site

  it.each([
    ['they boot', /booting/],
    ['their ranks are launched', /guests ready after/],
    ['their ranks are at work', /at work/],
  ])('ends in order when it is cancelled while %s', async (_, says) => {
    const job = await startJob([...GUESTS, '-v'], { says })
    await site.lab.must(['scancel', '--user=bob'])
    await job.end
    expect(job.output()).toMatch(/ended by SIG|the agent got SIGTERM/)
  })

  it('ends in order at its time limit, and says that this is why', async () => {
    // The shortest that Slurm knows.
    const job = await startJob(GUESTS, { sallocOptions: ['--time=1'] })
    await job.end
    expect(job.output()).toMatch(/the time limit of the job is reached/)
  })

  it('ends by itself, and leaves nothing on its nodes, when its controller is killed', async () => {
    const job = await startJob(GUESTS)
    kill('head', 'leet-mpirun')
    await job.end
    await reap()
  })

  it('names the node whose agent is killed', async () => {
    const job = await startJob(GUESTS)
    kill('node2', 'leet-agent')
    expect(await job.end).toEqual({ kind: 'exit', status: 1 })
    expect(job.output()).toMatch(/node2: the agent of this node is gone/)
    await reap()
  })

  it('shares its nodes, and one that loses a guest says so while the other goes on', async () => {
    const unlucky = await startJob(GUESTS)
    const lucky = await startJob([...GUESTS, '-v'], { user: 'alice', seconds: '0', says: /booting/ })
    kill('node2', 'qemu')
    expect(await unlucky.end).toEqual({ kind: 'exit', status: 1 })
    expect(unlucky.output()).toMatch(/guest leet-\w+-g1 on node2: ended unexpectedly/)
    expect({ end: await lucky.end, output: lucky.output() }).toMatchObject({
      end: { kind: 'exit', status: 0 },
    })
  })

  it('says that its NFS server is dead, and can be interrupted meanwhile', async () => {
    const job = await startJob(GUESTS)
    await site.lab.nfs?.stop()
    try {
      await job.heard(/the NFS server nfs \(10\.77\.0\.2:2049\) does not answer/)
      kill('head', 'leet-mpirun', 'SIGINT')
      expect(await job.end).toEqual({ kind: 'exit', status: 130 })
      // Their ranks cannot even be killed while they wait for the server.
      expect(job.output()).toMatch(/ended by SIGINT/)
    } finally {
      await site.lab.nfs?.start()
    }
  })
})
