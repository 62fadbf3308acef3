import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTaps } from '../../../launcher/machines/taps.ts'

// As QEMU 7.2 prints it.
const TEXT = [
  'virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:0a:4d:01:01',
  ' \\ segment: index=0,type=tap,ifname=leet0,script=no,downscript=no',
  'virtio-net-pci.1: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:0a:00:02:0f',
  ' \\ control: index=0,type=user,net=10.0.2.0,restrict=off',
  'virtio-net-pci.2: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:0a:4d:01:02',
  ' \\ other: index=0,type=tap,helper=/usr/lib/qemu/qemu-bridge-helper,br=br0',
  '',
].join('\r\n')

describe('parseTaps', () => {
  it('finds the taps that QEMU made itself', () => {
    expect([...parseTaps(TEXT)]).toEqual([['segment', 'leet0']])
  })

  it('gives no name that ip(8) could take for an option', () => {
    expect([...parseTaps(' \\ segment: index=0,type=tap,ifname=-batch,script=no')]).toEqual([])
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(parseTaps(text).size).toBe(0)
      }),
    )
  })
})
