// Slurm. Variables: sbatch(1), srun(1); seen with 22.05.8 (batch script, step, salloc).
import { LeetError } from '../common/index.ts'
import type { AdapterInputs, AllocatedNode, Origin, SchedulerAdapter } from './adapter.ts'
import { checkHostName } from './host-name.ts'
import { expandHostlist, foldHostlist } from './hostlist.ts'
import { allocationError, numberFrom, scratchDir, submitDir } from './nodes.ts'
import { expandCounts } from './tasks.ts'

export const slurm: SchedulerAdapter = {
  name: 'slurm',
  title: 'Slurm',

  detect(env) {
    const list = ['SLURM_JOB_NODELIST', 'SLURM_NODELIST'].find((name) => env[name])
    return env.SLURM_JOB_ID && list ? `SLURM_JOB_ID and ${list}` : undefined
  },

  refuseTask(env) {
    // A batch script has SLURM_PROCID too, but no step.
    const tasks = numberFrom(env.SLURM_STEP_NUM_TASKS ?? env.SLURM_NTASKS) ?? 1
    if (env.SLURM_STEP_ID === undefined || tasks <= 1) return undefined
    return new LeetError({
      code: 'LEET_E_SEVERAL_TASKS',
      what: `srun started this command ${tasks} times; it must run once and starts the ranks itself`,
      where: `Slurm job ${env.SLURM_JOB_ID}, step ${env.SLURM_STEP_ID}`,
      hint: `leet-mpirun -n ${tasks} PROGRAM, without srun, in the job script or under salloc`,
      exitCode: 2,
    })
  },

  async allocation(inputs) {
    const { env } = inputs
    const listVariable = env.SLURM_JOB_NODELIST ? 'SLURM_JOB_NODELIST' : 'SLURM_NODELIST'
    const names = expandHostlist(env[listVariable] ?? '', 'slurm', listVariable)
    for (const name of names) checkHostName(name, listVariable)
    if (names.length === 0) throw allocationError(listVariable, 'it names no node')
    if (new Set(names).size < names.length) throw allocationError(listVariable, 'it names a node twice')

    const cpus = perNode(env.SLURM_JOB_CPUS_PER_NODE, 'SLURM_JOB_CPUS_PER_NODE', names.length)
    const slots = slotsPerNode(inputs, names.length, cpus)
    const memory = memoryPerNode(env, cpus)
    const deadline = await deadlineOf(inputs)
    const nodes = names.map((name, i): AllocatedNode => {
      const bytes = memory?.of(i)
      return {
        name,
        slots: slots.of(i),
        ...(cpus && { cpus: cpus[i] as number }),
        ...(bytes !== undefined && { memory: bytes }),
      }
    })
    const origins: Origin[] = [
      { what: `${names.length} nodes`, from: `${listVariable}=${env[listVariable]}` },
      { what: 'slots', from: slots.from },
      ...(cpus ? [{ what: 'CPUs', from: `SLURM_JOB_CPUS_PER_NODE=${env.SLURM_JOB_CPUS_PER_NODE}` }] : []),
      ...(memory ? [{ what: 'memory', from: memory.from }] : []),
      ...(deadline ? [{ what: 'end of the job', from: deadline.from }] : []),
      ...((numberFrom(env.SLURM_HET_SIZE) ?? 1) > 1
        ? [
            {
              what: 'only the first component of a heterogeneous job',
              from: `SLURM_HET_SIZE=${env.SLURM_HET_SIZE}`,
            },
          ]
        : []),
    ]
    return {
      scheduler: 'slurm',
      jobId: env.SLURM_JOB_ID,
      nodes,
      ...(deadline && { deadline: deadline.at }),
      workDir: submitDir(inputs, 'SLURM_SUBMIT_DIR'),
      scratchDir: scratchDir(env),
      origins,
    }
  },

  start({ jobId }, nodes, command) {
    if (nodes.length === 0) return []
    const names = nodes.map((node) => node.name)
    return [
      {
        via: 'command',
        nodes: names,
        argv: [
          'srun',
          `--jobid=${jobId}`,
          // Shares the nodes with every other step of the job, the one we may run in ourselves included.
          '--overlap',
          `--nodes=${names.length}`,
          `--ntasks=${names.length}`,
          '--ntasks-per-node=1',
          `--nodelist=${foldHostlist(names, 'slurm')}`,
          // No PMI of Slurm's, no binding, all memory of the job: the agent shares out the node itself.
          // Where the site has no binding plug-in, srun says so in a line on standard error.
          '--mpi=none',
          '--cpu-bind=none',
          '--mem=0',
          '--export=ALL',
          '--input=none',
          '--unbuffered',
          // One agent's end must not end the others: the controller decides.
          '--kill-on-bad-exit=0',
          '--wait=0',
          '--quit-on-interrupt',
          '--',
          ...command(undefined),
        ],
        env: Object.fromEntries(STEP_OPTIONS.map((name) => [name, undefined])),
      },
    ]
  },
  nodeVariable: 'SLURMD_NODENAME',
  forwardsEnvironment: true,
  tellsExitStatus: true,

  atCancel:
    'scancel and the time limit send CONT and TERM to every process of every step at once, KILL after KillWait (30 s unless the site says otherwise)',
}

/**
 * Options of the batch job that srun takes from its environment and that would give a step of one task per node less
 * than the whole node, or contradict the options above (srun(1), INPUT ENVIRONMENT VARIABLES).
 */
const STEP_OPTIONS = [
  'SLURM_CPUS_PER_TASK',
  'SLURM_TRES_PER_TASK',
  'SLURM_NTASKS_PER_CORE',
  'SLURM_NTASKS_PER_SOCKET',
  'SLURM_NTASKS_PER_GPU',
  'SLURM_DISTRIBUTION',
  'SLURM_EXACT',
  'SLURM_EXCLUSIVE',
  'SLURM_HINT',
  'SLURM_MEM_PER_CPU',
  'SLURM_MEM_PER_GPU',
  'SLURM_MEM_PER_NODE',
  'SLURM_THREADS_PER_CORE',
  'SLURM_CPU_BIND',
  'SLURM_ARBITRARY_NODELIST',
]

function perNode(text: string | undefined, where: string, nodes: number): number[] | undefined {
  if (!text) return undefined
  const counts = expandCounts(text, where)
  if (counts.length !== nodes)
    throw allocationError(where, `it is for ${counts.length} nodes, the job has ${nodes}`)
  return counts
}

interface PerNode<T> {
  readonly of: (node: number) => T
  readonly from: string
}

function slotsPerNode({ env }: AdapterInputs, nodes: number, cpus: number[] | undefined): PerNode<number> {
  const text = env.SLURM_TASKS_PER_NODE
  // Within a step the variable tells the step's tasks, not the job's.
  if (text && env.SLURM_STEP_ID === undefined) {
    const counts = perNode(text, 'SLURM_TASKS_PER_NODE', nodes) as number[]
    return { of: (i) => counts[i] as number, from: `SLURM_TASKS_PER_NODE=${text}` }
  }
  if (!cpus) return { of: () => 1, from: 'one per node: no variable tells tasks or CPUs' }
  const perTask = Math.max(1, numberFrom(env.SLURM_CPUS_PER_TASK) ?? 1)
  return {
    of: (i) => Math.max(1, Math.floor((cpus[i] as number) / perTask)),
    from: `SLURM_JOB_CPUS_PER_NODE=${env.SLURM_JOB_CPUS_PER_NODE}${perTask > 1 ? ` by SLURM_CPUS_PER_TASK=${perTask}` : ''}`,
  }
}

/** Slurm counts memory in MiB; 0 stands for the whole node. */
function memoryPerNode(
  env: AdapterInputs['env'],
  cpus: number[] | undefined,
): PerNode<number | undefined> | undefined {
  const node = numberFrom(env.SLURM_MEM_PER_NODE)
  if (node) return { of: () => node * 2 ** 20, from: `SLURM_MEM_PER_NODE=${node}` }
  const cpu = numberFrom(env.SLURM_MEM_PER_CPU)
  if (!cpu || !cpus) return undefined
  return { of: (i) => cpu * (cpus[i] as number) * 2 ** 20, from: `SLURM_MEM_PER_CPU=${cpu} by CPUs` }
}

async function deadlineOf({
  env,
  query,
  now,
}: AdapterInputs): Promise<{ at: number; from: string } | undefined> {
  // Set since Slurm 23.02.
  const end = env.SLURM_JOB_END_TIME
  if (end !== undefined && /^\d{9,11}$/.test(end))
    return { at: Number(end) * 1000, from: `SLURM_JOB_END_TIME=${end}` }
  if (!/^\d+$/.test(env.SLURM_JOB_ID ?? '')) return undefined
  const left = parseTimeLeft(
    (await query(['squeue', '-h', '-j', env.SLURM_JOB_ID as string, '-o', '%L'])) ?? '',
  )
  return left === undefined ? undefined : { at: now + left * 1000, from: 'squeue, time left' }
}

/** Seconds of squeue's `%L`: `[DAYS-][[HOURS:]MINUTES:]SECONDS`; undefined for UNLIMITED, INVALID and the like. */
export function parseTimeLeft(text: string): number | undefined {
  const match = /^(?:(\d{1,5})-)?(?:(?:(\d{1,3}):)?(\d{1,3}):)?(\d{1,3})$/.exec(text.trim())
  if (!match) return undefined
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0))
  return (((days as number) * 24 + (hours as number)) * 60 + (minutes as number)) * 60 + (seconds as number)
}
