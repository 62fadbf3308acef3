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
  const oversubscribed = sharesProcessors(plan.guests[guest] as GuestPlan)
  if (plan.network.mode === 'none') {
    return { inGuest: false, together: plan.nodes.length === 1, devices, oversubscribed }
  }
  const inside = { inGuest: true, together: plan.guests.length === 1, devices: false, oversubscribed }
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

/** Whether a guest has more ranks than processors. */
export function sharesProcessors({ ranks, cpus }: GuestPlan): boolean {
  return ranks.length > cpus
}

/** Lines of /etc/hosts for all guests of the job. */
export function hostsOf(plan: JobPlan, addresses: readonly string[]): { address: string; names: [string] }[] {
  if (!joinsGuests(plan)) return []
  return plan.guests.map((guest) => ({ address: addresses[guest.index] as string, names: [guest.name] }))
}

/** Whether the guests have a network of their own. */
export function joinsGuests({ network }: JobPlan): boolean {
  return network.mode === 'local' || network.mode === 'mesh' || network.mode === 'bridge'
}
