import { describe, expect, it } from 'vitest'
import { neighbourOf, reachCommand, reachError } from '../../../launcher/node/prove.ts'
import type { JobPlan } from '../../../launcher/plan/plan.ts'

const guest = (index: number, node: number) => ({
  index,
  name: `g${index}`,
  node,
  cpus: 1,
  memory: 1,
  ranks: [],
})
const planOf = (guests: number, network: Partial<JobPlan['network']>): JobPlan => ({
  jobId: 'abc',
  guestKind: 'linux',
  hypervisor: { kind: 'qemu' },
  pinning: 'no',
  scheduler: 'slurm',
  nodes: ['n1', 'n2'].map((name) => ({ name, slots: 1, cpus: 1, memory: 1 })),
  guests: Array.from({ length: guests }, (_, index) => guest(index, index % 2)),
  programs: [],
  size: 1,
  stdin: 0,
  environmentEdits: [],
  network: { mode: 'bridge', bridge: 'br7', subnet: '10.77.0.0/16', ...network },
  mounts: [],
  staging: { when: 'auto', add: [] },
  finalizeRescue: false,
  user: { name: 'u', uid: 1, group: 'g', gid: 1, groups: [1], home: '/h', shell: '/bin/sh' },
  treeWidth: 32,
  limits: { boot: 1, run: undefined, patience: 10_000, retries: 0, silence: 120_000 },
})
const orderOf = (guests: number, of: number, network: Partial<JobPlan['network']> = {}) => ({
  plan: planOf(guests, network),
  guest: of,
  addresses: Array.from({ length: guests }, (_, index) => `10.77.0.${index + 1}`),
  service: { host: '10.0.2.2', port: 4711 },
})
const said = (output: string, status = 0) => ({ end: { kind: 'exit', status } as const, output })

describe('what a guest must reach', () => {
  it('is the next guest of a ring, so that every guest is reached', () => {
    const { plan } = orderOf(5, 0)
    expect([0, 1, 2, 3, 4].map((index) => neighbourOf(plan, index)?.index)).toEqual([1, 2, 3, 4, 0])
  })
  it.each([
    ['alone', orderOf(1, 0)],
    ['on QEMU’s user network', orderOf(2, 0, { mode: 'user' })],
  ])('is no guest for one that is %s', (_, order) => {
    expect(neighbourOf(order.plan, 0)).toBeUndefined()
    expect(reachCommand(order).slice(-3)).toEqual(['', '10.0.2.2', '4711'])
  })
  it('is told by address', () => {
    expect(reachCommand(orderOf(3, 2)).slice(-3)).toEqual(['10.77.0.1', '10.0.2.2', '4711'])
  })
})

describe('what a guest does not reach', () => {
  it('is nothing when it says nothing', () => {
    expect(reachError(orderOf(2, 0), said(''))).toBeUndefined()
  })
  it.each([
    ['the other guest', 'neighbour\n', 'does not reach the guest g0 (10.77.0.1, on n1)', /br7.*firewall/],
    ['it with long frames', 'frame 1500\n', 'g0 (10.77.0.1, on n1), but not with frames of 1500', /MTU.*br7/],
    ['its process manager', 'service\n', 'process manager of its node at 10.0.2.2 port 4711', /firewall/],
  ])('names both guests and what to check: %s', (_, output, what, hint) => {
    const error = reachError(orderOf(2, 1), said(output))
    expect(error).toMatchObject({
      code: 'LEET_E_UNREACHABLE',
      details: {
        where: 'g1 (10.77.0.2, on n2)',
        what: expect.stringContaining(what),
        hint: expect.stringMatching(hint),
      },
    })
  })
  it.each([
    ['a command that ended otherwise', said('', 1), 'exit status 1'],
    ['words that it does not say', said('sh: \x1b[31mno fork\n', 2), 'sh: ?[31mno fork'],
    ['a neighbour that it does not have', said('neighbour'), 'neighbour'],
  ])('cannot be told from %s', (_, result, words) => {
    expect(reachError(orderOf(1, 0), result)?.message).toContain(`cannot find out what it reaches: ${words}`)
  })
})
