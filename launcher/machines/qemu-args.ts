// A machine specification as QEMU's command line. Pure. Values that may hold a comma are written with the comma doubled
// (qemu(1)), disks as `-blockdev` JSON, so that no file name can be taken for an option or for a protocol such as nbd:.
import type { Accelerator } from './accel.ts'
import type { Disk, MachineSpec, Nic, NicLink, Share } from './spec.ts'

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
    ...['-machine', spec.machineType],
    ...['-accel', accelerator],
    ...['-cpu', spec.cpuModel ?? DEFAULT_CPU[accelerator]],
    ...['-m', `size=${Math.ceil(spec.memory / MIB)}M`],
    // One socket, as the programs of a node expect its cores to share what they share.
    ...['-smp', `cpus=${spec.cpus},sockets=1,cores=${spec.cpus},threads=1`],
    ...kernelArguments(spec),
    ...['-chardev', `socket,id=qmp,fd=${QMP_FD}`, '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', `socket,id=console,fd=${CONSOLE_FD}`, '-serial', 'chardev:console'],
    ...spec.disks.flatMap(diskArguments),
    ...spec.nics.flatMap(nicArguments),
    ...spec.shares.flatMap(shareArguments),
    ...['-device', 'virtio-rng-pci'],
  ]
}

/** A value in a list of options separated by commas (qemu(1)). */
export function doubleCommas(value: string): string {
  return value.replaceAll(',', ',,')
}

const MIB = 2 ** 20

const DEFAULT_CPU: Readonly<Record<Accelerator, string>> = { kvm: 'host', tcg: 'max' }

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
  const blockdev = {
    driver: 'raw',
    'node-name': node,
    'read-only': disk.readonly,
    file: { driver: 'file', filename: disk.path },
  }
  const bootIndex = disk.bootIndex === undefined ? '' : `,bootindex=${disk.bootIndex}`
  return [
    ...['-blockdev', JSON.stringify(blockdev)],
    ...['-device', `virtio-blk-pci,drive=${node},serial=${disk.serial}${bootIndex}`],
  ]
}

function nicArguments({ id, mac, link }: Nic): string[] {
  // No option ROM: nobody boots from the network, and its file is a package of its own.
  return ['-netdev', netdev(id, link), '-device', `virtio-net-pci,netdev=${id},mac=${mac},romfile=`]
}

function netdev(id: string, link: NicLink): string {
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
      if (helper !== undefined) return `bridge,id=${id},br=${bridge},helper=${doubleCommas(helper)}`
      // The kernel puts the first free number in the place of %d.
      return `tap,id=${id},ifname=leet%d,script=no,downscript=no`
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
