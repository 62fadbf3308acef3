// Options on what joins guests with each other and with servers of files.

import { oneOf, rowsOf } from '../config/row.ts'
import { DEFAULT_SUBNET, parseSubnet } from '../networks/addresses.ts'
import type { Settings } from '../plan/settings.ts'
import { GUEST_GROUP } from './guests.ts'

const { list, value } = rowsOf(GUEST_GROUP)

/** The rows, in the order of the help. */
export const SURROUNDINGS = {
  network: value({
    key: 'network',
    flags: 'network',
    takes: 'MODE',
    environment: 'LEET_NETWORK',
    help: 'auto, user, local, and for guests on several nodes bridge=NAME, or mesh, which needs no bridge and is slower',
    default: { word: 'auto' },
    words: ['user', 'local', 'mesh', 'bridge='],
    parse: parseNetworkMode,
  }),
  subnet: value({
    key: 'network.subnet',
    flags: 'network-subnet',
    takes: 'SUBNET',
    environment: 'LEET_NETWORK_SUBNET',
    help: 'IPv4 network of the guests',
    default: { word: DEFAULT_SUBNET },
    parse: checkSubnet,
  }),
  mounts: list({
    key: 'mounts',
    flags: 'mount',
    takes: 'SERVER:/EXPORT:/PATH[:OPTIONS]',
    environment: 'LEET_MOUNTS',
    help: 'mount an NFS export in all guests; home and working directory are mounted where the node has them on NFS',
    parse: ({ words: [text = ''], ...from }) => [{ text, ...from }],
  }),
  shareBy: value({
    key: 'share-by',
    flags: 'share-by',
    takes: 'WAY',
    environment: 'LEET_SHARE_BY',
    help: 'auto: directories of the node by NFS if it has them so, else by 9p; 9p: always from each guest’s node',
    default: { word: 'auto' },
    parse: oneOf(['auto', '9p']),
  }),
}

function parseNetworkMode(text: string, where: string): Pick<Settings['network'], 'mode' | 'bridge'> {
  const bridge = /^bridge=(.+)$/.exec(text)?.[1]
  if (bridge !== undefined) return { mode: 'bridge', bridge }
  return { mode: oneOf(['auto', 'user', 'local', 'mesh'])(text, where), bridge: undefined }
}

function checkSubnet(text: string, where: string): string {
  parseSubnet(text, where)
  return text
}
