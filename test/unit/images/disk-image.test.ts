// Disk images that users name: what is taken and what is refused, with images as qemu-img really makes them.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { openDiskImage, readDiskHead } from '../../../launcher/images/disk-image.ts'
import { describeWith } from '../../support/needs.ts'

describe('readDiskHead', () => {
  it('reads any bytes, or refuses them with a sentence', () => {
    const magic = fc.constantFrom('QFI\xfb\0\0\0\x03', 'QFI\xfb\0\0\0\x02', 'QFI\xfb', 'KDMV', '')
    fc.assert(
      fc.property(magic, fc.uint8Array({ maxLength: 512 }), (start, rest) => {
        const head = Buffer.concat([Buffer.from(start, 'latin1'), rest]).subarray(0, 512)
        try {
          expect(['raw', 'qcow2']).toContain(readDiskHead(head, head.length, '/d').format)
        } catch (error) {
          expect((error as LeetError).code).toBe('LEET_E_IMAGE')
        }
      }),
    )
  })

  it('takes no qcow2 whose header names another file, whatever else it says', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        fc.constantFrom('backing', 'data'),
        (bytes, way) => {
          const head = Buffer.from(bytes)
          head.write('QFI\xfb\0\0\0\x03', 'latin1')
          if (way === 'backing') head.writeUInt32BE(9, 16)
          else head[79] = (head[79] as number) | 4
          expect(() => readDiskHead(head, 512, '/d')).toThrow(LeetError)
        },
      ),
    )
  })
})

describeWith(['qemu-img'], 'images that qemu-img made', () => {
  const folder = mkdtempSync(join(tmpdir(), 'leet-disks-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const at = (name: string) => join(folder, name)
  const make = (name: string, format: string, options: readonly string[] = []) => {
    execFileSync('qemu-img', ['create', '-q', '-f', format, ...options, at(name), '3M'])
    return at(name)
  }

  it.each(['compat=v3', 'compat=0.10'])('are taken when complete: %s', (compat) => {
    const path = make('plain', 'qcow2', ['-o', compat])
    expect(openDiskImage(path)).toEqual({ path, format: 'qcow2', size: 3 << 20 })
  })

  it('are refused when they refer to other files, are encrypted or another product’s', () => {
    make('under', 'raw')
    const backed = make('backed', 'qcow2', ['-b', at('under'), '-F', 'raw'])
    expect(() => openDiskImage(backed)).toThrow(/has a backing file/)
    const split = make('split', 'qcow2', ['-o', `data_file=${at('data')}`])
    expect(() => openDiskImage(split)).toThrow(/keeps its data in another file/)
    const secret = [
      '--object',
      'secret,id=s,data=x',
      '-o',
      // Not LUKS, whose key needs a measurement of this processor that fails when it is busy.
      'encrypt.format=aes,encrypt.key-secret=s',
    ]
    expect(() => openDiskImage(make('secret', 'qcow2', secret))).toThrow(/encrypted/)
    for (const format of ['vmdk', 'vdi', 'vhdx', 'vpc']) {
      expect(() => openDiskImage(make(format, format))).toThrow(/is a disk image of/)
    }
  })

  it('are taken raw when a BIOS would boot them', () => {
    const path = at('raw')
    writeFileSync(path, Buffer.alloc(510))
    expect(() => openDiskImage(path)).toThrow(/no disk image that can boot/)
    writeFileSync(path, Buffer.concat([Buffer.alloc(510), Buffer.from([0x55, 0xaa])]))
    truncateSync(path, 1 << 20)
    expect(openDiskImage(path)).toEqual({ path, format: 'raw', size: 1 << 20 })
  })
})
