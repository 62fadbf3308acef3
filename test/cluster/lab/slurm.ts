// A real Slurm on the lab's hosts: munged on each, slurmctld on the head, slurmd on the nodes.
import { availableParallelism } from 'node:os'
import type { HostPlan } from './hosts.ts'

/** Processors that Slurm believes each node has; the machine's real ones are shared by all. */
export const NODE_CPUS = 4
/** MiB of memory that Slurm believes each node has. */
export const NODE_MEMORY = 6000
/** Seconds from SIGTERM to SIGKILL at cancel and time limit. */
export const KILL_WAIT = 5

/** /etc/slurm/slurm.conf, as it works without systemd and accounting, and without cgroups unless it is to `confine` jobs. */
export function slurmConf(head: HostPlan, nodes: readonly HostPlan[], confine: boolean): string {
  const cpus = confine ? availableParallelism() : NODE_CPUS
  return [
    'ClusterName=lab',
    `SlurmctldHost=${head.name}(${head.address})`,
    'SlurmUser=root',
    'AuthType=auth/munge',
    'ProctrackType=proctrack/linuxproc',
    `TaskPlugin=${confine ? 'task/cgroup' : 'task/none'}`,
    'MpiDefault=none',
    'SwitchType=switch/none',
    'JobAcctGatherType=jobacct_gather/none',
    'SelectType=select/cons_tres',
    `SelectTypeParameters=${confine ? 'CR_Core_Memory' : 'CR_Core'}`,
    'SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0',
    'SlurmdParameters=config_overrides',
    'PropagateResourceLimits=NONE',
    'ReturnToService=2',
    `KillWait=${KILL_WAIT}`,
    'OverTimeLimit=0',
    'StateSaveLocation=/var/lib/slurm/state',
    'SlurmdSpoolDir=/var/spool/slurmd',
    'SlurmctldPidFile=/run/slurm/slurmctld.pid',
    'SlurmdPidFile=/run/slurm/slurmd.pid',
    ...nodes.map(
      (node) =>
        `NodeName=${node.name} NodeAddr=${node.address} CPUs=${cpus} RealMemory=${NODE_MEMORY} State=UNKNOWN`,
    ),
    'PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP',
    '',
  ].join('\n')
}

/** /etc/slurm/cgroup.conf: with a private /sys slurmd dies unless the version is told. */
export function cgroupConf(confine: boolean): string {
  const limits = confine ? ['ConstrainCores=yes', 'ConstrainRAMSpace=yes'] : []
  return ['CgroupPlugin=cgroup/v1', ...limits, ''].join('\n')
}

/** State of a job as `scontrol show job` tells it. */
export interface JobState {
  /** `RUNNING`, `COMPLETED`, `FAILED`, `CANCELLED`, `TIMEOUT`, … */
  readonly state: string
  readonly exitStatus: number
  /** Number of the signal that ended the batch script, 0 for none. */
  readonly signal: number
  /** Where its standard output goes, as the hosts see it; empty for none. */
  readonly stdout: string
}

/** Reads the output of `scontrol show job -o ID`. */
export function parseJob(text: string): JobState | undefined {
  const field = (name: string) => new RegExp(`(?:^| )${name}=(\\S+)`).exec(text)?.[1]
  const state = field('JobState')
  const [exitStatus, signal] = (field('ExitCode') ?? '').split(':').map(Number)
  if (!state || exitStatus === undefined || signal === undefined) return undefined
  return { state, exitStatus, signal, stdout: field('StdOut') ?? '' }
}

/** Whether a job in this state is over and its nodes are free again. */
export function isOver(state: string): boolean {
  return !['PENDING', 'CONFIGURING', 'RUNNING', 'COMPLETING', 'SUSPENDED', 'STOPPED'].includes(state)
}
