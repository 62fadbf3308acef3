// Machines as jobs order them, for the tests of both drivers.
import type { MachineSpec } from '../../../launcher/machines/spec.ts'

export const linux: MachineSpec = {
  name: 'leet-42-g0',
  memory: 512 << 20,
  cpus: 2,
  machineType: 'q35',
  kernel: {
    image: '/cache/leet/vmlinuz',
    initrd: '/cache/leet/initrd',
    commandLine: 'console=ttyS0 panic=-1 root=/dev/vda',
  },
  disks: [
    { serial: 'closure', path: '/cache/leet/closure,1.img', readonly: true },
    { serial: 'seed', path: '/run/user/1000/leet/1.2.abcdef/g0.iso', readonly: true },
  ],
  nics: [
    {
      id: 'segment',
      mac: '52:54:0a:4d:01:01',
      link: { kind: 'vde', socketDirectory: '/run/user/1000/leet/a,b/segment' },
    },
    { id: 'control', mac: '52:54:0a:00:02:0f', link: { kind: 'user', forwards: [22, 8000] } },
    {
      id: 'site',
      mac: '52:54:0a:4d:01:02',
      link: {
        kind: 'bridge',
        plug: { bridge: 'br0', mtu: 1500, helper: '/usr/lib/qemu/qemu-bridge-helper' },
      },
    },
    {
      id: 'root',
      mac: '52:54:0a:4d:01:03',
      link: { kind: 'bridge', plug: { bridge: 'br0', mtu: 1500, helper: undefined } },
    },
  ],
  shares: [
    { tag: 'leet:work0', path: '/home/ada/cases, old', readonly: false, securityModel: 'none' },
    { tag: 'site', path: '/opt/site', readonly: true, securityModel: 'passthrough' },
  ],
  consoleFile: '/run/user/1000/leet/1.2.abcdef/g0.console',
}

/** On processors of its own, as a site with huge pages and vhost-net has it. */
export const placed: MachineSpec = {
  ...linux,
  memory: 513 << 20,
  nics: [
    {
      id: 'site',
      mac: '52:54:0a:4d:01:02',
      link: {
        kind: 'bridge',
        plug: { bridge: 'br0', mtu: 1500, helper: '/usr/lib/qemu/qemu-bridge-helper', vhost: true },
      },
    },
    {
      id: 'root',
      mac: '52:54:0a:4d:01:03',
      link: { kind: 'bridge', plug: { bridge: 'br0', mtu: 1500, helper: undefined, vhost: true } },
    },
  ],
  placement: { vcpus: [4, 6], others: [5, 7], memoryNode: 1, hugePage: 2 << 20 },
}

export const osv: MachineSpec = {
  name: 'osv0',
  memory: (128 << 20) + 1,
  cpus: 1,
  machineType: 'pc',
  cpuModel: 'qemu64',
  kernel: { image: '/cache/leet/loader-stripped.elf', commandLine: '--rootfs=rofs /libhttpserver-api.so' },
  disks: [{ serial: 'root', path: '/cache/leet/rofs.img', readonly: true, bootIndex: 0 }],
  nics: [{ id: 'control', mac: '52:54:0a:00:02:0f', link: { kind: 'user', forwards: [8000] } }],
  shares: [],
  consoleFile: '/tmp/leet-0/1.2.abcdef/osv0.console',
}

export const cloud: MachineSpec = {
  ...osv,
  name: 'cloud0',
  machineType: 'q35',
  kernel: undefined,
  disks: [
    {
      serial: 'root',
      path: '/run/leet/1/g0.qcow2',
      format: 'qcow2',
      base: { path: '/images/debian,12.qcow2', format: 'qcow2' },
      readonly: false,
      bootIndex: 0,
    },
    { serial: 'data', path: '/images/data.qcow2', format: 'qcow2', readonly: true },
  ],
}
