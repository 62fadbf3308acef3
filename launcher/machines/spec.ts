// A virtual machine as the launcher orders it: what QEMU is to provide, and nothing of what runs in it.
import { isAbsolute } from 'node:path'
import { LeetError } from '../../common/index.ts'

/** QEMU's name of what runs a guest's instructions. */
export type Accelerator = 'kvm' | 'tcg'

/** A virtual machine to be started. All paths are absolute. */
export interface MachineSpec {
  /** Host name of the guest, also QEMU's name for it. */
  readonly name: string
  /** Bytes; rounded up to whole MiB. */
  readonly memory: number
  readonly cpus: number
  /** `pc` for OSv (q35 with virtio-blk hangs there), `q35` for Linux. */
  readonly machineType: 'q35' | 'pc'
  /** QEMU's name of a CPU model; by default the host's under KVM and `max` under emulation. */
  readonly cpuModel?: string
  /** Boots this kernel directly; without it the machine boots from the disk with the lowest bootindex. */
  readonly kernel?: DirectKernel
  readonly disks: readonly Disk[]
  readonly nics: readonly Nic[]
  readonly shares: readonly Share[]
  /** What the guest writes to its serial console is appended to this file, whose last 16 MiB or more are kept. */
  readonly consoleFile: string
  /** Anywhere, in pages of any size, unless told. */
  readonly placement?: Placement
}

/** Where on the host a machine runs. */
export interface Placement {
  /** The processor of each vCPU, by its number; undefined: none has one of its own. */
  readonly vcpus?: readonly number[]
  /** Processors of the hypervisor's other threads, and of vCPUs that have none of their own. */
  readonly others?: readonly number[]
  /** NUMA node that the memory comes from as long as it has some. */
  readonly memoryNode?: number
  /** Bytes of a huge page: the memory consists of such. */
  readonly hugePage?: number
}

/** A kernel that QEMU loads itself: a bzImage, or an ELF file with a PVH or multiboot entry. */
export interface DirectKernel {
  readonly image: string
  readonly initrd?: string
  readonly commandLine: string
}

/** What the bytes of a disk's file are. Always said, never left to QEMU to guess: a guest could write what it guesses by. */
export type DiskFormat = 'raw' | 'qcow2'

/** A virtio-blk disk. Guests see them in this order: vda, vdb, … */
export interface Disk {
  /** At most 20 characters; Linux shows it under /dev/disk/by-id as `virtio-SERIAL`. */
  readonly serial: string
  readonly path: string
  /** `raw` unless told. */
  readonly format?: DiskFormat
  /**
   * What is under `path`, a qcow2 file that holds what the guest changes; it is only read. What a qcow2 file itself says
   * is under it is never followed.
   */
  readonly base?: { readonly path: string; readonly format: DiskFormat }
  readonly readonly: boolean
  readonly bootIndex?: number
}

/** A virtio-net interface. Guests see them in this order: eth0, eth1, … */
export interface Nic {
  readonly id: string
  /** `52:54:0a:4d:01:01`; unicast. */
  readonly mac: string
  readonly link: NicLink
}

/** What a NIC is plugged into. */
export type NicLink =
  /** QEMU's user networking: the host is 10.0.2.2. Ports of `forwards` become ports of 127.0.0.1 chosen by the kernel. */
  | { readonly kind: 'user'; readonly forwards: readonly number[] }
  /** A port of the vde_switch with this socket directory. */
  | { readonly kind: 'vde'; readonly socketDirectory: string }
  /** A tap of QEMU's own, which goes with it, in a bridge of the host; from `inspectBridge`. */
  | { readonly kind: 'bridge'; readonly plug: BridgePlug }

/** How a machine gets into a bridge. */
export interface BridgePlug {
  readonly bridge: string
  /** Of the bridge, in bytes; the tap gets the same. */
  readonly mtu: number
  /** QEMU's setuid program that makes the tap; undefined for root, who needs none. */
  readonly helper: string | undefined
  /** This user may use /dev/vhost-net: under KVM packets go through the kernel instead of QEMU. */
  readonly vhost?: boolean
}

/** A directory of the host that the guest may mount by 9p. */
export interface Share {
  /** At most 31 letters, digits, `_`, `-` and `:`. */
  readonly tag: string
  readonly path: string
  readonly readonly: boolean
  /** `none`: files belong to who runs QEMU, failing to change owners is not an error. `passthrough` needs root. */
  readonly securityModel: 'none' | 'passthrough' | 'mapped-xattr'
}

/** Refuses, with `LEET_E_MACHINE`, a specification that QEMU would misunderstand or refuse with a worse message. */
export function checkMachineSpec(spec: MachineSpec): void {
  const refuse = (what: string, hint?: string): never => {
    throw new LeetError({ code: 'LEET_E_MACHINE', where: `guest ${spec.name}`, what, hint })
  }
  if (!/^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(spec.name)) refuse('its name is not a host name')
  if (!(Number.isSafeInteger(spec.memory) && spec.memory >= MIB)) refuse('it needs at least 1 MiB of memory')
  if (!(Number.isSafeInteger(spec.cpus) && spec.cpus >= 1)) refuse('it needs at least one vCPU')
  if (spec.cpus > CPU_LIMITS[spec.machineType]) {
    refuse(
      `${spec.cpus} vCPUs are more than the ${CPU_LIMITS[spec.machineType]} of machine type ${spec.machineType}`,
    )
  }
  if (spec.cpuModel !== undefined && !/^[A-Za-z0-9][\w.,=+-]*$/.test(spec.cpuModel)) {
    refuse(`"${spec.cpuModel}" is not a CPU model`, 'qemu-system-x86_64 -cpu help lists them')
  }
  for (const path of pathsOf(spec)) {
    if (!isAbsolute(path) || path.includes('\0')) refuse(`${JSON.stringify(path)} is not an absolute path`)
  }
  if (Buffer.byteLength(spec.kernel?.commandLine ?? '') > COMMAND_LINE_LIMIT) {
    refuse(`its kernel command line is longer than ${COMMAND_LINE_LIMIT} bytes`)
  }
  if (spec.kernel?.commandLine.includes('\0')) refuse('its kernel command line has a NUL character')
  for (const { serial, format, base } of spec.disks) {
    if (!/^[A-Za-z0-9_-]{1,20}$/.test(serial)) refuse(`"${serial}" is not a serial number of a disk`)
    if (base && format !== 'qcow2') refuse(`its disk ${serial} has a base, which only qcow2 can have`)
  }
  for (const { id, mac, link } of spec.nics) {
    if (!/^[A-Za-z][A-Za-z0-9-]{0,14}$/.test(id)) refuse(`"${id}" is not a name of a network interface`)
    if (!/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac)) refuse(`"${mac}" is not a unicast MAC address`)
    if (link.kind === 'bridge' && !isInterfaceName(link.plug.bridge)) {
      refuse(`"${link.plug.bridge}" is not a name of a bridge`)
    }
    const forwards = link.kind === 'user' ? link.forwards : []
    if (!forwards.every((port) => Number.isInteger(port) && port > 0 && port < 65_536)) {
      refuse(`${forwards.join(', ')}: not all are port numbers`)
    }
  }
  for (const { tag } of spec.shares) {
    if (!/^[\w:-]{1,31}$/.test(tag)) refuse(`"${tag}" is not a tag of a shared directory`)
  }
  for (const names of [spec.nics.map(({ id }) => id), spec.shares.map(({ tag }) => tag)]) {
    if (new Set(names).size !== names.length) refuse(`two of ${names.join(', ')} have the same name`)
  }
}

/** MiB of a machine's memory: whole huge pages, where it has such. */
export function mebibytesOf({ memory, placement }: Pick<MachineSpec, 'memory' | 'placement'>): number {
  const unit = Math.max(MIB, placement?.hugePage ?? MIB)
  return (Math.ceil(memory / unit) * unit) / MIB
}

/** Whether Linux would take it as a name of a network interface, and no program as an option. */
export function isInterfaceName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(name)
}

const MIB = 2 ** 20
/** Linux on x86 has COMMAND_LINE_SIZE 2048 with its NUL and silently cuts the rest off. */
const COMMAND_LINE_LIMIT = 2047
/** What QEMU 7.2 says when asked for more. */
const CPU_LIMITS = { pc: 255, q35: 288 } as const

function pathsOf(spec: MachineSpec): string[] {
  const { kernel, disks, nics, shares, consoleFile } = spec
  return [
    consoleFile,
    ...(kernel ? [kernel.image, ...(kernel.initrd === undefined ? [] : [kernel.initrd])] : []),
    ...disks.flatMap(({ path, base }) => (base ? [path, base.path] : [path])),
    ...nics.flatMap(({ link }) => (link.kind === 'vde' ? [link.socketDirectory] : [])),
    ...nics.flatMap(({ link }) => (link.kind === 'bridge' ? (link.plug.helper ?? []) : [])),
    ...shares.map(({ path }) => path),
  ]
}
