// Taps that QEMU made for root: put into their bridges. They are not persistent, so they go with QEMU however it ends.
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'
import { isInterfaceName, type Nic } from './spec.ts'

/**
 * Which tap each network interface has, by the id of the interface: from `info network` of QEMU's monitor, where alone
 * the name that the kernel chose can be read.
 *
 *   \ segment: index=0,type=tap,ifname=leet0,script=no,downscript=no
 */
export function parseTaps(text: string): Map<string, string> {
  const taps = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const row = /^ ?\\? ?([A-Za-z][\w-]*): index=\d+,type=tap,(?:.*,)?ifname=([^,]+)(?:,|$)/.exec(line)
    if (row && isInterfaceName(row[2] as string)) taps.set(row[1] as string, row[2] as string)
  }
  return taps
}

/** Puts the taps of interfaces without a helper into their bridges; `networkInfo` is the text of `info network`. */
export async function plugTaps(nics: readonly Nic[], networkInfo: string, limits: WaitLimits): Promise<void> {
  const taps = parseTaps(networkInfo)
  for (const { id, link } of nics) {
    if (link.kind !== 'bridge' || link.plug.helper !== undefined) continue
    const { bridge, mtu } = link.plug
    const refuse = (why: string): never => {
      throw new LeetError({
        code: 'LEET_E_NETWORK',
        what: `cannot plug a guest into the bridge ${bridge}`,
        why,
      })
    }
    const tap = taps.get(id) ?? refuse('QEMU does not tell which tap it made')
    // The MTU with the same command: a bridge takes that of its smallest port.
    const { status, stderr } = await runCommand(
      ['ip', 'link', 'set', 'dev', tap, 'mtu', String(mtu), 'master', bridge, 'up'],
      limits,
    )
    if (status !== 0) refuse(stderr.trim())
  }
}
