// How the bridge starts ranks in one guest and watches them, whatever the guest is: the one interface that a bare host,
// a Linux guest and an OSv guest have in common.
import type { LeetError, Scope, WaitLimits } from '../../common/index.ts'

/** The user that a rank becomes, when the channel's far end may choose. */
interface RankUser {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups; they replace those of the starter. */
  readonly groups: readonly number[]
}

/** What is needed to start one rank. */
export interface RankStart {
  /** Identifies the rank on this channel. A number is used once in the life of a channel. */
  readonly rank: number
  /** The program, looked up in the PATH of `env` unless it has a slash, and its arguments. */
  readonly argv: readonly string[]
  /** The whole environment of the rank. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** Whether the rank reads what is written to the channel; otherwise its standard input is empty. */
  readonly stdin: boolean
  /**
   * Whether its standard output is a pseudo-terminal, so that the C library buffers it by lines (Open MPI's mpirun does
   * so), or a pipe (MPICH's mpiexec). Standard error is always a pipe.
   */
  readonly terminal: boolean
  /**
   * For ranks that share processors: the kernel may let the rank sleep up to a millisecond longer than it asked for, and
   * so wakes several ranks at once, and less often.
   */
  readonly coarseTimers?: boolean
  readonly user?: RankUser
  /** The CPUs that it may run on; all that the channel's far end may use unless told. */
  readonly cpus?: readonly number[]
}

/** How the process of a rank ended. `signal` is the number that the guest's kernel gives it. */
export type RankEnd =
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'signal'; readonly signal: number; readonly core: boolean }

/** What a channel tells. For one rank: `began`, any number of `output`, `ended`; or `failed`, maybe after `began`. */
export type RankEvent =
  /** There is a process for the rank; it may yet turn out that it cannot become its program. */
  | { readonly kind: 'began'; readonly rank: number; readonly pid: number }
  /**
   * Bytes as the rank wrote them. All that the rank itself wrote comes before its `ended`; what a process that it left
   * behind writes may follow.
   */
  | {
      readonly kind: 'output'
      readonly rank: number
      readonly stream: 'stdout' | 'stderr'
      readonly data: Uint8Array
    }
  | { readonly kind: 'ended'; readonly rank: number; readonly end: RankEnd }
  /** The rank could not be started. */
  | { readonly kind: 'failed'; readonly rank: number; readonly error: LeetError }
  /** The channel ended without `close`: nothing more will be known of its ranks. The last event. */
  | { readonly kind: 'lost'; readonly error: LeetError }

/** Hears the events of one channel, in order. Must not throw. */
export type RankListener = (event: RankEvent) => void

/** What every channel is opened with. */
export interface ChannelOptions {
  /** With which the channel ends: it is closed then. */
  readonly scope: Scope
  readonly listener: RankListener
}

/** How a command beside the ranks ended, with the last 2,000 bytes of what it wrote to both of its streams. */
export interface GuestCommandResult {
  readonly end: RankEnd
  readonly output: string
}

/** The way to the ranks of one guest. The listener is given where a channel is opened, and the scope in which it lives. */
export interface ControlChannel {
  /** Hands the ranks over to be started, in that order. Resolves when they are handed over: `began` or `failed` tell the rest. */
  start(ranks: readonly RankStart[]): Promise<void>
  /**
   * Writes to the standard input of a rank. Resolves when more may be written, which is once the rank has read enough;
   * also when the rank has ended or has closed its input, for then the data is dropped.
   */
  write(rank: number, data: Uint8Array): Promise<void>
  /** End of file for the standard input of a rank, after what was written. */
  endInput(rank: number): void
  /**
   * Runs a short command beside the ranks, as the channel's own user, in `/` and without input; the listener does not
   * hear of it. At the deadline it is killed. Absent where the far end has no commands.
   */
  run?(argv: readonly [string, ...string[]], limits: WaitLimits): Promise<GuestCommandResult>
  /** Sends a signal to the process group of a rank, or of all ranks that still run. */
  signal(rank: number | 'all', signal: NodeJS.Signals): void
  /** Reads no more output: ranks block once their pipes are full. What was read before may still be told. */
  pause(): void
  resume(): void
  /**
   * Ends the channel: ranks that still run are killed, with all that they left behind. Resolves when nothing of them is
   * left, or rejects at the deadline, when the channel is torn down regardless. No `lost` follows. May be called again.
   */
  close(limits: WaitLimits): Promise<void>
}
