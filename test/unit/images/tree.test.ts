import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ImageTree } from '../../../launcher/images/tree.ts'

describe('ImageTree', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leet-tree-')))
  afterAll(() => rmSync(folder, { recursive: true }))
  const at = (...names: string[]) => join(folder, ...names)
  mkdirSync(at('real', 'inner'), { recursive: true })
  writeFileSync(at('real', 'inner', 'lib.so.1.2'), 'library', { mode: 0o600 })
  writeFileSync(at('real', 'inner', 'tool'), 'tool', { mode: 0o700 })
  symlinkSync('lib.so.1.2', at('real', 'inner', 'lib.so.1'))
  symlinkSync('real', at('relative'))
  symlinkSync(at('relative', 'inner'), at('absolute'))
  symlinkSync('loop', at('loop'))

  it('keeps the path of a file and every link that leads to it', () => {
    const tree = new ImageTree()
    tree.host(at('absolute', 'lib.so.1'))
    expect(tree.entries.get(at('absolute'))).toEqual({ kind: 'symlink', target: at('relative', 'inner') })
    expect(tree.entries.get(at('relative'))).toEqual({ kind: 'symlink', target: 'real' })
    expect(tree.entries.get(at('real', 'inner', 'lib.so.1'))).toEqual({
      kind: 'symlink',
      target: 'lib.so.1.2',
    })
    expect(tree.entries.get(at('real', 'inner', 'lib.so.1.2'))).toMatchObject({
      kind: 'file',
      mode: 0o644,
      size: 7,
    })
    expect(tree.entries.has(at('real', 'inner', 'tool'))).toBe(false)
    expect(tree.has(at('absolute', 'lib.so.1'))).toBe(true)
  })

  it('has parents before what lies in them', () => {
    const tree = new ImageTree()
    tree.host(at('absolute'))
    tree.file('/a/b/c', 'x')
    const seen = new Set<string>()
    for (const path of tree.entries.keys()) {
      const parent = path.slice(0, path.lastIndexOf('/'))
      expect(parent === '' || seen.has(parent)).toBe(true)
      seen.add(path)
    }
  })

  it('takes a directory with all that is in it', () => {
    const tree = new ImageTree()
    tree.host(at('real'))
    expect(tree.entries.get(at('real', 'inner', 'tool'))).toMatchObject({ kind: 'file', mode: 0o755 })
    expect(tree.entries.get(at('real', 'inner', 'lib.so.1'))).toMatchObject({ kind: 'symlink' })
  })

  it('puts a copy elsewhere, through links of the tree', () => {
    const tree = new ImageTree()
    tree.symlink('/bin', 'usr/bin')
    tree.copy(at('absolute', 'tool'), '/bin/mine')
    tree.copy(at('relative'), '/data')
    expect(tree.entries.get('/usr/bin/mine')).toMatchObject({ kind: 'file', mode: 0o755 })
    expect(tree.entries.get('/data/inner/tool')).toMatchObject({ kind: 'file' })
  })

  it('leaves out what the guest mounts, but has the mount point', () => {
    const tree = new ImageTree([`${at('real', 'inner')}/`])
    tree.host(at('absolute', 'tool'))
    tree.host(at('real'))
    expect(tree.entries.has(at('real', 'inner', 'tool'))).toBe(false)
    expect(tree.entries.get(at('real', 'inner'))).toMatchObject({ kind: 'directory' })
    expect(tree.entries.get(at('absolute'))).toMatchObject({ kind: 'symlink' })
  })

  it('keeps what came first', () => {
    const tree = new ImageTree()
    tree.file('/bin/sh', 'mine')
    tree.symlink('/bin/sh', '/leet/busybox')
    expect(tree.entries.get('/bin/sh')).toMatchObject({ kind: 'file' })
    tree.symlink('/usr/lib', '/lib')
    tree.directory('/usr/lib/x')
    expect([...tree.entries.keys()]).toEqual(['/bin', '/bin/sh', '/usr', '/usr/lib', '/lib', '/lib/x'])
  })

  it('refuses what is not there and links without end', () => {
    const tree = new ImageTree()
    expect(() => tree.host(at('none'))).toThrow(`${at('none')}: cannot be found`)
    expect(() => tree.copy(at('none'), '/x')).toThrow('cannot be found')
    expect(() => tree.host(at('loop'))).toThrow('too many symbolic links')
    tree.symlink('/a', '/b')
    tree.symlink('/b', '/a')
    expect(() => tree.file('/a/c', '')).toThrow('too many symbolic links')
    tree.file('/file', '')
    expect(() => tree.file('/file/inner', '')).toThrow('is a file already')
  })
})
