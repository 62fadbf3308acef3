// What a scheduler adapter is: what the batch system gave us, where each figure comes from, and how a process gets onto
// each of its nodes inside the job's own control.
import type { LeetError } from '../common/index.ts'

/** Every source of nodes. The PBS family is told apart because its members differ at cancel. */
export const SCHEDULERS = [
  'flux',
  'slurm',
  'lsf',
  'gridengine',
  'torque',
  'openpbs',
  'hostfile',
  'local',
] as const
export type SchedulerName = (typeof SCHEDULERS)[number]

/** One node of an allocation. */
export interface AllocatedNode {
  /** Host name, RFC 1123. */
  readonly name: string
  /** Ranks that may be put there. */
  readonly slots: number
  /** Most ranks ever, hostfile's `max_slots`. */
  readonly maxSlots?: number
  /** CPUs that the job has there. */
  readonly cpus?: number
  /** Bytes of memory that the job has there. */
  readonly memory?: number
  /** The scheduler's own number of it, by which it starts processes there: PBS's first slot, Flux's broker rank. */
  readonly index?: number
  /** Login name for SSH, when a hostfile gives one. */
  readonly user?: string
}

/** A figure and where it came from, for `leet explain allocation`. */
export interface Origin {
  readonly what: string
  readonly from: string
}

/** What the job may use. Nodes are in the scheduler's order and differ in name. */
export interface Allocation {
  readonly scheduler: SchedulerName
  /** The scheduler's id of the job; undefined without a scheduler. */
  readonly jobId?: string
  readonly nodes: readonly AllocatedNode[]
  /** When the scheduler ends the job, milliseconds since 1970; undefined when it does not say. */
  readonly deadline?: number
  /** Where the job was submitted from; without a scheduler the working directory. */
  readonly workDir: string
  /** Node-local scratch space. */
  readonly scratchDir: string
  readonly origins: readonly Origin[]
}

/** The world as an adapter sees it: nothing is read in any other way. */
export interface AdapterInputs {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Working directory of the caller. */
  readonly cwd: string
  /** This host's name, as gethostname(2) gives it. */
  readonly hostname: string
  /** CPUs this process may use. */
  readonly cpus: number
  /** Reads a text file; rejects when it cannot be read. */
  readonly readFile: (path: string) => Promise<string>
  /** Runs a short command of the scheduler; its standard output, or undefined when it failed. */
  readonly query: (argv: readonly [string, ...string[]]) => Promise<string | undefined>
  /** Milliseconds since 1970. */
  readonly now: number
}

/** How one or several nodes get their process. */
export type NodeStart =
  | {
      readonly via: 'command'
      /** Nodes on which this one command starts a process each. */
      readonly nodes: readonly string[]
      readonly argv: readonly [string, ...string[]]
      /** Variables that the command itself must be started with, or without (undefined). */
      readonly env: Readonly<Record<string, string | undefined>>
    }
  | {
      readonly via: 'ssh'
      readonly nodes: readonly [string]
      readonly user?: string
      /** To be quoted for the remote shell. */
      readonly argv: readonly [string, ...string[]]
    }

/** The argument vector of the process on a node; `node` is undefined when one command starts it on several. */
export type NodeCommand = (node: string | undefined) => readonly [string, ...string[]]

/** One batch system. */
export interface SchedulerAdapter {
  readonly name: SchedulerName
  /** As a sentence names it. */
  readonly title: string
  /** True when it follows documentation only and was never run on the real thing. */
  readonly neverRun?: true
  /** The variables by which this process is seen to run in one of its jobs; undefined when it does not. */
  detect(env: AdapterInputs['env']): string | undefined
  /** A refusal when this process is one of several tasks that the scheduler started at once. */
  refuseTask?(env: AdapterInputs['env']): LeetError | undefined
  allocation(inputs: AdapterInputs): Promise<Allocation>
  /** How to start `command` once on each of `nodes`, which are of the allocation. */
  start(allocation: Allocation, nodes: readonly AllocatedNode[], command: NodeCommand): readonly NodeStart[]
  /** Where the batch system's commands may be besides PATH, which job scripts often have none of in theirs. */
  commandFolders?(env: AdapterInputs['env']): readonly (string | undefined)[]
  /** Variable that names the node in a process started there; undefined: the command is told its node. */
  readonly nodeVariable?: string
  /** Whether started processes see the starter's environment. If not, secrets go through files. */
  readonly forwardsEnvironment: boolean
  /** Whether the start command's exit status is that of the process. */
  readonly tellsExitStatus: boolean
  /** Where it is not: the largest status of its processes by what the start command wrote. */
  statusFrom?(said: string): number
  /** What it does to a job that is cancelled or out of time, as a sentence. */
  readonly atCancel: string
}
