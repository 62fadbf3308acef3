// The network of one node's guests: addresses are taken first, so that all guests of the job can be told them; the way
// into the network is made when guests boot.
import type { LeetError, WaitLimits } from '../../common/index.ts'
import type { Journal } from '../journal/journal.ts'
import { guestAddress, parseSubnet } from '../networks/addresses.ts'
import { inspectBridge } from '../networks/bridge.ts'
import { bridgeNetwork, type GuestNetwork, localNetwork, userNetwork } from '../networks/guest-network.ts'
import { leaseGuests } from '../networks/leases.ts'
import { startLocalSegment } from '../networks/local-segment.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'

/** The network of this node, with its addresses taken. */
export interface NodeNetwork {
  /** Addresses of the guests given to `reserveNetwork`, in their order. */
  readonly addresses: readonly string[]
  /** Makes the network; guests can be plugged in when it resolves. `controlPort` is the guests' port for SSH or REST. */
  open(controlPort: number, limits: WaitLimits): Promise<OpenNetwork>
  /** Gives the addresses back. */
  release(): void
}

/** A network that guests can be plugged into. */
export interface OpenNetwork {
  /** What each guest is plugged into, in the order of the guests. */
  readonly guests: readonly GuestNetwork[]
  /** Resolves when the guests no longer reach each other. */
  readonly ended: Promise<LeetError> | undefined
}

/** Takes addresses for `guests`, which are those of node `node`. */
export async function reserveNetwork(
  { network }: JobPlan,
  guests: readonly GuestPlan[],
  node: number,
  journal: Journal,
): Promise<NodeNetwork> {
  const subnet = parseSubnet(network.subnet, 'network.subnet')
  switch (network.mode) {
    case 'none':
      throw new RangeError('the bare host has no network of guests')
    case 'user':
      return {
        addresses: guests.map(() => userNetwork(0).address),
        open: async (controlPort) => ({
          guests: guests.map(() => userNetwork(controlPort)),
          ended: undefined,
        }),
        release() {},
      }
    case 'local':
      return {
        addresses: guests.map((_, guest) => guestAddress(subnet, node, guest)),
        async open(controlPort, limits) {
          const { socketDirectory, ended } = await startLocalSegment({
            journal,
            guests: guests.length,
            ...limits,
          })
          const plug = (guest: number) => localNetwork({ subnet, node, guest, socketDirectory, controlPort })
          return { guests: guests.map((_, guest) => plug(guest)), ended }
        },
        release() {},
      }
    case 'bridge': {
      const { plug, node: range } = inspectBridge(network.bridge as string, subnet)
      const lease = await leaseGuests(subnet, range, guests.length)
      const on = (controlPort: number) =>
        lease.guests.map((guest) => bridgeNetwork({ subnet, node: range, guest, plug, controlPort }))
      return {
        addresses: on(0).map(({ address }) => address),
        open: async (controlPort) => ({ guests: on(controlPort), ended: undefined }),
        release: lease.release,
      }
    }
  }
}
