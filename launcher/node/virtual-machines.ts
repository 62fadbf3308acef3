// What the virtual machines of a node need before the first of them starts, whatever runs in them: QEMU, the accelerator,
// the network, and the NFS servers of the job, which must answer.
import type { Log, WaitLimits } from '../../common/index.ts'
import { cacheDirectory } from '../images/store.ts'
import type { Journal } from '../journal/journal.ts'
import { type Accelerator, chooseAccelerator } from '../machines/accel.ts'
import { findQemu } from '../machines/qemu-program.ts'
import { findNfsServers, type NfsServer } from '../nfs/servers.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { NodeNetwork, OpenNetwork } from './node-network.ts'

/** What `prepareMachines` is told. */
export interface MachinesContext {
  readonly plan: JobPlan
  readonly network: NodeNetwork
  readonly journal: Journal
  readonly log: Log
}

/** Ready for machines to start. */
export interface PreparedMachines {
  readonly qemu: string
  readonly accelerator: Accelerator
  readonly network: OpenNetwork
  readonly servers: readonly NfsServer[]
}

/** Prepares; `controlPort` is the guests' port for SSH or REST. */
export async function prepareMachines(
  { plan, network, journal, log }: MachinesContext,
  controlPort: number,
  limits: WaitLimits,
): Promise<PreparedMachines> {
  const qemu = findQemu()
  const [accelerator, opened, servers] = await Promise.all([
    chooseAccelerator({
      journal,
      qemu,
      cacheDirectory: cacheDirectory(process.env),
      log,
      ...(limits.signal ? { signal: limits.signal } : {}),
    }),
    network.open(controlPort, limits),
    findNfsServers(plan.mounts, limits),
  ])
  return { qemu, accelerator, network: opened, servers }
}
