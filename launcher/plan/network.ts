// What the plan says of the guests' network, once every guest has its address.
import type { RankSurroundings } from '../../mpi-bridge/index.ts'
import type { GuestPlan, JobPlan } from './plan.ts'

/** The interface of a guest that leads to the other guests, in every mode that joins them. */
export const SEGMENT_INTERFACE = 'eth0'

/**
 * Where the ranks of a guest are, for the MPI library. `addresses` has the address of each guest by its index; guests
 * have none of the node's `devices`.
 */
export function surroundingsOf(
  plan: JobPlan,
  addresses: readonly string[],
  guest: number,
  devices: boolean,
): RankSurroundings {
  const { ranks, cpus } = plan.guests[guest] as GuestPlan
  const oversubscribed = ranks.length > cpus
  if (plan.network.mode === 'none') return { inGuest: false, devices, oversubscribed }
  const inside = { inGuest: true, devices: false, oversubscribed }
  if (!joinsGuests(plan)) return inside
  return {
    ...inside,
    segment: {
      interfaceName: SEGMENT_INTERFACE,
      address: addresses[guest] as string,
      cidr: plan.network.subnet,
    },
  }
}

/** Lines of /etc/hosts for all guests of the job. */
export function hostsOf(plan: JobPlan, addresses: readonly string[]): { address: string; names: [string] }[] {
  if (!joinsGuests(plan)) return []
  return plan.guests.map((guest) => ({ address: addresses[guest.index] as string, names: [guest.name] }))
}

/** Whether the guests have a network of their own. */
export function joinsGuests({ network }: JobPlan): boolean {
  return network.mode === 'local' || network.mode === 'bridge'
}
