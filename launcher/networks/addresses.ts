// Addresses of guests on the private segment that joins them. Nothing is drawn at random and nothing is asked: an address
// follows from the node and the guest, a MAC from the address, so that nodes need no lock between them.
import { isIPv4 } from 'node:net'
import { LeetError, usageError } from '../../common/index.ts'

/** An IPv4 network. */
export interface Subnet {
  /** First address as a number, host bits zero. */
  readonly base: number
  /** Prefix length. */
  readonly prefix: number
}

/** The network of guests unless the site says otherwise. */
export const DEFAULT_SUBNET = '10.77.0.0/16'

/** Reads `10.77.0.0/16`; a usage error names `where` when it is no IPv4 network with room for guests. */
export function parseSubnet(text: string, where: string): Subnet {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text)
  const bytes = match?.slice(1, 5).map(Number) ?? []
  const prefix = Number(match?.[5])
  if (!match || bytes.some((byte) => byte > 255) || prefix < 8 || prefix > 28) {
    throw usageError(
      `"${text}" is not an IPv4 network for guests`,
      `an address and a prefix length from 8 to 28, such as ${DEFAULT_SUBNET}`,
      where,
    )
  }
  const base = bytes.reduce((sum, byte) => sum * 256 + byte, 0)
  if (base % 2 ** (32 - prefix) !== 0) {
    const network = formatAddress(base - (base % 2 ** (32 - prefix)))
    throw usageError(`"${text}" has bits set beyond its prefix`, `${network}/${prefix}`, where)
  }
  return { base, prefix }
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index)

// Of RFC 1918. Sites that have all of 10.0.0.0/8 are many.
const PRIVATE = [
  DEFAULT_SUBNET,
  ...range(20).map((i) => `10.${78 + i}.0.0/16`),
  ...range(12).map((i) => `172.${20 + i}.0.0/16`),
]

/**
 * The network for a segment that is the guests' alone: the usual one, or the next that is none of the node's own
 * `networks` (`10.77.0.12/16`), whose hosts guests could not reach otherwise. What the user chose is left alone.
 */
export function privateSubnet(wanted: string, networks: readonly string[]): string {
  if (wanted !== DEFAULT_SUBNET) return wanted
  const taken = networks.flatMap((network) => {
    const [address = '', prefix = ''] = network.split('/')
    return isIPv4(address) ? [{ address: numberOf(address), prefix: Number(prefix) }] : []
  })
  const free = PRIVATE.find((candidate) => {
    const { base, prefix } = parseSubnet(candidate, 'network.subnet')
    return taken.every((one) => {
      const size = 2 ** (32 - Math.min(prefix, one.prefix))
      return Math.floor(base / size) !== Math.floor(one.address / size)
    })
  })
  return free ?? wanted
}

function numberOf(address: string): number {
  return address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
}

/** `10.77.0.0/16` */
export function formatSubnet({ base, prefix }: Subnet): string {
  return `${formatAddress(base)}/${prefix}`
}

/**
 * Address of guest `guest` of node `node`, both from 0: in 10.77.0.0/16 that is 10.77.(node + 1).(guest + 1). Every node
 * has a range of its own of 256 addresses, or of the square root of a network smaller than /16; the first range, or as
 * many as hold an address for each node, is left to the nodes themselves. `LEET_E_ADDRESSES` when there is no room.
 */
export function guestAddress(subnet: Subnet, node: number, guest: number): string {
  const { rangeBits, reserved, nodes, guests } = rangesOf(subnet)
  if (node >= nodes || guest >= guests) {
    throw new LeetError({
      code: 'LEET_E_ADDRESSES',
      what: `the network ${formatSubnet(subnet)} of the guests has room for ${nodes} nodes with ${guests} guests each`,
      why: `guest ${guest + 1} of node ${node + 1} would be beyond that`,
      hint: 'a larger network, or fewer guests on each node',
    })
  }
  return formatAddress(subnet.base + (reserved + node) * 2 ** rangeBits + guest + 1)
}

/**
 * The node, as `guestAddress` counts, that has this address in the network: 10.77.0.N is node N - 1, with guests
 * 10.77.N.1 and so on. Undefined when no range follows from the address.
 */
export function nodeOfAddress(subnet: Subnet, address: string): number | undefined {
  const node = numberOf(address) - subnet.base - 1
  return node >= 0 && node < rangesOf(subnet).nodes ? node : undefined
}

interface Ranges {
  /** Every range has 2 ** rangeBits addresses. */
  readonly rangeBits: number
  /** How many ranges are left to the nodes. */
  readonly reserved: number
  readonly nodes: number
  readonly guests: number
}

function rangesOf({ prefix }: Subnet): Ranges {
  const hostBits = 32 - prefix
  const rangeBits = Math.min(8, Math.floor(hostBits / 2))
  const ranges = 2 ** (hostBits - rangeBits)
  // The least R for which ranges - R nodes have addresses from 1 on in R ranges.
  const reserved = Math.ceil((ranges + 1) / (2 ** rangeBits + 1))
  // Neither the first nor the last address of a range: to some they are the network and the broadcast.
  return { rangeBits, reserved, nodes: ranges - reserved, guests: 2 ** rangeBits - 2 }
}

/** `52:54:0a:4d:01:01` for 10.77.1.1: locally administered, unicast, different for different addresses. */
export function macOf(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))
  return ['52', '54', ...bytes].join(':')
}

function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}
