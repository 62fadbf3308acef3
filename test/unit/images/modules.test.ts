import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Deadline } from '../../../common/index.ts'
import { decompress } from '../../../launcher/images/decompress.ts'
import {
  findKernel,
  hasPvhEntry,
  kernelPayload,
  MODULE_SETS,
  ROOT_MODULES,
} from '../../../launcher/images/kernel.ts'
import { loadOrder, parseModuleIndex, readModuleIndex } from '../../../launcher/images/modules.ts'
import { describeWith, isMet } from '../../support/needs.ts'

const limits = { deadline: Deadline.after(30_000) }

describe('loadOrder', () => {
  const index = parseModuleIndex(
    [
      'kernel/a/virtio-net.ko.xz: kernel/b/fail_over.ko.xz kernel/c/virtio.ko.xz',
      'kernel/b/fail_over.ko.xz: kernel/c/virtio.ko.xz',
      'kernel/c/virtio.ko.xz:',
      'kernel/d/libcrc32c.ko:',
      'kernel/e/crc32c_generic.ko:',
      'kernel/e/crc32c-intel.ko:',
      'kernel/f/erofs.ko: kernel/d/libcrc32c.ko',
    ].join('\n'),
    'kernel/g/overlay.ko\n',
    '# comment\nsoftdep libcrc32c pre: crc32c\nsoftdep other post: x\n',
    'alias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias pci:v* nonsense\n',
  )

  it('puts dependencies first, each once', () => {
    const { files } = loadOrder(index, ['virtio_net', 'virtio'])
    expect(files.map(({ name }) => name)).toEqual(['virtio', 'fail_over', 'virtio_net'])
    expect(files[2]?.path).toBe('kernel/a/virtio-net.ko.xz')
  })

  it('has soft dependencies, by their aliases, as optional', () => {
    const { files } = loadOrder(index, ['erofs'])
    expect(files.map(({ name, optional }) => `${name} ${optional}`)).toEqual([
      'crc32c_intel true',
      'crc32c_generic true',
      'libcrc32c false',
      'erofs false',
    ])
  })

  it('leaves out what is built in and names what is not known', () => {
    expect(loadOrder(index, ['overlay', '9p'])).toEqual({ files: [], unknown: ['9p'] })
  })

  it('ends on any text', () => {
    const line = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.array(fc.constantFrom('a.ko', 'b.ko', 'c.ko')))
    fc.assert(
      fc.property(fc.array(line), fc.string(), (lines, junk) => {
        const dep = lines.map(([name, needs]) => `${name}.ko: ${needs.join(' ')}`).join('\n')
        const { files } = loadOrder(parseModuleIndex(`${dep}\n${junk}`, junk, junk, junk), ['a', 'b'])
        expect(new Set(files.map(({ name }) => name)).size).toBe(files.length)
      }),
    )
  })
})

const version = existsSync('/lib/modules') ? readdirSync('/lib/modules').sort().at(-1) : undefined

describeWith(['modprobe'], 'modules of an installed kernel', () => {
  it.runIf(isMet('modules of a kernel', '/lib/modules', version !== undefined))(
    'are ordered as modprobe would insert them',
    () => {
      const index = readModuleIndex(`/lib/modules/${version}`)
      for (const name of [...ROOT_MODULES, ...Object.values(MODULE_SETS).flat()]) {
        const shown = execFileSync('modprobe', ['-S', version as string, '--show-depends', name], {
          encoding: 'utf8',
          env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' },
        })
        const expected = [...shown.matchAll(/^insmod \S*\/([\w-]+)\.ko/gm)].map(([, file]) =>
          (file as string).replaceAll('-', '_'),
        )
        const ours = loadOrder(index, [name]).files.map((file) => file.name)
        expect(new Set(ours)).toEqual(new Set(expected))
        for (const file of ours) {
          for (const need of index.modules.get(file)?.needs ?? []) {
            if (!index.builtin.has(need)) expect(ours.indexOf(need)).toBeLessThan(ours.indexOf(file))
          }
        }
      }
    },
  )
})

describe('kernels', () => {
  const payload = Buffer.from('the kernel, compressed')
  const bzImage = (body: Buffer) => {
    const image = Buffer.alloc(5 * 512 + 16 + body.length)
    image.writeUInt8(4, 0x1f1)
    image.write('HdrS', 0x202)
    image.writeUInt16LE(0x20f, 0x206)
    image.writeUInt32LE(16, 0x248)
    image.writeUInt32LE(body.length, 0x24c)
    body.copy(image, 5 * 512 + 16)
    return image
  }

  it('have their compressed part where the boot protocol says', () => {
    expect(kernelPayload(bzImage(Buffer.concat([payload, Buffer.from('SIZE')])))).toEqual(payload)
    const gzip = gzipSync(payload)
    expect(kernelPayload(bzImage(gzip))).toEqual(gzip)
    expect(kernelPayload(bzImage(payload).subarray(0, 5 * 512 + 20))).toBeUndefined()
    expect(kernelPayload(Buffer.from('MZ'))).toBeUndefined()
  })

  it('are decompressed by Node or by a command', async () => {
    expect(await decompress(gzipSync(payload), 'k', limits)).toEqual(payload)
    expect(await decompress(zstdCompressSync(payload), 'k', limits)).toEqual(payload)
    for (const command of ['xz', 'lz4']) {
      const bytes = execFileSync(command, command === 'lz4' ? ['-l', '-c'] : ['-c'], { input: payload })
      expect(await decompress(bytes, 'k', limits)).toEqual(payload)
    }
    await expect(decompress(payload, '/boot/k', limits)).rejects.toThrow(
      '/boot/k: is compressed in an unknown way',
    )
    await expect(decompress(gzipSync(payload).subarray(0, 20), 'k', limits)).rejects.toThrow(
      'cannot be decompressed',
    )
    await expect(decompress(Buffer.from('fd377a585a00ffff', 'hex'), 'k', limits)).rejects.toThrow('(xz)')
  })

  it('with a PVH entry are known by their note', () => {
    const note = Buffer.from('04000000040000001200000058656e00', 'hex')
    expect(hasPvhEntry(Buffer.concat([Buffer.alloc(64), note]))).toBe(true)
    expect(hasPvhEntry(Buffer.alloc(100))).toBe(false)
  })

  it('are refused with what they lack', () => {
    expect(() => findKernel({ file: '/dev/null', modules: '/nonexistent' })).toThrow(
      '/nonexistent: modules.dep cannot be read',
    )
    expect(() => findKernel({ file: '/nonexistent', modules: '/' })).toThrow('/nonexistent: cannot be read')
  })
})
