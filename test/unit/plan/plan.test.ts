import { describe, expect, it } from 'vitest'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import { type PlanFacts, planJob, programOf } from '../../../launcher/plan/plan.ts'
import { planMounts } from '../../../launcher/plan/plan-mounts.ts'
import { parseCommandWords } from '../../../mpi-bridge/index.ts'

const GIB = 2 ** 30
const node = (name: string) => ({ name, slots: 2, cpus: 2, memory: 10 * GIB })

function plan(line: string, nodes: PlanFacts['nodes'] = [node('n0')], environment: NodeJS.ProcessEnv = {}) {
  const settings = readSettings(parseCommandWords(OPTIONS, line.split(' ')), environment)
  return planJob(settings, {
    jobId: 'abc',
    scheduler: 'none',
    nodes,
    programs: settings.programs.map(({ argv, exports, inherits }) => ({
      argv,
      exports,
      inherits,
      workDir: '/w',
      mpi: 'none',
    })),
    user: { name: 'u', uid: 1, group: 'g', gid: 2, groups: [2], home: '/h', shell: '/bin/sh' },
    planMounts: (request) =>
      planMounts(request, {
        table: [{ root: '/', path: '/w', type: 'nfs4', source: 'server:/w', options: [] }],
        realPaths: {},
        here: nodes[0].name,
        batchJob: undefined,
        added: [],
      }),
  })
}

describe('the plan', () => {
  it('boots one guest on a bare machine, whatever the number of ranks', () => {
    const { guests, network } = plan('-n 5 a')
    expect(guests).toMatchObject([{ ranks: [0, 1, 2, 3, 4], cpus: 2, memory: 8 * GIB }])
    expect(network.mode).toBe('user')
  })
  it('gives each rank in OSv a vCPU of its own', () => {
    expect(plan('-n 5 --guest osv a').guests).toMatchObject([{ cpus: 5 }])
    expect(plan('-n 5 --guest osv --guest-cpus 1 a').guests).toMatchObject([{ cpus: 1 }])
  })
  it('has OSv guests mount home and working directory only if their ranks can read them so', () => {
    const mounts = (line: string) => plan(line).mounts.map(({ path }) => path)
    expect(mounts('-n 2 --guests 2 --guest osv a')).toEqual(['/w'])
    expect(mounts('-n 2 --guest osv a')).toEqual([])
    expect(mounts('-n 2 --guests 2 --guest osv --mount s:/x:/x a')).toEqual(['/w', '/x'])
    expect(mounts('-n 1 --guest osv --stage always --mount s:/x:/x a')).toEqual(['/x'])
    expect(mounts('-n 1 --guest osv --stage always a')).toEqual([])
    expect(mounts('-n 2 --guest osv --stage never a')).toEqual([])
    expect(mounts('-n 2 --stage-only x a')).toEqual(['/w'])
  })
  it('refuses a mount that ranks of OSv guests could not use', () => {
    for (const line of [
      '-n 2 --guest osv',
      '-n 3 --guests 2 --guest osv',
      '-n 1 --guest osv --reuse-guests',
    ]) {
      expect(() => plan(`${line} --mount s:/x:/x a`)).toThrow('--mount: s:/x:/x could not be used')
    }
  })
  it('has its nodes bear a suspended controller for two minutes, or as long as the user says', () => {
    expect(plan('a').limits.silence).toBe(120_000)
    expect(plan('--controller-timeout 2h a').limits.silence).toBe(7_200_000)
  })
  it('divides ranks, vCPUs and memory between the guests asked for', () => {
    const { guests, network } = plan('-n 4 --guests 2 a')
    expect(guests.map(({ ranks }) => ranks)).toEqual([
      [0, 1],
      [2, 3],
    ])
    expect(guests.map(({ cpus, memory }) => ({ cpus, memory }))).toEqual([
      { cpus: 2, memory: 4 * GIB },
      { cpus: 2, memory: 4 * GIB },
    ])
    expect(network.mode).toBe('local')
  })
  it('leaves room for QEMU and for LEET itself, of which a small job has to give more', () => {
    const small = [{ ...node('n1'), memory: 750 * 2 ** 20 }] as const
    const [guest] = plan('-n 1 a', small).guests
    expect((guest?.memory as number) / 2 ** 20).toBe(600)
    const both = [...small, { ...small[0], name: 'n2' }] as const
    const [one] = plan('-n 4 --network bridge=br0 a', both).guests
    expect((one?.memory as number) / 2 ** 20).toBe(430)
  })
  it('says how wide the tree of nodes is', () => {
    expect(plan('-n 5 a').treeWidth).toBe(32)
    expect(plan('-n 5 --tree-width 4 a').treeWidth).toBe(4)
    for (const width of ['1', '4097', 'wide'])
      expect(() => plan(`-n 5 --tree-width ${width} a`)).toThrow(/tree-width/)
  })
  it('counts guests as nodes for -ppn', () => {
    expect(plan('-np 4 -ppn 2 a').guests).toHaveLength(2)
  })
  it('maps by node and by resource over guests, and over nodes on the bare host', () => {
    const ranks = (...args: Parameters<typeof plan>) => plan(...args).guests.map((guest) => guest.ranks)
    expect(ranks('-n 4 --guests 2 --map-by node a')).toEqual([
      [0, 2],
      [1, 3],
    ])
    expect(ranks('-n 4 --map-by ppr:2:node a')).toEqual([
      [0, 1],
      [2, 3],
    ])
    const nodes: PlanFacts['nodes'] = [{ ...node('n0'), packages: 2 }, node('n1')]
    expect(ranks('--guest host --map-by ppr:1:package a', nodes)).toEqual([[0, 1], [2]])
    expect(ranks('--guest host -n 3 --map-by node a', nodes)).toEqual([[0, 2], [1]])
  })
  it('boots one guest per allocated node, and none where no rank would be', () => {
    expect(
      plan('-n 4 --network bridge=br0 a', [node('n0'), node('n1')]).guests.map(({ node: index }) => index),
    ).toEqual([0, 1])
    expect(plan('-n 2 a', [node('n0'), node('n1')]).guests).toHaveLength(1)
    expect(plan('--guest host a', [node('n0'), node('n1')]).size).toBe(4)
    expect(plan('-n 4 a', [node('n0'), node('n1')]).network.mode).toBe('mesh')
    expect(plan('-n 1 --network mesh a', [node('n0'), node('n1')]).network.mode).toBe('user')
    expect(() => plan('-n 4 --network local a', [node('n0'), node('n1')])).toThrow(/which local does not/)
  })
  it('numbers ranks through all programs', () => {
    const made = plan('-n 1 a : -n 2 b')
    expect([0, 1, 2].map((rank) => programOf(made, rank).program.argv[0])).toEqual(['a', 'b', 'b'])
  })
  it('takes guest options from the environment unless a flag says otherwise', () => {
    const environment = { LEET_GUEST_MEMORY: '1G', LEET_GUEST_CPUS: '1' }
    expect(plan('-n 1 --guest-cpus 2 a', undefined, environment).guests).toMatchObject([
      { memory: GIB, cpus: 2 },
    ])
  })
  it('is a plain value that survives being sent', () => {
    const made = plan('-n 4 --guests 2 a')
    expect(JSON.parse(JSON.stringify(made))).toEqual({
      ...made,
      limits: { boot: 120_000, patience: 10_000, retries: 2, silence: 120_000 },
    })
  })
  it.each([
    ['-n 2 --guests 3 a', '--guests'],
    // OSv aborts at the 32nd start since boot.
    ['-n 32 --guest osv a', '--guests'],
    ['-n 2 --guest-memory 20G a', '--guest-memory'],
    ['-n 2 --guest-memory 1M a', '--guest-memory'],
    ['-n 2 --guest-memory much a', '--guest-memory'],
    ['-n 0 a', '-n'],
    ['-n many a', '-n'],
    ['-n 4 -ppn 1 --guests 2 a', '-ppn'],
    ['-n 3 --nooversubscribe a', '--nooversubscribe'],
    ['-n 3 --map-by hyper a', '--map-by'],
    ['--guest windows a', '--guest'],
    ['--timeout soon a', '--timeout'],
    ['-x 1BAD a', '-x'],
    ['--mpi lam a', '--mpi'],
    ['-n 2', 'no program'],
    ['-n 2 a : b', 'each needs'],
  ])('refuses %s in one sentence that names %s', (line, word) => {
    expect(() => plan(line)).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining(word) }),
    )
  })
})
