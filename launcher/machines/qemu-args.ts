// A machine specification as QEMU's command line. Pure. Values that may hold a comma are written with the comma doubled
// (qemu(1)), disks as `-blockdev` JSON, so that no file name can be taken for an option or for a protocol such as nbd:.
import type { Accelerator } from './spec.ts'
import { type Disk, type MachineSpec, mebibytesOf, type Nic, type NicLink, type Share } from './spec.ts'

/** File descriptor under which QEMU inherits the QMP connection: no socket file, nobody else can connect. */
export const QMP_FD = 3
/** File descriptor of the serial console: a socket too, on which QEMU waits for its reader. */
export const CONSOLE_FD = 4

/** Arguments of qemu-system-x86_64 for a checked specification. */
export function qemuArguments(spec: MachineSpec, accelerator: Accelerator): string[] {
  return [
    ...['-name', `guest=${spec.name}`],
    // Nothing but what is said here; a reset ends QEMU, so that a guest that crashes is not booted again.
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', `${spec.machineType}${hasBackend(spec) ? ',memory-backend=memory' : ''}`],
    ...['-accel', accelerator],
    ...['-cpu', spec.cpuModel ?? DEFAULT_CPU[accelerator]],
    ...['-m', `size=${mebibytesOf(spec)}M`],
    ...memoryArguments(spec),
    // One socket, as the programs of a node expect its cores to share what they share.
    ...['-smp', `cpus=${spec.cpus},sockets=1,cores=${spec.cpus},threads=1`],
    ...kernelArguments(spec),
    ...['-chardev', `socket,id=qmp,fd=${QMP_FD}`, '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', `socket,id=console,fd=${CONSOLE_FD}`, '-serial', 'chardev:console'],
    ...spec.disks.flatMap(diskArguments),
    ...spec.nics.flatMap((nic) => nicArguments(nic, { vhost: accelerator === 'kvm' })),
    ...spec.shares.flatMap(shareArguments),
    ...['-device', 'virtio-rng-pci'],
  ]
}

/** A value in a list of options separated by commas (qemu(1)). */
export function doubleCommas(value: string): string {
  return value.replaceAll(',', ',,')
}

const DEFAULT_CPU: Readonly<Record<Accelerator, string>> = { kvm: 'host', tcg: 'max' }

function hasBackend({ placement }: MachineSpec): boolean {
  return placement?.memoryNode !== undefined || placement?.hugePage !== undefined
}

// Huge pages by memfd_create(2): that needs neither a mount nor a right. They are reserved when QEMU starts, so what is not
// there is said then, not in the middle of the guest's work.
function memoryArguments(spec: MachineSpec): string[] {
  if (!hasBackend(spec)) return []
  const { memoryNode, hugePage } = spec.placement ?? {}
  const backend = [
    hugePage === undefined ? 'memory-backend-ram' : 'memory-backend-memfd',
    `id=memory,size=${mebibytesOf(spec)}M`,
    ...(hugePage === undefined ? [] : [`hugetlb=on,hugetlbsize=${hugePage}`]),
    // Preferred: when the NUMA node has no more, slow memory is better than none.
    ...(memoryNode === undefined ? [] : [`host-nodes=${memoryNode},policy=preferred`]),
  ]
  return ['-object', backend.join(',')]
}

function kernelArguments({ kernel }: MachineSpec): string[] {
  if (!kernel) return []
  return [
    ...['-kernel', kernel.image],
    ...(kernel.initrd === undefined ? [] : ['-initrd', kernel.initrd]),
    ...['-append', kernel.commandLine],
  ]
}

function diskArguments(disk: Disk, index: number): string[] {
  const node = `disk${index}`
  const blockdev = { 'node-name': node, ...blockLayer(disk, disk.readonly) }
  const bootIndex = disk.bootIndex === undefined ? '' : `,bootindex=${disk.bootIndex}`
  return [
    ...['-blockdev', JSON.stringify(blockdev)],
    ...['-device', `virtio-blk-pci,drive=${node},serial=${disk.serial}${bootIndex}`],
  ]
}

function blockLayer({ path, format = 'raw', base }: DiskLayer, readonly: boolean): object {
  return {
    driver: format,
    'read-only': readonly,
    file: { driver: 'file', filename: path },
    // null: nothing is under it, whatever the file says.
    ...(format === 'qcow2' ? { backing: base ? blockLayer(base, true) : null } : {}),
  }
}

type DiskLayer = Pick<Disk, 'path' | 'format' | 'base'>

/** How `nicArguments` has an interface. */
export interface NicContext {
  /** Slot of PCI bus 0; the next free one unless told. */
  readonly slot?: number
  /** Packets may go through the kernel, which works well under KVM only. */
  readonly vhost?: boolean
}

/** An interface in QEMU's words. */
export function nicArguments({ id, mac, link }: Nic, { slot, vhost = false }: NicContext = {}): string[] {
  const place = slot === undefined ? '' : `,addr=0x${slot.toString(16)}`
  // No option ROM: nobody boots from the network, and its file is a package of its own. A link without a status is up
  // when its driver is; of another, Linux says so only in the next second (net/core/link_watch.c).
  return [
    '-netdev',
    netdev(id, link, vhost),
    '-device',
    `virtio-net-pci,netdev=${id},mac=${mac},romfile=,status=off${place}`,
  ]
}

function netdev(id: string, link: NicLink, vhost: boolean): string {
  switch (link.kind) {
    case 'user': {
      // Port 0: the kernel chooses, nobody can be faster. The guest has no IPv6 address to lose time with.
      const forwards = link.forwards.map((port) => `,hostfwd=tcp:127.0.0.1:0-:${port}`)
      return `user,id=${id},ipv6=off${forwards.join('')}`
    }
    case 'vde':
      return `vde,id=${id},sock=${doubleCommas(link.socketDirectory)}`
    case 'bridge': {
      const { bridge, helper } = link.plug
      const fast = vhost && link.plug.vhost ? ',vhost=on' : ''
      if (helper !== undefined) {
        // The same, but `bridge` has no word for vhost.
        const kind = fast === '' ? 'bridge' : 'tap'
        return `${kind},id=${id},br=${bridge},helper=${doubleCommas(helper)}${fast}`
      }
      // The kernel puts the first free number in the place of %d.
      return `tap,id=${id},ifname=leet%d,script=no,downscript=no${fast}`
    }
  }
}

function shareArguments(share: Share, index: number): string[] {
  const id = `share${index}`
  // multidevs=remap: file systems mounted below the directory must not show the same inode numbers.
  const fsdev = [
    `local,id=${id},path=${doubleCommas(share.path)}`,
    `security_model=${share.securityModel}`,
    'multidevs=remap',
    ...(share.readonly ? ['readonly=on'] : []),
  ]
  return ['-fsdev', fsdev.join(','), '-device', `virtio-9p-pci,fsdev=${id},mount_tag=${share.tag}`]
}
