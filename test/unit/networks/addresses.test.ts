import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  DEFAULT_SUBNET,
  formatSubnet,
  guestAddress,
  macOf,
  nodeOfAddress,
  parseSubnet,
  privateSubnet,
} from '../../../launcher/networks/addresses.ts'

const subnet = parseSubnet(DEFAULT_SUBNET, 'test')

describe('parseSubnet', () => {
  it('reads networks', () => {
    expect(parseSubnet('10.77.0.0/16', 'x')).toEqual({ base: 0x0a4d0000, prefix: 16 })
    expect(formatSubnet(parseSubnet('192.168.200.64/26', 'x'))).toBe('192.168.200.64/26')
  })

  it.each([
    ['10.77.0.0', 'is not an IPv4 network'],
    ['10.77.0.0/33', 'is not an IPv4 network'],
    ['10.77.0.0/30', 'is not an IPv4 network'],
    ['10.277.0.0/16', 'is not an IPv4 network'],
    ['fd00::/64', 'is not an IPv4 network'],
    ['10.77.1.0/16', 'has bits set beyond its prefix'],
  ])('refuses %s', (text, message) => {
    expect(() => parseSubnet(text, '--subnet')).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining(message) }),
    )
  })
})

describe('guestAddress', () => {
  it('is 10.77.node.guest by default', () => {
    expect(guestAddress(subnet, 0, 0)).toBe('10.77.1.1')
    expect(guestAddress(subnet, 254 - 1, 253)).toBe('10.77.254.254')
    expect(guestAddress(parseSubnet('10.64.0.0/12', 'x'), 999, 7)).toBe('10.67.247.8')
  })

  it('says when there is no room', () => {
    expect(() => guestAddress(subnet, 255, 0)).toThrow('room for 255 nodes with 254 guests each')
    expect(() => guestAddress(subnet, 0, 254)).toThrow('guest 255 of node 1 would be beyond that')
    expect(() => guestAddress(parseSubnet('10.0.0.0/28', 'x'), 0, 2)).toThrow(
      'room for 3 nodes with 2 guests each',
    )
  })

  it('never gives an address twice, nor one outside the network', () => {
    const place = fc.record({ node: fc.nat(14), guest: fc.nat(13) })
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 24 }), place, place, (prefix, a, b) => {
        const network = { base: 0x0a000000, prefix }
        const [first, second] = [a, b].map(({ node, guest }) => guestAddress(network, node, guest))
        expect(first === second).toBe(a.node === b.node && a.guest === b.guest)
        const value = (first as string).split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
        expect(value).toBeGreaterThan(network.base)
        expect(value).toBeLessThan(network.base + 2 ** (32 - prefix) - 1)
      }),
    )
  })
})

describe('nodeOfAddress', () => {
  it('is the node whose guests have ranges of their own', () => {
    expect(nodeOfAddress(subnet, '10.77.0.11')).toBe(10)
    expect(guestAddress(subnet, 10, 0)).toBe('10.77.11.1')
    for (const address of ['10.77.0.0', '10.77.1.0', '10.78.0.1', '192.168.0.1']) {
      expect(nodeOfAddress(subnet, address)).toBeUndefined()
    }
  })

  it('never takes the address of a guest for that of a node', () => {
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 28 }), fc.nat(70_000), fc.nat(253), (prefix, node, guest) => {
        const network = { base: 0x0a000000, prefix }
        let address: string
        try {
          address = guestAddress(network, node, guest)
        } catch {
          return
        }
        expect(nodeOfAddress(network, address)).toBeUndefined()
      }),
    )
  })
})

describe('macOf', () => {
  it('is the address after a locally administered, unicast prefix', () => {
    expect(macOf('10.77.1.1')).toBe('52:54:0a:4d:01:01')
    expect(macOf('192.168.255.254')).toBe('52:54:c0:a8:ff:fe')
  })
})

describe('privateSubnet', () => {
  it('keeps off the networks of the node', () => {
    expect(privateSubnet('10.77.0.0/16', ['192.168.1.7/24'])).toBe('10.77.0.0/16')
    expect(privateSubnet('10.77.0.0/16', ['10.200.0.1/8'])).toBe('172.20.0.0/16')
    expect(privateSubnet('10.77.0.0/16', ['10.77.3.4/24', '10.78.0.1/16', 'fe80::1/64'])).toBe('10.79.0.0/16')
  })
  it('leaves what the user chose, and the usual one where there is no other', () => {
    expect(privateSubnet('10.9.0.0/16', ['10.9.0.1/16'])).toBe('10.9.0.0/16')
    expect(privateSubnet('10.77.0.0/16', ['10.0.0.1/8', '172.16.0.1/12'])).toBe('10.77.0.0/16')
  })
})
