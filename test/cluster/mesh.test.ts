// Guests of several nodes without a bridge: an ordinary user's job in a real Slurm, its switches joined by cables, and what
// happens when one of those is cut.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { butForEmulation } from '../support/leet.ts'
import { buildCheckout, guestsOn, hostsOfRanks, makeCase, submit } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

describeLab('a mesh in a job of Slurm', () => {
  let lab: Lab
  let directory: string
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 3, nfs: true })
    directory = await makeCase(lab, 'alice', lab.users.alice)
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())

  const start = (network: string, ...argv: string[]) =>
    submit(lab, [...guestsOn(network), ...argv], { user: lab.users.alice, directory })

  it('joins the guests of all nodes', async () => {
    const job = await start('mesh', '-n', '6', './share.openmpi')
    const end = await lab.waitJob(job.id)
    const output = butForEmulation(job.output())
    expect({ ...end, output }).toMatchObject({ state: 'COMPLETED', output: '' })
    const hosts = hostsOfRanks(lab, directory, 'alice', 6)
    expect(hosts.map((host) => host.replace(/^leet-\w+-/, ''))).toEqual(['g0', 'g0', 'g1', 'g1', 'g2', 'g2'])
  })

  it('is what there is when no network is named, with a word about it', { tags: ['long'] }, async () => {
    const job = await start('auto', '-n', '3', './share.mpich')
    const end = await lab.waitJob(job.id)
    expect({ ...end, output: job.output() }).toMatchObject({
      state: 'COMPLETED',
      output: expect.stringMatching(/by way of node1.*bridge=NAME/),
    })
  })

  it('ends a job whose cable is cut, with a sentence', { tags: ['long'] }, async () => {
    const job = await start('mesh', '-n', '3', './share.openmpi', '600')
    await job.says(/all ranks are at work/)
    const [plug] = lab.processes('node2').filter(({ argv }) => argv[0]?.endsWith('vde_plug'))
    process.kill(plug?.pid as number, 'SIGKILL')
    expect((await lab.waitJob(job.id)).state).toBe('FAILED')
    expect(job.output()).toMatch(
      /the cable (to node1|from [\d.:a-f]+), which joins the guests of two nodes, is gone/,
    )
  })
}, ['vde_switch', 'vde_plug'])
