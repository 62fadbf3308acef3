import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { doubleCommas, qemuArguments } from '../../../launcher/machines/qemu-args.ts'
import { checkMachineSpec, type MachineSpec } from '../../../launcher/machines/spec.ts'
import { cloud, linux, osv, placed } from './machines.ts'

// One option a line, with its value, as a person would read it.
function readable(args: readonly string[]): string {
  return `${args.join('\n').replaceAll(/^(-[a-z-]+)\n(?!-[a-z])/gm, '$1 ')}\n`
}

describe('qemuArguments', () => {
  it('says what it has always said', async () => {
    await expect(readable(qemuArguments(linux, 'kvm'))).toMatchFileSnapshot('golden/linux-kvm.txt')
    await expect(readable(qemuArguments(osv, 'tcg'))).toMatchFileSnapshot('golden/osv-tcg.txt')
    await expect(readable(qemuArguments(cloud, 'tcg'))).toMatchFileSnapshot('golden/cloud-tcg.txt')
    await expect(readable(qemuArguments(placed, 'kvm'))).toMatchFileSnapshot('golden/placed-kvm.txt')
  })

  it('lets no path become an option or a protocol', () => {
    const path = fc.string({ unit: 'grapheme' }).map((name) => `/${name}`)
    fc.assert(
      fc.property(path, (path) => {
        const spec: MachineSpec = {
          ...linux,
          disks: [{ serial: 'd', path, readonly: false }],
          shares: [{ tag: 't', path, readonly: false, securityModel: 'none' }],
        }
        const args = qemuArguments(spec, 'tcg')
        const argument = (option: string) => args[args.indexOf(option) + 1] as string
        expect(JSON.parse(argument('-blockdev')).file).toEqual({ driver: 'file', filename: path })
        expect(optionsOf(argument('-fsdev'))).toMatchObject({ path, security_model: 'none' })
      }),
    )
  })
})

// QEMU's own rule (util/qemu-option.c): a value ends at the first single comma; two commas are one.
function optionsOf(text: string): Record<string, string> {
  const parts = text.match(/(?:[^,]|,,)+/g) ?? []
  return Object.fromEntries(
    parts.map((part) => {
      const [name = '', ...value] = part.replaceAll(',,', ',').split('=')
      return [name, value.join('=')]
    }),
  )
}

describe('doubleCommas', () => {
  it('is undone by QEMU’s rule', () => {
    expect(doubleCommas('a,b,,c')).toBe('a,,b,,,,c')
  })
})

describe('checkMachineSpec', () => {
  it('accepts what jobs order', () => {
    expect(() => checkMachineSpec(linux)).not.toThrow()
    expect(() => checkMachineSpec(osv)).not.toThrow()
  })

  const [segment, control] = linux.nics as [MachineSpec['nics'][0], MachineSpec['nics'][0]]
  it.each<[string, Partial<MachineSpec>, string]>([
    ['name', { name: '-daemonize' }, 'its name is not a host name'],
    ['name with an option', { name: 'g0,debug-threads=on' }, 'its name is not a host name'],
    ['no memory', { memory: 0 }, 'at least 1 MiB'],
    ['no vCPU', { cpus: 0 }, 'at least one vCPU'],
    ['half a vCPU', { cpus: 1.5 }, 'at least one vCPU'],
    ['too many vCPUs', { cpus: 300 }, '300 vCPUs are more than the 288'],
    ['CPU model', { cpuModel: 'max\nx' }, 'is not a CPU model'],
    ['relative path', { consoleFile: 'console' }, '"console" is not an absolute path'],
    ['NUL', { consoleFile: '/a\0b' }, 'is not an absolute path'],
    ['command line', { kernel: { image: '/k', commandLine: 'x'.repeat(2048) } }, 'longer than 2047 bytes'],
    ['serial', { disks: [{ serial: 'a,b', path: '/d', readonly: true }] }, 'not a serial number'],
    [
      'base under raw',
      { disks: [{ serial: 'd', path: '/d', base: { path: '/b', format: 'raw' }, readonly: false }] },
      'which only qcow2 can have',
    ],
    ['nic id', { nics: [{ ...control, id: 'a,b' }] }, 'not a name of a network interface'],
    ['same nic twice', { nics: [segment, segment] }, 'have the same name'],
    ['multicast MAC', { nics: [{ ...control, mac: '01:00:5e:00:00:01' }] }, 'not a unicast MAC'],
    [
      'bridge',
      {
        nics: [
          { ...control, link: { kind: 'bridge', plug: { bridge: 'a,b', mtu: 1500, helper: undefined } } },
        ],
      },
      'not a name of a bridge',
    ],
    ['port', { nics: [{ ...control, link: { kind: 'user', forwards: [0] } }] }, 'not all are port numbers'],
    [
      'tag',
      { shares: [{ tag: 'x'.repeat(32), path: '/', readonly: true, securityModel: 'none' }] },
      'not a tag',
    ],
  ])('refuses: %s', (_, change, message) => {
    expect(() => checkMachineSpec({ ...linux, ...change })).toThrow(
      expect.objectContaining({ code: 'LEET_E_MACHINE', message: expect.stringContaining(message) }),
    )
  })
})
