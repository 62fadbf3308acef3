// A guest's layer over an OSv disk image that boots by itself, by QEMU's own tools: what the guest is told, and that the
// image stays as it was.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { makeOsvLayer, rootWords } from '../../launcher/node/osv-disk.ts'
import { describeWith } from '../support/needs.ts'

describe('rootWords', () => {
  it('keeps what the image says of its root, and nothing else', () => {
    const said = (text: string) => rootWords(Buffer.from(`${text}\0\0rest`), 'disk')
    expect(said('--rootfs=rofs /libhttpserver-api.so')).toEqual(['--rootfs=rofs'])
    expect(said('--nomount  --verbose /a.so --rootfs=zfs')).toEqual(['--nomount', '--rootfs=zfs'])
    expect(said('/a.so')).toEqual([])
  })
  it('refuses what is no OSv', () => {
    for (const bytes of [Buffer.alloc(64), Buffer.from('\x01\x02\0')]) {
      expect(() => rootWords(bytes, 'disk.img')).toThrow(/disk\.img: is no OSv image/)
    }
  })
})

describeWith(['qemu-img', 'qemu-io'], 'the layer of an OSv guest', () => {
  const limits = () => ({ deadline: Deadline.after(30_000) })
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'leet osv '))
  })
  afterEach(() => rmSync(folder, { recursive: true }))
  const must = async (...argv: [string, ...string[]]) => {
    const { status, stderr } = await runCommand(argv, limits())
    if (status !== 0) throw new Error(stderr)
  }

  it.each(['raw', 'qcow2'] as const)('has its own command line over a %s image', async (format) => {
    const raw = join(folder, 'disk.raw')
    const bytes = Buffer.alloc(1 << 20, 0xa5)
    bytes.fill(0, 512, 4096)
    bytes.write('--rootfs=zfs /old.so', 512, 'latin1')
    writeFileSync(raw, bytes)
    const disk = join(folder, `disk.${format}`)
    if (format === 'qcow2') await must('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, disk)
    const before = readFileSync(disk)

    const layer = join(folder, 'g0.qcow2')
    const commandLine = (root: readonly string[]) => [...root, '--ip=eth0,10.77.1.1', '/new.so'].join(' ')
    await makeOsvLayer(layer, { disk, format }, commandLine, limits())
    const whole = join(folder, 'whole')
    await must('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', layer, whole)
    const seen = readFileSync(whole)
    expect(seen.toString('latin1', 512, seen.indexOf(0, 512))).toBe(
      '--rootfs=zfs --ip=eth0,10.77.1.1 /new.so',
    )
    expect(seen.subarray(0, 512)).toEqual(bytes.subarray(0, 512))
    expect(seen.subarray(1536)).toEqual(bytes.subarray(1536))
    expect(readFileSync(disk)).toEqual(before)
  })
})
