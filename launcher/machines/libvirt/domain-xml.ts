// A machine specification as a libvirt domain (libvirt's formatdomain page). Pure. The devices are those of the QEMU
// driver, in the same order on the PCI bus, so that guests number their disks and interfaces alike. What libvirt has no
// words for (a forwarded port, a vde switch, a second monitor) is passed through to QEMU in its own words.
import { LeetError } from '../../../common/index.ts'
import { doubleCommas, nicArguments } from '../qemu-args.ts'
import type { Accelerator } from '../spec.ts'
import { type Disk, type MachineSpec, mebibytesOf, type Nic, type Share } from '../spec.ts'
import { type Element, element, formatXml } from './xml.ts'

/** What a domain needs to be told besides the machine. */
export interface DomainContext {
  readonly jobId: string
  readonly qemu: string
  readonly accelerator: Accelerator
  /** Sockets on which this process waits for QEMU to connect. */
  readonly qmpSocket: string
  readonly consoleSocket: string
  /** QEMU's environment has this value of `markerVariable`: by it the reaper knows QEMU. */
  readonly marker: { readonly variable: string; readonly value: string }
  /** Security models of this libvirtd, as `virsh capabilities` names them. */
  readonly securityModels: readonly string[]
  /** Whom QEMU runs as, where libvirtd could run it as somebody else. */
  readonly user: { readonly uid: number; readonly gid: number }
}

/** Name space of what LEET says in a domain's metadata. */
const LEET_NAMESPACE = 'urn:leet:domain:1'
const QEMU_NAMESPACE = 'http://libvirt.org/schemas/domain/qemu/1.0'
/** Slots of PCI bus 0 that are free on both machine types: 0 and 1 are the chipset's, 31 is on q35. */
const FIRST_SLOT = 2
const LAST_SLOT = 30

/** The domain's description, for `virsh create`. The specification is checked already. */
export function domainXml(spec: MachineSpec, context: DomainContext): string {
  const { disks, nics, shares, cpus } = spec
  const afterDisks = FIRST_SLOT + disks.length
  const afterNics = afterDisks + nics.length
  const rngSlot = afterNics + shares.length
  if (rngSlot > LAST_SLOT) {
    throw new LeetError({
      code: 'LEET_E_MACHINE',
      where: `guest ${spec.name}`,
      what: 'it has more disks, interfaces and shared directories than a PCI bus has slots',
    })
  }
  const passed = nics.flatMap((nic, index) =>
    nic.link.kind === 'bridge' ? [] : nicArguments(nic, { slot: afterDisks + index }),
  )
  return formatXml(
    element(
      'domain',
      { type: context.accelerator === 'kvm' ? 'kvm' : 'qemu', 'xmlns:qemu': QEMU_NAMESPACE },
      [
        element('name', {}, spec.name),
        element('metadata', {}, [
          element('leet:job', { 'xmlns:leet': LEET_NAMESPACE, id: context.jobId, guest: spec.name }),
        ]),
        element('memory', { unit: 'MiB' }, String(mebibytesOf(spec))),
        ...placementElements(spec),
        element('os', {}, [
          element('type', { arch: 'x86_64', machine: spec.machineType }, 'hvm'),
          ...kernelElements(spec),
        ]),
        element('features', {}, [element('acpi'), element('apic')]),
        element('cpu', { mode: context.accelerator === 'kvm' ? 'host-passthrough' : 'maximum' }, [
          element('topology', { sockets: '1', dies: '1', cores: String(cpus), threads: '1' }),
        ]),
        ...['on_poweroff', 'on_reboot', 'on_crash'].map((name) => element(name, {}, 'destroy')),
        element('devices', {}, [
          element('emulator', {}, context.qemu),
          ...disks.map((disk, index) => diskElement(disk, index, FIRST_SLOT + index)),
          element('controller', { type: 'usb', model: 'none' }),
          ...shares.map((share, index) => shareElement(share, afterNics + index)),
          ...nics.flatMap((nic, index) => bridgeElements(nic, afterDisks + index)),
          element('serial', { type: 'unix' }, [
            element('source', { mode: 'connect', path: context.consoleSocket }),
            element('target', { port: '0' }),
          ]),
          element('memballoon', { model: 'none' }),
          element('rng', { model: 'virtio' }, [
            element('backend', { model: 'random' }, '/dev/urandom'),
            pciAddress(rngSlot),
          ]),
        ]),
        ...context.securityModels.flatMap((model) => securityLabel(model, context.user)),
        element('qemu:commandline', {}, [
          ...[
            ...['-chardev', `socket,id=leet-qmp,path=${doubleCommas(context.qmpSocket)}`],
            ...['-mon', 'chardev=leet-qmp,mode=control'],
            ...passed,
            // The last one counts.
            ...(spec.cpuModel === undefined ? [] : ['-cpu', spec.cpuModel]),
          ].map((value) => element('qemu:arg', { value })),
          element('qemu:env', { name: context.marker.variable, value: context.marker.value }),
        ]),
      ],
    ),
  )
}

/** The names of the security models in the output of `virsh capabilities`. */
export function parseSecurityModels(capabilities: string): string[] {
  return [...capabilities.matchAll(/<secmodel>\s*<model>([a-z0-9_-]+)<\/model>/g)].map(
    ([, model]) => model as string,
  )
}

// libvirtd is not in the job's cgroups: what QEMU inherits from the job when LEET starts it, libvirt must be told.
function placementElements({ cpus, placement = {} }: MachineSpec): Element[] {
  const { vcpus, others, memoryNode, hugePage } = placement
  const cpuset = others?.join(',')
  return [
    ...(hugePage === undefined
      ? []
      : [
          element('memoryBacking', {}, [
            element('hugepages', {}, [element('page', { size: String(hugePage / 1024), unit: 'KiB' })]),
            element('source', { type: 'memfd' }),
          ]),
        ]),
    element('vcpu', { placement: 'static', cpuset }, String(cpus)),
    ...(vcpus
      ? [
          element('cputune', {}, [
            ...vcpus.map((processor, vcpu) =>
              element('vcpupin', { vcpu: String(vcpu), cpuset: String(processor) }),
            ),
            element('emulatorpin', { cpuset }),
          ]),
        ]
      : []),
    ...(memoryNode === undefined
      ? []
      : [element('numatune', {}, [element('memory', { mode: 'preferred', nodeset: String(memoryNode) })])]),
  ]
}

function kernelElements({ kernel }: MachineSpec): Element[] {
  if (!kernel) return []
  return [
    element('kernel', {}, kernel.image),
    ...(kernel.initrd === undefined ? [] : [element('initrd', {}, kernel.initrd)]),
    element('cmdline', {}, kernel.commandLine),
  ]
}

function diskElement(disk: Disk, index: number, slot: number): Element {
  const { path, format = 'raw', base, serial, bootIndex } = disk
  return element('disk', { type: 'file', device: 'disk' }, [
    element('driver', { name: 'qemu', type: format }),
    element('source', { file: path }),
    // An empty one: nothing is under it, whatever the file says.
    base
      ? element('backingStore', { type: 'file' }, [
          element('format', { type: base.format }),
          element('source', { file: base.path }),
          element('backingStore'),
        ])
      : element('backingStore'),
    element('target', { dev: `vd${String.fromCharCode(97 + index)}`, bus: 'virtio' }),
    ...(disk.readonly ? [element('readonly')] : []),
    element('serial', {}, serial),
    ...(bootIndex === undefined ? [] : [element('boot', { order: String(bootIndex + 1) })]),
    pciAddress(slot),
  ])
}

const ACCESS_MODES = { none: 'squash', passthrough: 'passthrough', 'mapped-xattr': 'mapped' } as const

function shareElement({ tag, path, readonly, securityModel }: Share, slot: number): Element {
  return element(
    'filesystem',
    { type: 'mount', accessmode: ACCESS_MODES[securityModel], multidevs: 'remap' },
    [
      element('source', { dir: path }),
      element('target', { dir: tag }),
      ...(readonly ? [element('readonly')] : []),
      pciAddress(slot),
    ],
  )
}

function bridgeElements({ mac, link }: Nic, slot: number): Element[] {
  if (link.kind !== 'bridge') return []
  return [
    element('interface', { type: 'bridge' }, [
      element('mac', { address: mac }),
      element('source', { bridge: link.plug.bridge }),
      element('model', { type: 'virtio' }),
      element('rom', { enabled: 'no' }),
      pciAddress(slot),
    ]),
  ]
}

function pciAddress(slot: number): Element {
  const hexadecimal = `0x${slot.toString(16).padStart(2, '0')}`
  return element('address', {
    ...{ type: 'pci', domain: '0x0000', bus: '0x00', slot: hexadecimal, function: '0x0' },
  })
}

// QEMU runs as the user of the job, who owns the files and sockets that it is given, and libvirtd changes no owners. A
// profile of another model would be made from the devices that libvirt knows, which are not all.
function securityLabel(model: string, { uid, gid }: DomainContext['user']): Element[] {
  if (model === 'none') return []
  if (model !== 'dac') return [element('seclabel', { type: 'none', model })]
  return [
    element('seclabel', { type: 'static', model, relabel: 'no' }, [element('label', {}, `+${uid}:+${gid}`)]),
  ]
}
