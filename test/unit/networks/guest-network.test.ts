import { describe, expect, it } from 'vitest'
import { checkMachineSpec } from '../../../launcher/machines/spec.ts'
import { parseSubnet } from '../../../launcher/networks/addresses.ts'
import {
  bridgeNetwork,
  type GuestNetwork,
  localNetwork,
  userNetwork,
} from '../../../launcher/networks/guest-network.ts'

const options = {
  subnet: parseSubnet('10.77.0.0/16', 'test'),
  node: 2,
  socketDirectory: '/run/segment',
  controlPort: 22,
}
const plug = { bridge: 'br0', mtu: 9000, helper: undefined }
const local = [0, 1].map((guest) => localNetwork({ ...options, guest })) as [GuestNetwork, GuestNetwork]

describe('networks of guests', () => {
  it('has two interfaces where guests share a segment', () => {
    expect(local[1].interfaces).toEqual([
      { name: 'eth0', mac: '52:54:0a:4d:03:02', ipv4: { address: '10.77.3.2', prefix: 16 } },
      {
        name: 'eth1',
        mac: '52:54:0a:00:02:0f',
        ipv4: { address: '10.0.2.15', prefix: 24 },
        gateway: '10.0.2.2',
      },
    ])
    expect(local[1].segment).toEqual({ interfaceName: 'eth0', address: '10.77.3.2', cidr: '10.77.0.0/16' })
  })

  it('takes the MTU of a bridge', () => {
    expect(bridgeNetwork({ ...options, guest: 1, plug }).interfaces[0]).toEqual({
      name: 'eth0',
      mac: '52:54:0a:4d:03:02',
      ipv4: { address: '10.77.3.2', prefix: 16 },
      mtu: 9000,
    })
  })

  it('leads no port of the node to a guest on a bridge that is controlled at its own address', () => {
    const { nics, control } = bridgeNetwork({ ...options, guest: 1, plug, direct: true })
    expect(nics.map(({ link }) => link)).toEqual([
      { kind: 'bridge', plug },
      { kind: 'user', forwards: [] },
    ])
    expect(control).toMatchObject({ port: 22, direct: true })
  })

  it('has one interface for a guest alone', () => {
    const { interfaces, segment, address } = userNetwork(8000)
    expect(interfaces.map(({ name }) => name)).toEqual(['eth0'])
    expect(address).toBe('10.0.2.15')
    expect(segment).toBeUndefined()
  })

  it.each([
    ['user', userNetwork(22)],
    ['local', local[0]],
    ['bridge', bridgeNetwork({ ...options, guest: 0, plug })],
  ])('mode %s: NICs and interfaces agree, control is forwarded, QEMU accepts it', (_, network) => {
    expect(network.nics.map(({ mac }) => mac)).toEqual(network.interfaces.map(({ mac }) => mac))
    const control = network.nics.find(({ id }) => id === network.control.nic)
    expect(control?.link).toEqual({ kind: 'user', forwards: [network.control.port] })
    const spec = {
      name: 'g',
      memory: 2 ** 27,
      cpus: 1,
      machineType: 'q35',
      disks: [],
      shares: [],
      consoleFile: '/c',
    } as const
    expect(() => checkMachineSpec({ ...spec, nics: network.nics })).not.toThrow()
  })
})
