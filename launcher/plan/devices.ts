// Fabrics and accelerators of this node, as far as MPI libraries would search for them in each rank.
import { readdirSync } from 'node:fs'

/** What drivers make when they have found a device. */
const PLACES: readonly { readonly folder: string; readonly entry?: RegExp }[] = [
  // InfiniBand, RoCE, iWARP, Omni-Path, EFA, usNIC.
  { folder: 'sys/class/infiniband' },
  // Slingshot.
  { folder: 'sys/class/cxi' },
  // GPUs; what only shows a console has no node to render on.
  { folder: 'sys/class/drm', entry: /^renderD/ },
  { folder: 'sys/class/kfd' },
  { folder: 'proc/driver/nvidia' },
  { folder: 'sys/class/accel' },
]

/** Whether this node has a fabric or an accelerator. */
export function hasDevices(root = '/'): boolean {
  return PLACES.some(({ folder, entry = /./ }) => {
    try {
      return readdirSync(`${root}${folder}`).some((name) => entry.test(name))
    } catch {
      return false
    }
  })
}
