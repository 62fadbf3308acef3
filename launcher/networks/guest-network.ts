// What a guest is plugged into, in each network mode: the NICs for QEMU, the interfaces for the seed, where the ranks
// find each other and where the guest finds the services of its node. Pure.
import type { BridgePlug, Nic, NicLink } from '../machines/spec.ts'
import { formatSubnet, guestAddress, macOf, type Subnet } from './addresses.ts'

/** An interface as the guest sees it: named by the order of the NICs, recognised by its MAC. */
interface GuestInterface {
  readonly name: string
  readonly mac: string
  readonly ipv4: { readonly address: string; readonly prefix: number }
  /** Default gateway. */
  readonly gateway?: string
  /** Bytes; the guest's default where undefined. */
  readonly mtu?: number
}

/** A guest's place in the network of a job. */
export interface GuestNetwork {
  /** For the machine's specification. */
  readonly nics: readonly Nic[]
  /** In the order of `nics`: eth0, eth1. */
  readonly interfaces: readonly GuestInterface[]
  /** By which the other guests of the job know this one. */
  readonly address: string
  /** The network that joins the guests, on which MPI is to communicate; undefined when there is one guest. */
  readonly segment?: { readonly interfaceName: string; readonly address: string; readonly cidr: string }
  /** How the node reaches the guest: `Machine.forwardedPort(control.nic, control.port)`, or at its own address. */
  readonly control: { readonly nic: string; readonly port: number; readonly direct?: boolean }
  /** Address at which the guest reaches a service that listens on the node's 127.0.0.1. */
  readonly serviceAddress: string
}

/** Mode `user`: one guest, on QEMU's user networking alone. `controlPort` is the guest's port for SSH or REST. */
export function userNetwork(controlPort: number): GuestNetwork {
  return {
    nics: [controlNic(controlPort)],
    interfaces: [controlInterface('eth0')],
    address: SLIRP.guest,
    control: { nic: CONTROL, port: controlPort },
    serviceAddress: SLIRP.host,
  }
}

/** A guest's place on the network that joins the guests. */
interface SegmentPlace {
  readonly subnet: Subnet
  /** Index of the node, from 0. */
  readonly node: number
  /** Index of the guest on its node, from 0. */
  readonly guest: number
  /** The guest's port for SSH or REST. */
  readonly controlPort: number
}

/** What `localNetwork` needs. */
export interface LocalNetworkOptions extends SegmentPlace {
  /** Of the node's switch: `LocalSegment.socketDirectory`. */
  readonly socketDirectory: string
}

/** Mode `local`: eth0 on the private segment of the node's guests, eth1 on QEMU's user networking for control and services. */
export function localNetwork({ socketDirectory, ...place }: LocalNetworkOptions): GuestNetwork {
  return segmentNetwork(place, { kind: 'vde', socketDirectory })
}

/** What `bridgeNetwork` needs. */
export interface BridgeNetworkOptions extends SegmentPlace {
  /** `Bridge.plug` of the node. */
  readonly plug: BridgePlug
  /** Control the guest at its address on the bridge, so that no port of the node leads to it. */
  readonly direct?: boolean
}

/** Mode `bridge`: eth0 on a bridge that joins the guests of all nodes, eth1 as in mode `local`. */
export function bridgeNetwork({ plug, direct = false, ...place }: BridgeNetworkOptions): GuestNetwork {
  const network = segmentNetwork(place, { kind: 'bridge', plug }, plug.mtu)
  if (!direct) return network
  const nics = network.nics.map((nic): Nic => (nic.id === CONTROL ? controlNic() : nic))
  return { ...network, nics, control: { ...network.control, direct } }
}

function segmentNetwork(place: SegmentPlace, link: NicLink, mtu?: number): GuestNetwork {
  const { subnet, node, guest, controlPort } = place
  const address = guestAddress(subnet, node, guest)
  const mac = macOf(address)
  const ipv4 = { address, prefix: subnet.prefix }
  return {
    nics: [{ id: 'segment', mac, link }, controlNic(controlPort)],
    interfaces: [
      { name: 'eth0', mac, ipv4, ...(mtu === undefined ? {} : { mtu }) },
      controlInterface('eth1'),
    ],
    address,
    segment: { interfaceName: 'eth0', address, cidr: formatSubnet(subnet) },
    control: { nic: CONTROL, port: controlPort },
    serviceAddress: SLIRP.host,
  }
}

const CONTROL = 'control'

// QEMU's user networking (slirp) gives every guest the same network; 10.0.2.2 is the host's loopback (qemu(1), -netdev user).
const SLIRP = { host: '10.0.2.2', guest: '10.0.2.15', prefix: 24 } as const

// Each guest is alone on its user network, so all may have the same MAC there.
const CONTROL_MAC = macOf(SLIRP.guest)

function controlNic(...forwards: number[]): Nic {
  return { id: CONTROL, mac: CONTROL_MAC, link: { kind: 'user', forwards } }
}

function controlInterface(name: string): GuestInterface {
  const ipv4 = { address: SLIRP.guest, prefix: SLIRP.prefix }
  return { name, mac: CONTROL_MAC, ipv4, gateway: SLIRP.host }
}
