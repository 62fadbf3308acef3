// A lab with a real Slurm: munged on each host, slurmctld on the head, slurmd on the nodes.
import { randomBytes } from 'node:crypto'
import { Deadline, poll, type WaitLimits } from '../../../common/index.ts'
import { mountCgroups } from './cgroups.ts'
import {
  type Cluster,
  type LabCommandOptions,
  type LabOptions,
  machineAccount,
  startCluster,
} from './cluster.ts'
import { labError } from './hosts.ts'
import type { HostProcess } from './inspect.ts'
import { cgroupConf, isOver, type JobState, parseJob, slurmConf } from './slurm.ts'

/** A running lab with Slurm. */
export interface Lab extends Cluster {
  /** Submits a batch script from the head; `options` are sbatch's. Resolves with the job's id. */
  sbatch(
    script: string,
    options?: LabCommandOptions & { readonly options?: readonly string[] },
  ): Promise<number>
  job(id: number): Promise<JobState>
  /** Waits until a job's state is as wanted; over and its nodes free unless told. */
  waitJob(id: number, limits?: Partial<WaitLimits>, wanted?: (state: string) => boolean): Promise<JobState>
  scancel(
    id: number,
    options?: { readonly signal?: string; readonly args?: readonly string[] },
  ): Promise<void>
  /** The processes of a node's own slurmd. */
  slurmd(node: string): readonly HostProcess[]
  /** Starts the slurmd of a node again when it has ended. */
  restartSlurmd(node: string): Promise<void>
}

const START_MS = 120_000
const JOB_MS = 300_000

/**
 * Makes a lab with Slurm; with `confine` its jobs get only the processors and the memory of their own, as on sites whose
 * nodes several jobs share, and as many processors as the machine has. Its hosts are there in under a second, Slurm and NFS ready a moment later.
 */
export async function startLab({
  confine = false,
  ...options
}: LabOptions & { readonly confine?: boolean }): Promise<Lab> {
  const munge = await machineAccount('munge')
  const key = randomBytes(128)
  const commandOf = (name: string) => ['slurmd', '-D', '-N', name]
  let startSlurmd: (name: string) => void = () => {}
  const cluster = await startCluster(options, {
    async layHost(_host, all, files) {
      const [head, ...others] = all as [(typeof all)[0], ...typeof all]
      const nodes = others.filter(({ name }) => name.startsWith('node'))
      await files.put('slurm/slurm.conf', slurmConf(head, nodes, confine))
      await files.put('slurm/cgroup.conf', cgroupConf(confine))
      await files.put('munge/munge.key', key, { user: munge, mode: 0o400 })
    },
    async start({ id, nodes, run }, service) {
      if (confine) {
        for (const name of nodes) {
          const { status, stderr } = await run(name, ['sh', '-c', mountCgroups(id, name)])
          if (status !== 0) throw labError(stderr)
        }
      }
      const munged = ['munged', '--foreground', '--force', '--num-threads=2']
      for (const name of ['head', ...nodes]) {
        service(name, [...munged, '--socket=/run/munge/munge.socket.2'], { user: munge })
      }
      service('head', ['slurmctld', '-D'])
      startSlurmd = (name) => service(name, commandOf(name))
      for (const name of nodes) startSlurmd(name)
      const idle = async () => {
        const { stdout } = await run('head', ['sinfo', '-h', '-N', '-o', '%t'])
        const states = stdout.split('\n').filter(Boolean)
        return states.length === nodes.length && states.every((state) => state === 'idle') ? true : undefined
      }
      await poll(idle, 50, { deadline: Deadline.after(START_MS) }, { what: 'Slurm to see all nodes idle' })
    },
  })
  const { must } = cluster
  const job: Lab['job'] = async (id) => {
    const text = await must(['scontrol', 'show', 'job', '-o', `${id}`])
    const state = parseJob(text)
    if (!state) throw labError(`scontrol said of job ${id}: ${text}`)
    return state
  }
  const slurmd: Lab['slurmd'] = (name) =>
    cluster.processes(name).filter(({ argv }) => argv.join(' ') === commandOf(name).join(' '))
  return {
    ...cluster,
    job,
    slurmd,
    async restartSlurmd(name) {
      const ended = () => slurmd(name).length === 0 || undefined
      await poll(ended, 50, { deadline: Deadline.after(START_MS) }, { what: `the end of slurmd on ${name}` })
      startSlurmd(name)
    },
    sbatch: async (script, options = {}) =>
      Number(await must(['sbatch', '--parsable', ...(options.options ?? [])], { ...options, input: script })),
    waitJob: (id, limits, wanted = isOver) => {
      const probe = async () => {
        const state = await job(id)
        return wanted(state.state) ? state : undefined
      }
      const deadline = limits?.deadline ?? Deadline.after(JOB_MS)
      return poll(probe, 100, { deadline, signal: limits?.signal }, { what: `job ${id}` })
    },
    scancel: async (id, { signal, args = [] } = {}) => {
      await must(['scancel', ...(signal ? ['-s', signal] : []), ...args, `${id}`])
    },
  }
}
