/** @module-tag long */
// Guests that do not reach each other: the job ends before its ranks start, and says who does not reach whom.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { buildCheckout, GUESTS, makeCase, submit } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

/** Bridges that lead nowhere, with a network of their own: the NFS server is reached by another way. */
const ISOLATED = [
  'ip link add br1 type bridge',
  'ip address add 10.78.0.$((10 + $1))/16 dev br1',
  'ip link set br1 up',
  'echo allow br1 >>/etc/qemu/bridge.conf',
].join(' && ')

describeLab('guests on bridges that are not joined', () => {
  let lab: Lab
  let directory: string
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 2, nfs: true })
    directory = await makeCase(lab, 'alice', lab.users.alice)
    for (const [index, node] of lab.nodes.entries()) {
      const { status, stderr } = await lab.run(node, ['sh', '-c', ISOLATED, 'sh', `${index + 1}`])
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    }
  })
  afterEach(() => lab.waitClean(undefined, ({ what }) => what !== 'br1'))
  afterAll(() => lab?.stop())

  it('are named with their addresses and nodes, and what to check', async () => {
    const options = [
      ...GUESTS.map((word) => (word === 'bridge=br0' ? 'bridge=br1' : word)),
      ...['--network-subnet', '10.78.0.0/16'],
    ]
    const job = await submit(lab, [...options, '-n', '2', './share.mpich'], {
      user: lab.users.alice,
      directory,
      options: ['-N2', '--ntasks-per-node=1'],
    })
    const end = await lab.waitJob(job.id, { deadline: Deadline.after(280_000) })
    expect({ ...end, output: job.output() }).toMatchObject({ state: 'FAILED', exitStatus: 1 })
    const guest = (node: number) => `leet-\\w+-g${node - 1} \\(10\\.78\\.1${node}\\.1, on node${node}\\)`
    const says = (from: number, to: number) => `${guest(from)}: does not reach the guest ${guest(to)}`
    expect(job.output()).toMatch(new RegExp(`(${says(1, 2)}|${says(2, 1)}).*br1.*firewall`, 's'))
  })
})
