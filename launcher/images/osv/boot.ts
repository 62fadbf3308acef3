// How an OSv image is booted: the kernel's command line and the devices that were observed to work. Pure.
import { LeetError } from '../../../common/index.ts'
import type { Disk, MachineSpec } from '../../machines/spec.ts'

/** The machine type for OSv: with q35, virtio-blk hangs. */
export const OSV_MACHINE_TYPE: MachineSpec['machineType'] = 'pc'

/** Port of the REST server in the guest. */
export const OSV_REST_PORT = 8000

/**
 * The disks of an OSv guest in the order that it needs: the root is vblk0, the seed the first of vblk1 to vblk10 that
 * cloud-init looks at, and the one with the working directories comes after it. None has a boot index, because the kernel is loaded by QEMU, which keeps index 0 for that.
 */
export function osvDisks(image: string, seed: string | undefined, work?: string): Disk[] {
  return [
    { serial: 'leet-image', path: image, readonly: true },
    ...(seed === undefined ? [] : [{ serial: 'leet-seed', path: seed, readonly: true }]),
    ...(work === undefined ? [] : [{ serial: 'leet-work', path: work, readonly: false }]),
  ]
}

/** Where OSv has the disk of the working directories, beside a seed. */
const WORK_DEVICE = '/dev/vblk2'

/** What an OSv guest is told on its command line, which every user of the node can read: no secrets. */
export interface OsvBoot {
  /** Addresses and gateway in OSv's words, as `osvSeed` of contextualise writes them: `--ip=eth0,10.77.0.12,255.255.0.0`. */
  readonly network: readonly string[]
  /** Where the disk with the working directories is to be mounted; without one, undefined. */
  readonly workMount?: string | undefined
  /** Of the root file system; `--rootfs=rofs`, as composed images have it, unless told. */
  readonly root?: readonly string[] | undefined
  /** Paths in the guest, where the seed puts the PEM files; with them the REST server speaks TLS only. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
}

/**
 * The kernel command line. A crash ends QEMU (`--power-off-on-abort`) instead of leaving a guest that hangs, and the
 * kernel says on the console which program returned what (`--verbose`). The REST server is the foreground command: as
 * an init daemon it would be asked to stop when another command ends. What cannot be said is `LEET_E_OSV_BOOT`.
 */
export function osvCommandLine({ network, root = ['--rootfs=rofs'], workMount, tls }: OsvBoot): string {
  const words = [
    ...root,
    ...(workMount === undefined ? [] : [`--mount-fs=ext,${WORK_DEVICE},${workMount}`]),
    '--verbose',
    '--power-off-on-abort',
    ...network,
    '/libhttpserver-api.so',
    ...(tls ? ['--ssl', '--cert', tls.cert, '--key', tls.key, '--cacert', tls.ca] : []),
  ]
  for (const word of words) {
    // The kernel splits at white space; quotes, `;` `&` `!` and `$` mean something to it.
    if (!/^[\w./,:=@%+-]+$/.test(word)) {
      throw new LeetError({
        code: 'LEET_E_OSV_BOOT',
        where: 'the command line of an OSv guest',
        what: `${JSON.stringify(word)} cannot be said there`,
      })
    }
  }
  return words.join(' ')
}
