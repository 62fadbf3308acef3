// A bridge that the site made on each node, so that guests of all nodes see each other and the nodes.
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { EXIT_USAGE, LeetError } from '../../common/index.ts'
import { type BridgePlug, isInterfaceName } from '../machines/spec.ts'
import { formatSubnet, nodeOfAddress, type Subnet } from './addresses.ts'

/** A bridge of this node, fit for guests. */
export interface Bridge {
  /** For `bridgeNetwork`. */
  readonly plug: BridgePlug
  /** The node's own address on the bridge. */
  readonly address: string
  /** Index of the node for `guestAddress`: follows from its address, so that jobs need not agree on it. */
  readonly node: number
}

/** Looks at a bridge; `LEET_E_NETWORK` says what is to be done when guests of this user cannot be plugged into it. */
export function inspectBridge(name: string, subnet: Subnet): Bridge {
  const refuse = (why: string, hint: string): never => {
    throw new LeetError({
      code: 'LEET_E_NETWORK',
      what: `guests cannot use the network bridge=${name}`,
      why,
      hint,
      exitCode: EXIT_USAGE,
    })
  }
  if (!isInterfaceName(name)) refuse('that is not a name of a network interface', 'a name such as br0')
  const isBridge = (candidate: string) => existsSync(join(NETWORK_CLASS, candidate, 'bridge'))
  if (!isBridge(name)) {
    const others = readdirSync(NETWORK_CLASS).filter(isBridge)
    refuse(
      'there is no such bridge on this node',
      others.length > 0
        ? `one of those that exist: ${others.join(', ')}`
        : 'a bridge made by the site, or the network local',
    )
  }
  const read = (file: string) => Number(readFileSync(join(NETWORK_CLASS, name, file), 'utf8'))
  if ((read('flags') & INTERFACE_UP) === 0) refuse('it is down', `ip link set ${name} up`)
  const addresses = (networkInterfaces()[name] ?? []).filter(({ family }) => family === 'IPv4')
  const own = addresses.flatMap(({ address }) => {
    const node = nodeOfAddress(subnet, address)
    return node === undefined ? [] : [{ address, node }]
  })[0]
  if (!own) {
    return refuse(
      `this node has no address on it from which a range of ${formatSubnet(subnet)} for its guests would follow`,
      'give the nodes the first addresses of that network, or tell its real one by network.subnet',
    )
  }
  return {
    plug: { bridge: name, mtu: read('mtu'), helper: findHelper(refuse), vhost: mayUse('/dev/vhost-net') },
    ...own,
  }
}

const NETWORK_CLASS = '/sys/class/net'
/** IFF_UP of netdevice(7). */
const INTERFACE_UP = 1

// Where distributions keep qemu-bridge-helper: Debian, Red Hat, upstream.
const HELPERS = ['/usr/lib/qemu', '/usr/libexec', '/usr/local/libexec'].map((folder) =>
  join(folder, 'qemu-bridge-helper'),
)

function findHelper(refuse: (why: string, hint: string) => never): string | undefined {
  if (process.getuid?.() === 0) return undefined
  const helper = HELPERS.find(isExecutable)
  if (helper === undefined) {
    return refuse(
      'QEMU’s program qemu-bridge-helper is missing',
      'the package that has it, or the network local',
    )
  }
  if ((statSync(helper).mode & SETUID) === 0) {
    return refuse(
      `${helper} is not setuid root`,
      `as root: chmod u+s ${helper}; echo "allow BRIDGE" >> /etc/qemu/bridge.conf; or the network local`,
    )
  }
  return helper
}

const SETUID = 0o4000

function mayUse(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
