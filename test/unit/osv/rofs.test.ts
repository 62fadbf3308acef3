import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { layoutRofs, type RofsEntry, writeRofsDisk } from '../../../launcher/images/formats/index.ts'
import { readRofs } from '../../support/rofs.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-rofs-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A file of the host as content. */
const fromHost = (name: string) => {
  const host = join(folder, name)
  return { host, size: statSync(host).size }
}

const write = async (entries: readonly RofsEntry[], name = 'image') => {
  const path = join(folder, name)
  await writeRofsDisk(path, layoutRofs(entries))
  return readFileSync(path)
}

const file = (path: string, text: string): RofsEntry => ({
  kind: 'file',
  path,
  content: { bytes: Buffer.from(text) },
})

describe('the ROFS writer', () => {
  it('lays the smallest file system out as the format says', () => {
    const { superblock, structure, structureBlock, blocks } = layoutRofs([file('/ä', 'x')])
    const numbers = Array.from({ length: 8 }, (_, i) => Number(superblock.readBigUInt64LE(i * 8)))
    expect(numbers).toEqual([0xdeadbead, 1, 512, 2, 1, 1, 0, 2])
    expect([structureBlock, blocks]).toEqual([2, 3])
    // Directory entry: inode 2, two bytes of UTF-8.
    expect(structure.subarray(0, 12)).toEqual(Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xc3, 0xa4]))
    const inodes = Array.from({ length: 8 }, (_, i) => Number(structure.readBigUInt64LE(12 + i * 8)))
    expect(inodes).toEqual([0x4000, 1, 0, 1, 0x8000, 2, 1, 1])
  })

  it('writes a disk whose second partition holds the file system', async () => {
    const disk = await write([file('/a', 'hello')])
    expect(disk.readUInt16LE(510)).toBe(0xaa55)
    expect(disk[0x1be + 4]).toBe(0)
    const entry = 0x1be + 16
    expect([disk[entry + 2], disk[entry + 4]]).toEqual([1, 0x83])
    const start = disk.readUInt32LE(entry + 8) * 512
    expect(disk.readBigUInt64LE(start)).toBe(0xdeadbeadn)
    expect(disk.length).toBe(start + disk.readUInt32LE(entry + 12) * 512)
  })

  it('reads files of the host, of any size', async () => {
    const big = Buffer.alloc(70 << 20, 'leet ')
    writeFileSync(join(folder, 'big'), big)
    writeFileSync(join(folder, 'empty'), '')
    const disk = await write([
      { kind: 'file', path: '/usr/lib/big', content: fromHost('big') },
      { kind: 'file', path: '/usr/empty', content: fromHost('empty') },
      { kind: 'symlink', path: '/lib', target: 'usr/lib' },
    ])
    const nodes = readRofs(disk)
    expect([...nodes.keys()]).toEqual(['/', '/lib', '/usr', '/usr/empty', '/usr/lib', '/usr/lib/big'])
    const node = nodes.get('/usr/lib/big')
    expect(node?.kind === 'file' && node.read().equals(big)).toBe(true)
    expect(nodes.get('/lib')).toEqual({ kind: 'symlink', target: 'usr/lib' })
  })

  it('refuses a file that became shorter', async () => {
    writeFileSync(join(folder, 'short'), 'abc')
    const entry: RofsEntry = {
      kind: 'file',
      path: '/short',
      content: { host: join(folder, 'short'), size: 4 },
    }
    await expect(write([entry])).rejects.toThrow(/changed while the image was made/)
  })

  it.each([
    ['a relative path', [file('a', '')]],
    ['a path with dots', [file('/a/../b', '')]],
    ['an empty name', [file('/a//b', '')]],
    ['two files at one path', [file('/a', '1'), file('/a', '2')]],
    ['a file below a file', [file('/a', '1'), file('/a/b', '2')]],
    ['a file where a directory is', [file('/a/b', '2'), file('/a', '1')]],
    ['a name longer than 65,535 bytes', [file(`/${'ä'.repeat(40_000)}`, '')]],
  ])('refuses %s', (_, entries) => {
    expect(() => layoutRofs(entries)).toThrow(LeetError)
  })

  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    .filter((n) => !/[/\0]/.test(n) && n !== '.' && n !== '..' && n.isWellFormed())
  type Tree = Record<
    string,
    { kind: 'file'; bytes: Uint8Array } | { kind: 'symlink'; target: string } | { kind: 'directory' }
  >
  const tree: fc.Arbitrary<Tree> = fc.dictionary(
    fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join('/')}`),
    fc.oneof(
      fc.record({ kind: fc.constant('file' as const), bytes: fc.uint8Array({ maxLength: 1500 }) }),
      fc.record({ kind: fc.constant('symlink' as const), target: name }),
      fc.record({ kind: fc.constant('directory' as const) }),
    ),
    { noNullPrototype: true },
  )
  // A path below another that is no directory would be refused.
  const entriesOf = (paths: Tree): RofsEntry[] =>
    Object.entries(paths)
      .filter(([path]) =>
        path
          .split('/')
          .slice(1, -1)
          .every((_, i, parts) => {
            const above = paths[`/${parts.slice(0, i + 1).join('/')}`]
            return above === undefined || above.kind === 'directory'
          }),
      )
      .map(([path, node]) =>
        node.kind === 'file' ? { kind: 'file', path, content: { bytes: node.bytes } } : { path, ...node },
      )

  it('reads back what was written, and does not depend on the order', async () => {
    let run = 0
    await fc.assert(
      fc.asyncProperty(tree, async (paths) => {
        const entries = entriesOf(paths)
        const disk = await write(entries, `image-${run++}`)
        const other = await write([...entries].reverse(), `image-${run++}`)
        expect(other.equals(disk)).toBe(true)
        const nodes = readRofs(disk)
        for (const entry of entries) {
          const node = nodes.get(entry.path)
          if (entry.kind === 'file') {
            expect(
              node?.kind === 'file' &&
                'bytes' in entry.content &&
                node.read().equals(Buffer.from(entry.content.bytes)),
            ).toBe(true)
          } else if (entry.kind === 'symlink') {
            expect(node).toEqual({ kind: 'symlink', target: entry.target })
          } else expect(node).toEqual({ kind: 'directory' })
        }
      }),
      { numRuns: 60 },
    )
  })
})
