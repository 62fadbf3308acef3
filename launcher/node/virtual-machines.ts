// What the virtual machines of a node have in common, whatever runs in them: what they need before the first of them
// starts (QEMU, the accelerator, the network, NFS servers that answer), and what is said of one that is lost or late.
import { LeetError, type Log, pause, type Scope, type WaitLimits } from '../../common/index.ts'
import { cacheDirectory } from '../images/store.ts'
import type { Journal } from '../journal/journal.ts'
import { chooseAccelerator } from '../machines/accel.ts'
import type { MachineDriver } from '../machines/driver.ts'
import type { Machine } from '../machines/machine.ts'
import { qemuDriver } from '../machines/qemu-driver.ts'
import { findQemu } from '../machines/qemu-program.ts'
import type { Accelerator, Placement } from '../machines/spec.ts'
import { findNfsServers, type NfsServer } from '../nfs/servers.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import type { Mirror } from './mirror.ts'
import type { GuestControl, NodeNetwork, OpenNetwork } from './node-network.ts'
import type { GuestSecrets } from './worker.ts'

/** What virtual machines of a node are made with, whatever runs in them. */
export interface MachinesContext {
  readonly plan: JobPlan
  /** The guests of this node. */
  readonly guests: readonly GuestPlan[]
  readonly network: NodeNetwork
  /** Where each guest runs, in their order; empty: anywhere. */
  readonly placements: readonly Placement[]
  /** Address of each guest of the job, by its index. */
  readonly addresses: readonly string[]
  readonly secrets: GuestSecrets
  /** What the node has instead of the user's working directories, where it lacks them. */
  readonly mirror?: Mirror | undefined
  readonly journal: Journal
  readonly log: Log
}

/** Ready for machines to start. */
export interface PreparedMachines {
  readonly qemu: string
  readonly accelerator: Accelerator
  /** Why the guests are emulated, if they are. */
  readonly whyEmulated: string | undefined
  readonly driver: MachineDriver
  readonly network: OpenNetwork
  readonly servers: readonly NfsServer[]
}

/** Prepares; the network that is made ends with `scope`. */
export async function prepareMachines(
  { plan, network, secrets, journal, log }: MachinesContext,
  control: GuestControl,
  scope: Scope,
  limits: WaitLimits,
): Promise<PreparedMachines> {
  const qemu = findQemu()
  const [driver, { accelerator, why }, opened, servers] = await Promise.all([
    driverOf(plan, limits),
    chooseAccelerator({
      journal,
      qemu,
      cacheDirectory: cacheDirectory(process.env),
      log,
      ...(limits.signal ? { signal: limits.signal } : {}),
    }),
    network.open(control, scope, limits, secrets.mesh),
    findNfsServers(plan.mounts, limits),
  ])
  return { qemu, accelerator, whyEmulated: why, driver, network: opened, servers }
}

async function driverOf({ hypervisor }: JobPlan, limits: WaitLimits): Promise<MachineDriver> {
  if (hypervisor.kind === 'qemu') return qemuDriver
  const { libvirtDriver } = await import('../machines/libvirt/driver.ts')
  return await libvirtDriver(hypervisor.uri, limits)
}

/** How much later than QEMU this process may get the signal that ended QEMU, in milliseconds. */
const SIGNAL_MS = 300

/** Resolves with the reason when the machine is gone, or the network that joins it to the others. */
export function lostWith(machine: Machine, networkEnded: Promise<LeetError> | undefined): Promise<LeetError> {
  const exited = machine.exited.then(async ({ reason, error }) => {
    // A scheduler that ends a job signals its hypervisors too. What it tells this process says more.
    if (reason === 'qemu') await pause(SIGNAL_MS)
    return error ?? new Promise<LeetError>(() => {})
  })
  return networkEnded ? Promise.race([exited, networkEnded]) : exited
}

/** A guest that is late has most often said on its console what it is doing. */
export function withConsole(error: unknown, machine: Machine): unknown {
  if (!(error instanceof LeetError && error.code === 'LEET_E_DEADLINE')) return error
  return new LeetError({ ...error.details, why: lastWords(machine), hint: 'a longer --boot-timeout' })
}

/** What a guest said last, as part of a sentence. */
export function lastWords({ console }: Machine): string {
  const lines = console.tail(10)
  return lines.length > 0 ? `the last lines of its console are\n${lines.join('\n')}` : 'its console is empty'
}
