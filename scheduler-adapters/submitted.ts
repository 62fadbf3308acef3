// A job that `leet submit --wait` has handed over: how each batch system tells its number, its end and its exit status,
// and what cancels it.
// Sources: sbatch(1); qsub(1) of Grid Engine (-sync); qsub(1B) of OpenPBS (-W block); qsub(1B) and qstat(1B) of Torque, which
// has no such word; bsub(1) (-K); flux-batch(1), flux-job(1).
import type { CommandResult } from '../common/index.ts'
import type { BatchScheduler } from './submit.ts'

/** How the end of a submitted job is learnt. */
export interface JobEnd {
  /** Words of the submitting command with which it stays until the job is over, and ends with its exit status. */
  readonly words: readonly string[]
  /** Where there are none: what is asked for the job, and its exit status from the answer; undefined: not over yet. */
  readonly ask?: {
    readonly command: (id: string) => readonly [string, ...string[]]
    readonly statusOf: (answer: CommandResult) => number | undefined
  }
  /** The job in what the submitting command prints first. */
  readonly id: RegExp
  readonly cancel: (id: string) => readonly [string, ...string[]]
  /**
   * Whether the job writes its files itself: the batch system would keep output elsewhere until the end (PBS), or add a
   * report of its own (LSF).
   */
  readonly writesItself: boolean
}

/** The end of jobs of each batch system. */
export const JOB_ENDS: Readonly<Record<BatchScheduler, JobEnd>> = {
  slurm: {
    words: ['--wait'],
    id: /^Submitted batch job (\d+)/m,
    cancel: (id) => ['scancel', id],
    writesItself: false,
  },
  gridengine: {
    words: ['-sync', 'y'],
    id: /^Your job (\d+) /m,
    cancel: (id) => ['qdel', id],
    writesItself: false,
  },
  openpbs: {
    words: ['-W', 'block=true'],
    id: /^(\d+\.\S+)/m,
    cancel: (id) => ['qdel', id],
    writesItself: true,
  },
  torque: {
    words: [],
    ask: { command: (id) => ['qstat', '-f', '-1', id], statusOf: torqueStatus },
    id: /^(\d+\.\S+)/m,
    cancel: (id) => ['qdel', id],
    writesItself: true,
  },
  lsf: {
    words: ['-K'],
    id: /^Job <(\d+)>/m,
    cancel: (id) => ['bkill', id],
    writesItself: true,
  },
  flux: {
    words: [],
    ask: { command: (id) => ['flux', 'job', 'status', id], statusOf: ({ status }) => status },
    id: /^(ƒ?\w+)$/m,
    cancel: (id) => ['flux', 'cancel', id],
    writesItself: false,
  },
}

/** A status that is no job's own: the job was refused, or is not known any more. */
const UNKNOWN = 255

/** Torque counts 256 and the signal for a job that was killed, and negative numbers for one that it could not run. */
function torqueStatus({ status, stdout }: CommandResult): number | undefined {
  // Finished jobs are known for some minutes (keep_completed).
  if (status !== 0) return UNKNOWN
  if (!/^\s*job_state = C$/m.test(stdout)) return undefined
  const told = Number(/^\s*exit_status = (-?\d+)$/m.exec(stdout)?.[1] ?? UNKNOWN)
  if (told < 0) return UNKNOWN
  return told > 256 ? 128 + ((told - 256) & 127) : told
}

/**
 * The batch system whose commands are here. `has` tells of a command, `versionOf` what `COMMAND --version` prints. Undefined
 * when there is none that is known. Several commands of one name exist: Torque, OpenPBS and Grid Engine all have a qsub.
 */
export async function findBatchSystem(
  env: Readonly<Record<string, string | undefined>>,
  has: (command: string) => boolean,
  versionOf: (command: string) => Promise<string>,
): Promise<BatchScheduler | undefined> {
  // An instance of Flux may run inside a job of any other.
  if (env.FLUX_URI !== undefined && has('flux')) return 'flux'
  if (has('sbatch')) return 'slurm'
  if (has('bsub')) return 'lsf'
  if (has('qsub')) {
    if (env.SGE_ROOT !== undefined) return 'gridengine'
    const version = await versionOf('qsub')
    if (/pbs_version/i.test(version)) return 'openpbs'
    if (/^Version: /m.test(version)) return 'torque'
    return /\bSGE\b|GE \d/.test(version) ? 'gridengine' : undefined
  }
  return has('flux') ? 'flux' : undefined
}
