// The two file systems that images are made of, read back by other people's readers.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { Deadline } from '../../../common/index.ts'
import { writeCpio, writeErofs } from '../../../launcher/images/formats/index.ts'
import { ImageTree } from '../../../launcher/images/tree.ts'
import { describeWith } from '../../support/needs.ts'

const limits = { deadline: Deadline.after(60_000) }
const folder = mkdtempSync(join(tmpdir(), 'leet-formats-'))
afterAll(() => rmSync(folder, { recursive: true }))
let count = 0
const fresh = () => join(folder, `image${count++}`)

/** Names as file systems allow them: any bytes of UTF-8 but a slash or NUL, not only dots. */
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => !/[/\0]/.test(text) && !/^\.+$/.test(text) && text.isWellFormed())
/** Sizes around what matters to blocks of 4096. */
const size = fc.oneof(fc.nat(100), fc.constantFrom(0, 1, 4095, 4096, 4097, 8192, 12_289))

interface Made {
  readonly path: string
  readonly kind: 'directory' | 'file' | 'symlink'
  readonly bytes: Buffer
  readonly target: string
}

const trees: fc.Arbitrary<Made[]> = fc.array(
  fc.record({
    path: fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join('/')}`),
    kind: fc.constantFrom('directory', 'file', 'symlink'),
    bytes: fc.tuple(size, fc.nat(255)).map(([length, value]) => Buffer.alloc(length, value)),
    target: fc.array(name, { minLength: 1, maxLength: 30 }).map((names) => `no-such/${names.join('/')}`),
  }),
  { maxLength: 30 },
)

/** A tree of what can be put into it: random entries may stand in each other's way. */
function treeOf(made: readonly Made[]): ImageTree {
  const tree = new ImageTree()
  for (const { path, kind, bytes, target } of made) {
    try {
      if (kind === 'directory') tree.directory(path)
      else if (kind === 'file') tree.file(path, bytes, bytes.length % 2 ? 0o755 : 0o644)
      else tree.symlink(path, target)
    } catch {
      // a file or a dangling link is in the way
    }
  }
  return tree
}

describeWith(['fsck.erofs'], 'EROFS', () => {
  const extract = (image: string) => {
    const target = `${image}.d`
    execFileSync('fsck.erofs', ['--extract', `--extract=${target}`, '--no-preserve', image], {
      stdio: 'pipe',
    })
    return target
  }

  it('gives every file back to erofs-utils', async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (made) => {
        const image = fresh()
        const tree = treeOf(made)
        await writeErofs(image, tree.entries, limits)
        const root = extract(image)
        for (const [path, entry] of tree.entries) {
          if (entry.kind === 'symlink') expect(readlinkSync(join(root, path))).toBe(entry.target)
          else if (entry.kind === 'directory') expect(statSync(join(root, path)).isDirectory()).toBe(true)
          else if (entry.content.kind === 'bytes') {
            expect(Buffer.compare(readFileSync(join(root, path)), entry.content.bytes)).toBe(0)
          }
        }
        rmSync(root, { recursive: true })
        rmSync(image)
      }),
      { numRuns: 25 },
    )
  })

  it('has directories of many blocks', async () => {
    const tree = new ImageTree()
    for (let i = 0; i < 3000; i++) tree.file(`/many/file-${i}${'x'.repeat(i % 200)}`, `${i}`)
    tree.directory('/empty', 0o1777)
    const image = fresh()
    await writeErofs(image, tree.entries, limits)
    const root = extract(image)
    const names = execFileSync('ls', ['-A', join(root, 'many')], { encoding: 'utf8' })
      .trim()
      .split('\n')
    expect(names).toHaveLength(3000)
    expect(readFileSync(join(root, `many/file-2999${'x'.repeat(199)}`), 'utf8')).toBe('2999')
  })

  it('is the same for the same tree, whatever the order in which it was made', async () => {
    const entries = [...Array(50).keys()].map((i) => [`/d${i % 7}/f${i}`, `content ${i}`] as const)
    const write = async (list: typeof entries) => {
      const tree = new ImageTree()
      for (const [path, content] of list) tree.file(path, content)
      const image = fresh()
      const written = await writeErofs(image, tree.entries, limits)
      expect(written.size).toBe(statSync(image).size)
      return { ...written, bytes: readFileSync(image) }
    }
    const [one, other] = [await write(entries), await write(entries.toReversed())]
    expect(one.bytes.equals(other.bytes)).toBe(true)
    expect(one.sha256).toBe(other.sha256)
  })

  it('refuses a file that changed after it was listed', async () => {
    const source = fresh()
    writeFileSync(source, 'before')
    const tree = new ImageTree()
    tree.copy(source, '/file')
    writeFileSync(source, 'after, and longer')
    await expect(writeErofs(fresh(), tree.entries, limits)).rejects.toThrow(
      'changed while the image was made',
    )
  })

  it('stops when told', async () => {
    const tree = new ImageTree()
    tree.file('/a', 'x')
    const aborted = AbortSignal.abort()
    await expect(
      writeErofs(fresh(), tree.entries, { deadline: Deadline.never, signal: aborted }),
    ).rejects.toThrow('cancelled')
  })
})

describeWith(['busybox'], 'cpio', () => {
  it('gives every entry back to busybox', () => {
    fc.assert(
      fc.property(trees, (made) => {
        const tree = treeOf(made)
        const archive = writeCpio(
          [...tree.entries].map(([path, entry]) => {
            const inner = path.slice(1)
            if (entry.kind === 'directory') return { path: inner, kind: 'directory', mode: 0o755 }
            if (entry.kind === 'symlink') return { path: inner, kind: 'symlink', target: entry.target }
            const content = entry.content.kind === 'bytes' ? entry.content.bytes : Buffer.alloc(0)
            return { path: inner, kind: 'file', mode: entry.mode, content }
          }),
        )
        const root = fresh()
        execFileSync('mkdir', [root])
        execFileSync('busybox', ['cpio', '-id'], { cwd: root, input: archive, stdio: 'pipe' })
        for (const [path, entry] of tree.entries) {
          if (entry.kind === 'symlink') expect(readlinkSync(join(root, path))).toBe(entry.target)
          else if (entry.kind === 'directory') expect(statSync(join(root, path)).isDirectory()).toBe(true)
          else if (entry.content.kind === 'bytes') {
            expect(Buffer.compare(readFileSync(join(root, path)), entry.content.bytes)).toBe(0)
            expect(statSync(join(root, path)).mode & 0o777).toBe(entry.mode)
          }
        }
        rmSync(root, { recursive: true })
      }),
      { numRuns: 25 },
    )
  })

  it('lists devices', () => {
    const archive = writeCpio([
      { path: 'dev', kind: 'directory', mode: 0o755 },
      { path: 'dev/console', kind: 'character', mode: 0o600, major: 5, minor: 1 },
    ])
    const list = execFileSync('busybox', ['cpio', '-itv'], {
      input: archive,
      encoding: 'utf8',
      stdio: 'pipe',
    })
    expect(list).toMatch(/^crw-------.*dev\/console$/m)
    // Its device: fields 10 and 11 of the header.
    const header = archive.toString('latin1', archive.lastIndexOf('070701', archive.indexOf('dev/console')))
    expect(header.slice(6 + 9 * 8, 6 + 11 * 8)).toBe('0000000500000001')
  })
})

describe('writeCpio', () => {
  it('pads to whole blocks', () => {
    expect(writeCpio([]).length % 512).toBe(0)
  })
})
