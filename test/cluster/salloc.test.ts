// leet-mpirun under salloc, which runs it on the submit host, where it has no ranks: with ranks on the bare nodes and in
// guests, for an ordinary user; and how it is interrupted. What else ends it is in salloc-faults.test.ts.
import { expect, it } from 'vitest'
import { BARE, GUESTS, hostsOfRanks, LEET_MPIRUN } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { useSalloc } from './sallocs.ts'

describeLab('an allocation by salloc', () => {
  const site = useSalloc()
  const { salloc, startJob, kill } = site

  it('is explained: where its nodes come from, and why slots are what they are', async () => {
    const { status, stdout } = await salloc(['/srv/leet/launcher/bin/leet', 'explain', 'allocation'])
    expect({ status, stdout }).toMatchObject({ status: 0 })
    expect(stdout).toMatch(/^nodes +2, 2 slots$/m)
    expect(stdout).toContain('2 nodes: SLURM_JOB_NODELIST=node[1-2]')
    expect(stdout).toContain('slots: SLURM_TASKS_PER_NODE=1(x2)')
  })

  it('has each of its nodes looked at by leet doctor', async () => {
    const leet = '/srv/leet/launcher/bin/leet'
    const { status, stdout } = await salloc([leet, 'doctor', '--all-nodes', '--json'])
    const found = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
    const about = (node: string) => found.filter((one) => one.node === node)
    for (const node of ['node1', 'node2']) {
      expect(about(node).map(({ subject }) => subject)).toContain('QEMU')
      expect(about(node).filter(({ state }) => state === 'bad')).toEqual([])
      // No site has named a bridge.
      expect(about(node)).toContainEqual(
        expect.objectContaining({
          subject: 'guests on several nodes',
          what: expect.stringContaining('mesh'),
        }),
      )
    }
    expect(status).toBe(0)
  })

  it.each([
    { kind: 'the bare nodes', options: BARE, hosts: ['node1', 'node2'] },
    {
      kind: 'guests on them',
      options: GUESTS,
      hosts: [expect.stringMatching(/-g0$/), expect.stringMatching(/-g1$/)],
    },
  ])('has its ranks on $kind', async ({ options, hosts }) => {
    expect(await salloc([LEET_MPIRUN, ...options, './share.openmpi', '0', '3'])).toMatchObject({ status: 3 })
    expect(hostsOfRanks(site.lab, site.directory, 'bob', 2)).toEqual(hosts)
  })

  it('with guests ends in order when it is interrupted', async () => {
    const job = await startJob(GUESTS)
    kill('head', 'leet-mpirun', 'SIGINT')
    expect(await job.end).toEqual({ kind: 'exit', status: 130 })
    expect(job.output()).toMatch(/ended by SIGINT/)
  })
})
