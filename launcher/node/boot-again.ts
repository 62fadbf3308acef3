// A guest that hangs while it boots is booted again: its user wants the job, not that guest. Whatever kind of guest it is,
// it keeps name, addresses and seed; a guest that fails with a reason would only fail again.
import { renameSync } from 'node:fs'
import { LeetError, type Log, messageOf, type Scope, type WaitLimits } from '../../common/index.ts'
import { BootWatch } from '../machines/boot-watch.ts'
import type { MachineContext } from '../machines/driver.ts'
import { type Machine, startMachine } from '../machines/machine.ts'
import type { MachineSpec } from '../machines/spec.ts'
import type { GuestPlan } from '../plan/plan.ts'
import { lastWords } from './virtual-machines.ts'
import type { GuestState } from './worker.ts'

/** One start of a guest. */
export interface BootTry {
  readonly watch: BootWatch
  /** Of the try and, when that comes up, of the guest. It fails when the guest hangs. */
  readonly scope: Scope
  /** Of everything that is waited for in it; the signal is the scope's too. */
  readonly limits: WaitLimits
  /** Starts the guest's machine; once. */
  start(spec: MachineSpec, context: MachineParts): Promise<Machine>
}

/** What a machine is made with whatever try it is of. */
export type MachineParts = Omit<MachineContext, keyof WaitLimits | 'scope'>

/** How a guest is booted. */
export interface BootOrders {
  readonly guest: GuestPlan
  /** How often it may be booted again. */
  readonly retries: number
  /** Milliseconds without progress after which it is hung: `BootWatch`. */
  readonly patience: number
  readonly log: Log
  readonly onState: (state: GuestState, detail?: string) => void
}

/** How long a hung hypervisor may take to be gone, in milliseconds. */
const KILL_MS = 10_000

/**
 * Boots a guest by `boot`, again when it hangs; what comes up lives in `scope`. Rejects with what `boot` rejects with; with `LEET_E_GUEST_HUNG`, and the
 * last console lines of each try, when the last one hung too.
 */
export async function bootAgain<T>(
  orders: BootOrders,
  scope: Scope,
  boot: (attempt: BootTry) => Promise<T>,
  limits: WaitLimits,
): Promise<T> {
  const { guest, retries, log, onState } = orders
  const { name } = guest
  const seen: string[] = []
  for (let again = 1; ; again++) {
    const watch = new BootWatch(name, orders.patience, guest.cpus)
    const own = scope.child(again === 1 ? name : `boot ${again} of ${name}`)
    const ownLimits = own.within(limits)
    let machine: Machine | undefined
    const start: BootTry['start'] = async (spec, context) => {
      machine = await startMachine(spec, { ...context, ...limits, scope: own, watch })
      return machine
    }
    const booted = boot({ watch, scope: own, limits: ownLimits, start })
    // Nobody waits for it any more once the guest hangs.
    booted.catch(() => {})
    try {
      return await Promise.race([booted, watch.hung])
    } catch (error) {
      if (!(error instanceof LeetError && error.code === 'LEET_E_GUEST_HUNG')) throw error
      own.fail(error)
      await own.end(limits.deadline.within(KILL_MS))
      const said = machine ? lastWords(machine) : 'its hypervisor did not answer'
      seen.push(`${error.details.what}; ${said}`)
      if (again > retries || limits.signal?.aborted || limits.deadline.expired) throw lastError(name, seen)
      if (machine) keepConsole(machine, again, log)
      log.detail(`${name}: ${seen.at(-1)}`)
      onState('hung', `${error.details.what}: booted again (${again} of ${retries})`)
    } finally {
      watch.stop()
    }
  }
}

function lastError(where: string, seen: readonly string[]): LeetError {
  return new LeetError({
    code: 'LEET_E_GUEST_HUNG',
    where,
    what: seen.length === 1 ? 'hangs while it boots' : `hung in each of ${seen.length} boots`,
    why: seen.join('\n'),
    hint: 'if it is only slow: a longer --boot-patience; more tries: --boot-retries',
  })
}

// The next try writes a console of its own.
function keepConsole({ console }: Machine, number: number, log: Log): void {
  try {
    renameSync(console.file, `${console.file}.hung${number}`)
  } catch (error) {
    log.detail(`the console of a hung guest is not kept: ${messageOf(error)}`)
  }
}
