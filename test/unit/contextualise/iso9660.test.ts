// The ISO writer: read back by three readers that are not ours, equal bytes for equal input, clear refusals.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { seedIso } from '../../../contextualise/index.ts'
import { type IsoFile, writeIso } from '../../../contextualise/iso9660.ts'
import { describeWith } from '../../support/needs.ts'
import { fullSeed } from './a-seed.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Trees whose 8.3 names collide, with directories, long names, UTF-8, empty and large files. */
const anyTree: fc.Arbitrary<IsoFile[]> = fc.uniqueArray(
  fc.record({
    path: fc
      .array(
        fc.oneof(
          fc.constantFrom('user-data', 'user-data.txt', 'USER-DATA', 'user-dat', 'a', 'ä ö', 'x'.repeat(150)),
          fc.stringMatching(/^[A-Za-z0-9_.-]{1,30}$/),
        ),
        { minLength: 1, maxLength: 3 },
      )
      // Files end in `.f`, directories in `.d`, so that none is both.
      .map((parts) => parts.map((part, i) => part + (i === parts.length - 1 ? '.f' : '.d')).join('/')),
    content: fc.oneof(fc.uint8Array({ maxLength: 5000 }), fc.constant(new Uint8Array(3 << 20).fill(7))),
    mode: fc.constantFrom(0o600, 0o644, 0o755),
  }),
  { maxLength: 60, selector: (file) => file.path },
)

function filesBelow(top: string): string[] {
  return readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(top, join(entry.parentPath, entry.name)))
    .sort()
}

describe('writeIso', () => {
  it('gives equal bytes however the files are ordered', () => {
    fc.assert(
      fc.property(anyTree, (files) => {
        const one = writeIso({ label: 'cidata', files })
        const two = writeIso({ label: 'cidata', files: files.toReversed() })
        return Buffer.compare(one, two) === 0
      }),
      { numRuns: 30 },
    )
  })

  const refused: readonly [string, Parameters<typeof writeIso>[0], RegExp][] = [
    ['an empty label', { label: '', files: [] }, /label/],
    ['a label of 33 characters', { label: 'x'.repeat(33), files: [] }, /label/],
    ['..', { label: 'a', files: [{ path: '../a', content: '' }] }, /plain names/],
    ['an absolute path', { label: 'a', files: [{ path: '/a', content: '' }] }, /plain names/],
    [
      'a file twice',
      {
        label: 'a',
        files: [
          { path: 'a', content: '' },
          { path: 'a', content: '' },
        ],
      },
      /twice/,
    ],
    [
      'a file under a file',
      {
        label: 'a',
        files: [
          { path: 'a', content: '' },
          { path: 'a/b', content: '' },
        ],
      },
      /as well/,
    ],
    [
      'a file that is a directory',
      {
        label: 'a',
        files: [
          { path: 'a/b', content: '' },
          { path: 'a', content: '' },
        ],
      },
      /twice/,
    ],
    ['a name of 161 bytes', { label: 'a', files: [{ path: 'x'.repeat(161), content: '' }] }, /160 bytes/],
    ['nine levels', { label: 'a', files: [{ path: 'a/b/c/d/e/f/g/h/i', content: '' }] }, /8 levels/],
    ['65 MiB', { label: 'a', files: [{ path: 'a', content: new Uint8Array(65 << 20) }] }, /at most/],
  ]
  it.each(refused)('refuses %s', (_, options, why) => {
    expect(() => writeIso(options)).toThrow(why)
  })
})

describeWith(['xorriso'], 'read back by xorriso', () => {
  it('has every file with its name, content and mode', () => {
    fc.assert(
      fc.property(anyTree, (files) => {
        const image = join(folder, 'image.iso')
        const out = join(folder, 'out')
        writeFileSync(image, writeIso({ label: 'cidata', files }))
        rmSync(out, { recursive: true, force: true })
        const argv = ['-abort_on', 'WARNING', '-osirrox', 'on', '-indev', image, '-extract', '/', out]
        execFileSync('xorriso', argv, { stdio: 'pipe', timeout: 20_000 })
        expect(filesBelow(out)).toEqual(files.map((file) => file.path).sort())
        for (const { path, content, mode } of files) {
          expect(readFileSync(join(out, path)).equals(Buffer.from(content as Uint8Array))).toBe(true)
          expect(statSync(join(out, path)).mode & 0o7777).toBe(mode)
        }
      }),
      { numRuns: 12 },
    )
  }, 60_000)
})

describeWith(['isoinfo'], 'read back by isoinfo', () => {
  it('has its label and Rock Ridge names, and plain names in order for readers without it', () => {
    const files = ['user-data', 'meta-data', 'network-config', 'openstack/latest/user_data'].map((path) => ({
      path,
      content: path,
    }))
    const image = join(folder, 'image.iso')
    writeFileSync(image, writeIso({ label: 'cidata', files }))
    const isoinfo = (...argv: string[]) =>
      execFileSync('isoinfo', ['-i', image, ...argv], { encoding: 'utf8', timeout: 20_000 })
    expect(isoinfo('-d')).toMatch(/Volume id: cidata\n/)
    expect(isoinfo('-d')).toMatch(/Rock Ridge signatures version 1 found/)
    expect(isoinfo('-R', '-f').trim().split('\n').sort()).toEqual(
      ['/openstack', '/openstack/latest', ...files.map(({ path }) => `/${path}`)].sort(),
    )
    expect(isoinfo('-f').trim().split('\n')).toEqual([
      '/META_DAT.;1',
      '/NETWORK_.;1',
      '/OPENSTAC',
      '/USER_DAT.;1',
      '/OPENSTAC/LATEST',
      '/OPENSTAC/LATEST/USER_DAT.;1',
    ])
    expect(isoinfo('-R', '-x', '/openstack/latest/user_data')).toBe('openstack/latest/user_data')
    // The path table is what old readers walk.
    expect(isoinfo('-p')).toMatch(/OPENSTAC[\s\S]*LATEST/)
  })
})

describeWith(['iso-read'], "read back by libcdio's iso-read, which OSv uses", () => {
  let image: string
  let own: string
  beforeAll(() => {
    own = mkdtempSync(join(tmpdir(), 'leet-test-'))
    image = join(own, 'seed.iso')
  })
  afterAll(() => rmSync(own, { recursive: true }))

  it.each([
    ['OSv', { kind: 'osv', mountTool: undefined } as const],
    ['cloud-config', { kind: 'cloud-config' } as const],
  ])('gives /user-data of a seed in the dialect of %s', (_, dialect) => {
    const seed =
      dialect.kind === 'osv' ? { ...fullSeed, mounts: [], files: [], commands: [], interfaces: [] } : fullSeed
    writeFileSync(image, seedIso(seed, dialect))
    const out = join(own, 'user-data')
    execFileSync('iso-read', ['-i', image, '-e', '/user-data', '-o', out], { stdio: 'pipe', timeout: 20_000 })
    expect(readFileSync(out, 'utf8')).toContain(dialect.kind === 'osv' ? '/os/hostname' : '#cloud-config')
  })

  it('gives a file of 2.7 MB', () => {
    const content = Buffer.alloc(2_700_000, 'leet')
    writeFileSync(image, writeIso({ label: 'cidata', files: [{ path: 'user-data', content }] }))
    const out = join(own, 'large')
    execFileSync('iso-read', ['-i', image, '-e', '/user-data', '-o', out], { stdio: 'pipe', timeout: 20_000 })
    expect(readFileSync(out).equals(content)).toBe(true)
  })
})
