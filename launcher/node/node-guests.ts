// The guests of one node, as its worker sees them: something that becomes ready, has a control channel and an address
// for the process manager, and may die.

import type { LeetError, Scope, WaitLimits } from '../../common/index.ts'
import type { ControlChannel, Processor, RankListener } from '../../mpi-bridge/index.ts'
import type { GuestLine } from './guest-lines.ts'
import type { GuestState, HeldGuest } from './worker.ts'

/** A guest of this node that is being booted or runs. */
export interface NodeGuest {
  readonly index: number
  /** Its life on this node: its machine, its channel and its ranks end with it. */
  readonly scope: Scope
  /** Where this guest's port of the process manager is opened on the node. */
  readonly serviceHost: string
  /** The address at which the guest reaches that port. */
  readonly serviceAddress: string
  /** What runs it: the accelerator, why that emulates, and the process of the hypervisor. Of the bare host there is none. */
  readonly machine?: {
    readonly accelerator: string
    readonly whyEmulated: string | undefined
    readonly pid: number
  }
  /** What a rank is started as in this guest, where that differs: paths may be others. */
  place?(
    argv: readonly [string, ...string[]],
    workDir: string,
  ): { readonly argv: readonly [string, ...string[]]; readonly workDir: string }
  /** Its serial line, where a session's user can have it. */
  readonly line?: GuestLine | undefined
  /** How other jobs get into it, where a session can keep it. */
  readonly door?: Omit<HeldGuest, 'serviceAddress'> | undefined
  /** Reads what ranks wrote onto the node, from a guest that shares no directory with it. */
  collect?(limits: WaitLimits): Promise<void>
  /**
   * Brings what was read into the user's directories: also what came before `collect` failed. What `signal` leaves no time for is
   * kept, and the error says where.
   */
  merge?(signal: AbortSignal): Promise<void>
  /**
   * Opens the way to its ranks; once per guest. It is closed when the guest's scope ends. `askToEnd` is for guests in which
   * nothing can be signalled: it has ranks end by themselves, and gives false when none of them will.
   */
  openChannel(listener: RankListener, limits: WaitLimits, askToEnd: () => boolean): Promise<ControlChannel>
  /** Resolves with the reason when the guest is gone without having been told to. */
  readonly lost: Promise<LeetError>
  /** Its channel says by itself why the guest was lost; `lost` need not be waited for. */
  readonly channelExplains?: boolean
  /** The processors that its ranks may be bound to; undefined where that cannot be. */
  processors?(): readonly Processor[]
  /** Whether ranks are started as the user's account (false: they are the user's processes already). */
  readonly switchesUser: boolean
}

/** What makes the guests of a node. */
export interface NodeGuests {
  /**
   * Boots all; resolves when every one is ready, in the order of the plan. The first that fails ends the boot of the
   * others. All that is made for them ends with `scope`.
   */
  boot(
    scope: Scope,
    onState: (guest: number, state: GuestState, detail?: string) => void,
    limits: WaitLimits,
  ): Promise<readonly NodeGuest[]>
}
