// Allocations: recorded environments of real jobs, documented ones of LSF and Flux, the table of precedence, refusals.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  type Allocation,
  adapterOf,
  explainAllocation,
  nodeOfThisProcess,
  resolveAllocation,
  SCHEDULERS,
  startEnvironment,
} from '../../../scheduler-adapters/index.ts'
import { taskStatus } from '../../../scheduler-adapters/pbs.ts'
import { parseTimeLeft } from '../../../scheduler-adapters/slurm.ts'
import { fixture, recorded, request } from './world.ts'

/** Nodes in short: `node1:2 node2:2`. */
const short = ({ nodes }: Allocation) => nodes.map(({ name, slots }) => `${name}:${slots}`).join(' ')

const slurm = recorded('slurm-batch')
const torque = recorded('torque-script')
const openpbs = recorded('openpbs-script')
const gridengine = recorded('gridengine')
const files = {
  [torque.PBS_NODEFILE as string]: fixture('torque.nodefile'),
  [openpbs.PBS_NODEFILE as string]: fixture('openpbs.nodefile'),
  [gridengine.PE_HOSTFILE as string]: fixture('gridengine.pe_hostfile'),
}
const lsf = { LSB_JOBID: '77', LSB_MCPU_HOSTS: 'hostA 2 hostB 4', LS_SUBCWD: '/home/user', LSB_JOBINDEX: '0' }
const flux = { FLUX_URI: 'local:///run/flux/local' }
const resourceSet = {
  version: 1,
  execution: {
    R_lite: [
      { rank: '0-1', children: { core: '0-3' } },
      { rank: '2', children: { core: '0-1,5' } },
    ],
    nodelist: ['fluke[3-5]'],
    starttime: 100,
    expiration: 2000.5,
  },
}
const answers = {
  'flux kvs get resource.R': JSON.stringify(resourceSet),
  'flux getattr jobid': 'ƒM7Zq9AKHno\n',
}
const recordedJobs = [
  ['slurm', slurm],
  ['torque', torque],
  ['openpbs', openpbs],
  ['gridengine', gridengine],
  ['lsf', lsf],
  ['flux', flux],
] as const
const resolve = (env: Record<string, string>, more: Parameters<typeof request>[1] = {}) =>
  resolveAllocation(request(env, { files, answers, ...more }))

describe('recorded jobs', () => {
  it('Slurm', async () => {
    expect(await resolve(slurm)).toMatchObject({
      scheduler: 'slurm',
      jobId: '1',
      nodes: ['node1', 'node2', 'node3'].map((name) => ({ name, slots: 2, cpus: 2 })),
      workDir: '/shared/job',
      scratchDir: '/tmp',
    })
  })

  it('Torque, whose nodes come in reverse', async () => {
    const allocation = await resolve(torque)
    expect(allocation).toMatchObject({ scheduler: 'torque', jobId: '0.head', workDir: '/shared/job' })
    expect(short(allocation)).toBe('node3:2 node2:2 node1:2')
    expect(allocation.nodes.map(({ index }) => index)).toEqual([0, 2, 4])
  })

  it('OpenPBS', async () => {
    const allocation = await resolve(openpbs)
    expect(allocation).toMatchObject({
      scheduler: 'openpbs',
      jobId: '0.head',
      scratchDir: '/var/tmp/pbs.0.head',
    })
    expect(short(allocation)).toBe('node1:2 node2:2 node3:2')
  })

  it('Grid Engine, with uneven slots', async () => {
    const allocation = await resolve(gridengine)
    expect(allocation).toMatchObject({ scheduler: 'gridengine', jobId: '1', scratchDir: '/tmp/1.1.all.q' })
    expect(short(allocation)).toBe('node1:2 node2:2 node3:1')
  })

  it('LSF and Flux, from their documentation', async () => {
    expect(short(await resolve(lsf))).toBe('hostA:2 hostB:4')
    const allocation = await resolve(flux)
    expect(short(allocation)).toBe('fluke3:4 fluke4:4 fluke5:3')
    expect(allocation).toMatchObject({ jobId: 'ƒM7Zq9AKHno', deadline: 2_000_500 })
  })

  it.each(recordedJobs)('explains %s', async (name, env) => {
    await expect(`${explainAllocation(await resolve(env)).join('\n')}\n`).toMatchFileSnapshot(
      `golden/explain-${name}.txt`,
    )
  })

  it.each(recordedJobs)('starts an agent on the other nodes of %s', async (name, env) => {
    const allocation = await resolve(env)
    const command = (node: string | undefined) =>
      ['/opt/node', 'agent.js', ...(node ? ['--node', node] : [])] as [string, ...string[]]
    const starts = adapterOf(allocation.scheduler).start(allocation, allocation.nodes.slice(1), command)
    expect(starts.flatMap(({ nodes }) => nodes)).toEqual(allocation.nodes.slice(1).map((node) => node.name))
    await expect(`${starts.map(({ argv }) => argv.join(' ')).join('\n')}\n`).toMatchFileSnapshot(
      `golden/start-${name}.txt`,
    )
  })

  it('starts nothing on no node', async () => {
    for (const [, env] of recordedJobs) {
      const allocation = await resolve(env)
      expect(adapterOf(allocation.scheduler).start(allocation, [], () => ['x'])).toEqual([])
    }
  })
})

describe('Slurm', () => {
  it('takes the step options of the batch job away from srun', async () => {
    const allocation = await resolve(slurm)
    const [start] = adapterOf('slurm').start(allocation, allocation.nodes, () => ['x'])
    expect(start).toMatchObject({
      via: 'command',
      env: { SLURM_CPUS_PER_TASK: undefined, SLURM_EXACT: undefined },
    })
    expect(Object.keys((start as { env: object }).env)).toContain('SLURM_CPUS_PER_TASK')
  })

  it('reads uneven tasks, memory per node and per CPU', async () => {
    const env = {
      ...slurm,
      SLURM_TASKS_PER_NODE: '4(x2),3',
      SLURM_JOB_CPUS_PER_NODE: '8(x2),6',
      SLURM_MEM_PER_CPU: '1024',
    }
    const { nodes } = await resolve(env)
    expect(nodes.map(({ slots, cpus, memory }) => [slots, cpus, memory])).toEqual([
      [4, 8, 2 ** 33],
      [4, 8, 2 ** 33],
      [3, 6, 6 * 2 ** 30],
    ])
    const whole = await resolve({ ...slurm, SLURM_MEM_PER_NODE: '2000' })
    expect(whole.nodes[0]?.memory).toBe(2000 * 2 ** 20)
  })

  it('counts CPUs inside a step, whose task counts are its own', async () => {
    const step = { ...recorded('slurm-step'), SLURM_STEP_NUM_TASKS: '1', SLURM_TASKS_PER_NODE: '1' }
    expect(short(await resolve(step))).toBe('node1:2 node2:2 node3:2')
    expect(short(await resolve({ ...step, SLURM_CPUS_PER_TASK: '2' }))).toBe('node1:1 node2:1 node3:1')
  })

  it('knows the end of the job from its variable, else from squeue', async () => {
    const told = await resolve({ ...slurm, SLURM_JOB_END_TIME: '1800000000' })
    expect(told.deadline).toBe(1_800_000_000_000)
    const asked = await resolve(slurm, { answers: { 'squeue -h -j 1 -o %L': '1:30\n' } })
    expect(asked.deadline).toBe(1_000_000 + 90_000)
    const unlimited = await resolve(slurm, { answers: { 'squeue -h -j 1 -o %L': 'UNLIMITED\n' } })
    expect(unlimited.deadline).toBeUndefined()
  })

  it.each([
    ['0:05', 5],
    ['59:59', 3599],
    ['1:00:00', 3600],
    ['2-03:04:05', 183_845],
    ['INVALID', undefined],
    ['', undefined],
  ])('reads the time left %s', (text, seconds) => {
    expect(parseTimeLeft(text)).toBe(seconds)
  })

  it('refuses an environment that contradicts itself', async () => {
    await expect(resolve({ ...slurm, SLURM_TASKS_PER_NODE: '2(x4)' })).rejects.toThrow(
      /for 4 nodes, the job has 3/,
    )
    await expect(resolve({ ...slurm, SLURM_JOB_NODELIST: 'a,a,b' })).rejects.toThrow(/twice/)
    await expect(resolve({ ...slurm, SLURM_JOB_NODELIST: '-x' })).rejects.toThrow(/not a host name/)
    await expect(resolve({ ...slurm, SLURM_JOB_NODELIST: ',' })).rejects.toThrow(/no node/)
  })
})

describe('one of several tasks', () => {
  it.each([
    ['srun', recorded('slurm-step'), /leet-mpirun -n 3 PROGRAM, without srun/],
    ['pbsdsh of Torque', recorded('torque-task'), /without pbsdsh/],
    ['pbsdsh of OpenPBS', recorded('openpbs-task'), /without pbsdsh/],
    ['flux run', { ...flux, FLUX_JOB_SIZE: '4', FLUX_TASK_RANK: '1', FLUX_JOB_ID: 'f1' }, /flux batch/],
  ])('of %s is refused with the right command', async (_, env, hint) => {
    const error = await resolve(env).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(LeetError)
    expect(error).toMatchObject({ code: 'LEET_E_SEVERAL_TASKS', exitCode: 2 })
    expect((error as LeetError).details.hint).toMatch(hint)
  })
})

describe('broken allocations', () => {
  it.each([
    ['a node file that is gone', torque, {}, /cannot be read/],
    ['an empty node file', torque, { [torque.PBS_NODEFILE as string]: '\n' }, /names no node/],
    [
      'a host file with garbage',
      gridengine,
      { [gridengine.PE_HOSTFILE as string]: 'node1' },
      /with its slots/,
    ],
    ['a node that is an option', torque, { [torque.PBS_NODEFILE as string]: '-x\n' }, /not a host name/],
  ])('%s', async (_, env, given, why) => {
    await expect(resolve(env, { files: given as Record<string, string> })).rejects.toThrow(why)
  })

  it('hosts and slots of LSF that do not stand in turn', async () => {
    await expect(resolve({ ...lsf, LSB_MCPU_HOSTS: 'a 1 b' })).rejects.toThrow(/in turn/)
  })

  it.each([
    ['nothing', undefined],
    ['no JSON', '{'],
    ['an array', '[]'],
    ['no names', JSON.stringify({ execution: { R_lite: [] } })],
    ['more ranks than names', JSON.stringify({ execution: { R_lite: [{ rank: '0-9' }], nodelist: ['a'] } })],
    ['a bomb', JSON.stringify({ execution: { R_lite: [{ rank: '0-999999999' }], nodelist: ['a'] } })],
    ['one node twice', JSON.stringify({ execution: { R_lite: [{ rank: '0-1' }], nodelist: ['a,a'] } })],
  ])('a resource set of Flux that is %s', async (_, text) => {
    const given = text === undefined ? {} : { 'flux kvs get resource.R': text }
    await expect(resolve(flux, { answers: given as Record<string, string> })).rejects.toThrow(LeetError)
  })
})

describe('the table of precedence', () => {
  const hostfile = { hostfile: 'hosts', files: { ...files, hosts: 'node2 slots=1\nnode1\nnode9:4' } }
  const inside = { hostfile: 'hosts', files: { ...files, hosts: 'node2 slots=1\nnode1' } }

  it.each([
    ['nothing: this host', {}, {}, 'local', 'node1:8'],
    ['-H', {}, { hosts: 'a:2,b' }, 'hostfile', 'a:2 b:1'],
    ['hostfile', {}, hostfile, 'hostfile', 'node2:1 node1:8 node9:4'],
    ['hostfile and -H', {}, { ...hostfile, hosts: 'node9:2,node1' }, 'hostfile', 'node1:8 node9:2'],
    ['allocation', slurm, {}, 'slurm', 'node1:2 node2:2 node3:2'],
    ['allocation and -H', slurm, { hosts: 'node3:1,node1' }, 'slurm', 'node1:2 node3:1'],
    ['allocation and hostfile', slurm, inside, 'slurm', 'node1:2 node2:1'],
    ['all three', slurm, { ...inside, hosts: 'node2' }, 'slurm', 'node2:1'],
    ['-H cannot raise slots', slurm, { hosts: 'node1:64' }, 'slurm', 'node1:2'],
    ['a batch job left aside', slurm, { scheduler: 'local' as const }, 'local', 'node1:8'],
    [
      'a batch job left aside for -H',
      slurm,
      { scheduler: 'hostfile' as const, hosts: 'x:3' },
      'hostfile',
      'x:3',
    ],
    ['localhost is this host', {}, { hosts: 'localhost:2' }, 'hostfile', 'node1:2'],
    ['localhost within an allocation', slurm, { hosts: 'localhost' }, 'slurm', 'node1:2'],
    ['a long name for a short one', slurm, { hosts: 'node2.site.org' }, 'slurm', 'node2:2'],
    ['Flux inside Slurm', { ...slurm, ...flux }, {}, 'flux', 'fluke3:4 fluke4:4 fluke5:3'],
  ])('%s', async (_, env, more, scheduler, nodes) => {
    const allocation = await resolve(env, more)
    expect(allocation.scheduler).toBe(scheduler)
    expect(short(allocation)).toBe(nodes)
  })

  it('says what was left aside and what was not raised', async () => {
    const text = explainAllocation(await resolve({ ...slurm, ...flux })).join('\n')
    expect(text).toContain('Slurm is left aside')
    expect(explainAllocation(await resolve(slurm, { hosts: 'node1:64' })).join('\n')).toContain(
      'node1 keeps 2 slots',
    )
  })

  it.each([
    [
      'a host outside the allocation',
      slurm,
      { hosts: 'node4' },
      /node4 is not among the nodes.*node1, node2, node3/,
    ],
    [
      'a short name for several nodes',
      { ...slurm, SLURM_JOB_NODELIST: 'a.x,a.y,b' },
      { hosts: 'a' },
      /several/,
    ],
    ['a hostfile that is gone', {}, { hostfile: 'none' }, /none cannot be read/],
    ['a hostfile without hosts', {}, { hostfile: 'h', files: { h: '# nobody\n' } }, /names no host/],
    ['an empty -H', {}, { hosts: ',' }, /no host is named/],
    ['localhost beside its own name', {}, { hosts: 'localhost,node1' }, /one host/],
    ['a batch system that is not there', {}, { scheduler: 'slurm' as const }, /not a job of Slurm/],
  ])('refuses %s', async (_, env, more, why) => {
    await expect(resolve(env as Record<string, string>, more)).rejects.toThrow(why)
    await expect(resolve(env as Record<string, string>, more)).rejects.toMatchObject({ exitCode: 2 })
  })
})

describe('nodeOfThisProcess', () => {
  it('believes the scheduler before the host name', async () => {
    const allocation = await resolve(slurm)
    expect(nodeOfThisProcess(allocation, { env: slurm, hostname: 'other' })?.name).toBe('node1')
    expect(nodeOfThisProcess(allocation, { env: {}, hostname: 'node2.site.org' })?.name).toBe('node2')
    expect(nodeOfThisProcess(allocation, { env: {}, hostname: 'head' })).toBeUndefined()
  })

  it('is the only node of a bare host', async () => {
    const allocation = await resolve({}, { hostname: 'odd_name' })
    expect(short(allocation)).toBe('localhost:8')
    expect(nodeOfThisProcess(allocation, { env: {}, hostname: 'odd_name' })?.name).toBe('localhost')
  })
})

describe('hostile environments', () => {
  it('never make anything but an allocation or a refusal', async () => {
    const names = [...new Set(recordedJobs.flatMap(([, env]) => Object.keys(env)))]
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom('1', '2(x3)', 'node[1-3]', '[0-999999999]', 'a 1 b 2', '/x', '-x', 'n[1-9999]'),
    )
    const anyEnv = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 20 })
    await fc.assert(
      fc.asyncProperty(
        anyEnv,
        fc.option(fc.constantFrom(...SCHEDULERS), { nil: undefined }),
        value,
        async (env, s, text) => {
          const world = request(env, {
            ...(s && { scheduler: s }),
            readFile: () => Promise.resolve(text),
            query: () => Promise.resolve(text),
          })
          const result = await resolveAllocation(world).catch((error: unknown) => error)
          if (!(result instanceof LeetError)) {
            const { nodes } = result as Allocation
            expect(nodes.length).toBeGreaterThan(0)
            for (const { name } of nodes) expect(name).toMatch(/^[a-z0-9][a-z0-9.-]*$/i)
            explainAllocation(result as Allocation)
          }
        },
      ),
      { numRuns: 1500 },
    )
  })
})

describe('what pbsdsh says', () => {
  it('is what its exit status conceals', () => {
    expect(taskStatus('')).toBe(0)
    expect(taskStatus('error 17002 on spawn\n')).toBe(1)
    expect(taskStatus('pbsdsh: spawn failed on node 2 err TM_ENOTFOUND\n')).toBe(1)
    expect(taskStatus('pbsdsh: task 0 exit status 5\npbsdsh: task 0x00000001 exit status 1\n')).toBe(5)
  })
})

describe('the environment in which agents are started', () => {
  const start = { via: 'command', nodes: ['node1'], argv: ['x'], env: { A: undefined } } as const
  const pathOf = (name: (typeof SCHEDULERS)[number], env: NodeJS.ProcessEnv) =>
    startEnvironment(adapterOf(name), start, env).PATH

  it('finds the batch system’s commands where PATH does not lead', () => {
    expect(pathOf('openpbs', { PATH: '/bin' })).toMatch(/^\/bin:\/opt\/pbs\/bin:/)
    expect(pathOf('torque', { PATH: '/bin', PBS_EXEC: '/opt/site' })).toMatch(/^\/bin:\/opt\/site\/bin:/)
    expect(pathOf('gridengine', { PATH: '/bin', SGE_BINARY_PATH: '/sge/bin/lx' })).toBe('/bin:/sge/bin/lx')
    expect(pathOf('lsf', { PATH: '/bin', LSF_BINDIR: 'relative' })).toBe('/bin')
    expect(pathOf('slurm', {})).toBe('')
  })

  it('has what the start command must have, and not what it must not', () => {
    expect(startEnvironment(adapterOf('slurm'), start, { A: '1', B: '2' })).toMatchObject({
      A: undefined,
      B: '2',
    })
  })
})
