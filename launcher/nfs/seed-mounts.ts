// What a plan's mounts are for one guest: entries of its seed, directories that its machine shares, and what to say when
// one of them fails. Pure.
import { nfsSeedMount, type SeedMount } from '../../contextualise/index.ts'
import type { Share } from '../machines/spec.ts'
import { isLoopback, type PlanMount } from '../plan/mounts.ts'
import { addressOfServer, type NfsServer } from './servers.ts'

/** Bytes of one 9p message; the kernel's default of 8 KiB makes every large read many small ones. */
const MSIZE = 512 * 1024

/** The mounts of a guest's seed. `nodeAddress` is where the guest finds what listens on its node's 127.0.0.1. */
export function seedMounts(
  mounts: readonly PlanMount[],
  servers: readonly NfsServer[],
  nodeAddress: string,
): SeedMount[] {
  return mounts.map((mount, index): SeedMount => {
    if (mount.kind === 'share') {
      return {
        source: shareTag(index),
        path: mount.path,
        type: '9p',
        options: ['trans=virtio', 'version=9p2000.L', `msize=${MSIZE}`, 'cache=mmap'],
        required: true,
      }
    }
    const address = addressOfServer(servers, mount)
    return nfsSeedMount(mount, isLoopback(address) ? nodeAddress : address)
  })
}

/** The directories that a guest's machine shares with it; `placeOf` says where the node has one that it was given a copy of. */
export function machineShares(
  mounts: readonly PlanMount[],
  placeOf: (path: string) => string = (path) => path,
): Share[] {
  return mounts.flatMap((mount, index): Share[] =>
    mount.kind === 'share'
      ? [
          {
            tag: shareTag(index),
            path: mount.mirrored ? placeOf(mount.path) : mount.path,
            readonly: false,
            securityModel: 'none',
          },
        ]
      : [],
  )
}

// With a colon, because cloud-init drops mounts whose source has none (cc_mounts of 22.4).
function shareTag(index: number): string {
  return `leet:work${index}`
}
