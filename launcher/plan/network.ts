// Where a guest is in the network of its job, from the plan alone.
import { DEFAULT_SUBNET, guestAddress, parseSubnet, type Subnet } from '../networks/addresses.ts'
import { type GuestNetwork, localNetwork, userNetwork } from '../networks/guest-network.ts'
import type { GuestPlan, JobPlan } from './plan.ts'

/** The network that joins the guests of a job. */
export function subnetOf(_plan: JobPlan): Subnet {
  return parseSubnet(DEFAULT_SUBNET, 'network.subnet')
}

/** The address of a guest on that network. */
export function addressOf(plan: JobPlan, guest: GuestPlan): string {
  return guestAddress(subnetOf(plan), guest.node, placeOnNode(plan, guest))
}

/** What a guest is plugged into; `socketDirectory` is that of its node's switch. */
export function guestNetwork(
  plan: JobPlan,
  guest: GuestPlan,
  socketDirectory: string,
  controlPort: number,
): GuestNetwork {
  if (plan.network !== 'local') return userNetwork(controlPort)
  return localNetwork({
    subnet: subnetOf(plan),
    node: guest.node,
    guest: placeOnNode(plan, guest),
    socketDirectory,
    controlPort,
  })
}

/** Lines of /etc/hosts for all guests of the job. */
export function hostsOf(plan: JobPlan): { address: string; names: [string] }[] {
  if (plan.network !== 'local') return []
  return plan.guests.map((guest) => ({ address: addressOf(plan, guest), names: [guest.name] }))
}

// The first guest of a node is 0, whatever guests other nodes have.
function placeOnNode({ guests }: JobPlan, guest: GuestPlan): number {
  return guests.filter((other) => other.node === guest.node && other.index < guest.index).length
}
