// The network of one node's guests: addresses are taken first, so that all guests of the job can be told them; the way
// into the network is made when guests boot.
import type { LeetError, Scope, WaitLimits } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/index.ts'
import type { Journal } from '../journal/journal.ts'
import { guestAddress, parseSubnet } from '../networks/addresses.ts'
import { inspectBridge } from '../networks/bridge.ts'
import { bridgeNetwork, type GuestNetwork, localNetwork, userNetwork } from '../networks/guest-network.ts'
import { leaseGuests } from '../networks/leases.ts'
import { startLocalSegment } from '../networks/local-segment.ts'
import type { MeshPart } from '../networks/mesh.ts'
import { ownAddresses } from '../networks/own-addresses.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'

/** How guests are to be controlled. */
export interface GuestControl {
  /** The guests' port for SSH or REST. */
  readonly port: number
  /** Whoever reaches that port is let in: on a bridge no port of the node is to lead to it. */
  readonly unprotected?: boolean
}

/** The network of this node, with its addresses taken. */
export interface NodeNetwork {
  /** Addresses of the guests given to `reserveNetwork`, in their order. */
  readonly addresses: readonly string[]
  /**
   * Makes the network, which ends with `scope`; guests can be plugged in when it resolves. `meshKey` is the job's secret
   * for the cables of a mesh, base64url.
   */
  open(control: GuestControl, scope: Scope, limits: WaitLimits, meshKey?: string): Promise<OpenNetwork>
}

/** A network that guests can be plugged into. */
export interface OpenNetwork {
  /** What each guest is plugged into, in the order of the guests. */
  readonly guests: readonly GuestNetwork[]
  /** Resolves when the guests no longer reach each other. */
  readonly ended: Promise<LeetError> | undefined
}

/** What the network of a node is made with. */
export interface NetworkContext {
  readonly journal: Journal
  readonly exchange: Exchange
  readonly scope: Scope
}

/** Question to the first node of a mesh: where do cables end? */
const MESH_TOPIC = 'mesh'

/** Takes addresses for `guests`, which are those of node `node`, until `scope` ends. */
export async function reserveNetwork(
  { network, nodes }: JobPlan,
  guests: readonly GuestPlan[],
  node: number,
  { journal, exchange, scope }: NetworkContext,
): Promise<NodeNetwork> {
  const subnet = parseSubnet(network.subnet, 'network.subnet')
  switch (network.mode) {
    case 'none':
      throw new RangeError('the bare host has no network of guests')
    case 'user':
      return {
        addresses: guests.map(() => userNetwork(0).address),
        open: async ({ port }) => ({
          guests: guests.map(() => userNetwork(port)),
          ended: undefined,
        }),
      }
    case 'local':
      return {
        addresses: guests.map((_, guest) => guestAddress(subnet, node, guest)),
        async open({ port: controlPort }, within, limits) {
          const { socketDirectory, ended } = await startLocalSegment({
            ...{ journal, scope: within, guests: guests.length },
            ...limits,
          })
          const plug = (guest: number) => localNetwork({ subnet, node, guest, socketDirectory, controlPort })
          return { guests: guests.map((_, guest) => plug(guest)), ended }
        },
      }
    case 'mesh': {
      const centre = Promise.withResolvers<Uint8Array>()
      centre.promise.catch(() => {})
      // Asked before it is there, it waits: all nodes boot at once.
      if (node === 0) exchange.answer(MESH_TOPIC, () => centre.promise)
      return {
        addresses: guests.map((_, guest) => guestAddress(subnet, node, guest)),
        async open({ port: controlPort }, within, limits, meshKey = '') {
          const { joinMesh, openMeshCentre } = await import('../networks/mesh.ts')
          const segment = await startLocalSegment({
            ...{ journal, scope: within, guests: guests.length + nodes.length },
            ...limits,
          })
          const { socketDirectory } = segment
          const key = Buffer.from(meshKey, 'base64url')
          const options = { journal, scope: within, socketDirectory, key }
          let part: MeshPart
          if (node === 0) {
            const opened = await openMeshCentre(options, nodes.length - 1)
            part = opened
            const { port } = opened
            centre.resolve(Buffer.from(JSON.stringify({ addresses: ownAddresses(), port })))
          } else {
            const answer = await exchange.ask(0, MESH_TOPIC, new Uint8Array(), limits)
            const at = JSON.parse(Buffer.from(answer).toString('utf8'))
            part = await joinMesh({ ...at, node: nodes[0]?.name ?? '' }, options, limits)
          }
          const plug = (guest: number) => localNetwork({ subnet, node, guest, socketDirectory, controlPort })
          return {
            guests: guests.map((_, guest) => plug(guest)),
            ended: Promise.race([segment.ended, part.ended]),
          }
        },
      }
    }
    case 'bridge': {
      const { plug, node: range } = inspectBridge(network.bridge as string, subnet)
      const leased = await leaseGuests(subnet, range, guests.length, scope)
      const on = ({ port, unprotected = false }: GuestControl) =>
        leased.map((guest) =>
          bridgeNetwork({ subnet, node: range, guest, plug, controlPort: port, direct: unprotected }),
        )
      return {
        addresses: on({ port: 0 }).map(({ address }) => address),
        open: async (control) => ({ guests: on(control), ended: undefined }),
      }
    }
  }
}
