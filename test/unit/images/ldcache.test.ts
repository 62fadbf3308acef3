import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { parseLdCache, searchLdCache, writeLdCache } from '../../../launcher/images/ldcache.ts'
import { describeWith } from '../../support/needs.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((s) => !s.includes('\0'))
const libraries = fc.array(fc.record({ name: text, path: text, flags: fc.nat(0xffff) }), { maxLength: 20 })

describeWith(['ldconfig'], 'the loader cache of this host', () => {
  const bytes = readFileSync('/etc/ld.so.cache')

  it('is read as ldconfig prints it', () => {
    const printed = execFileSync('ldconfig', ['-p'], { encoding: 'utf8', env: { PATH: '/usr/sbin:/sbin' } })
    const expected = [...printed.matchAll(/^\t(\S+) \(([^)]*)\) => (.*)$/gm)]
      .filter(([, , kind]) => !/hwcap|OS ABI/.test(kind as string))
      .map(([, name, , path]) => `${name} ${path}`)
    expect(parseLdCache(bytes, 'x').map(({ name, path }) => `${name} ${path}`)).toEqual(expected)
  })

  it('is searched as it is read', () => {
    const search = searchLdCache(bytes, 'x')
    const byName = Map.groupBy(parseLdCache(bytes, 'x'), ({ name }) => name)
    for (const [name, found] of byName) expect(search(name)).toEqual(found.map(({ path }) => path))
    for (const part of ['', 'c.so.6', 'libc.so', '/lib']) expect(search(part)).toEqual([])
  })

  it('is the same when written and read again, also by ldconfig', () => {
    const all = parseLdCache(bytes, 'x')
    const written = writeLdCache(all)
    expect(parseLdCache(written, 'y')).toEqual(all)
  })

  it('raises nothing but LeetError when damaged', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.oneof(fc.nat(200), fc.nat(bytes.length)), fc.nat(255)), { maxLength: 6 }),
        fc.nat(bytes.length),
        (changes, cut) => {
          const damaged = Buffer.from(bytes)
          for (const [at, value] of changes) damaged.fill(value, at, Math.min(at + 4, bytes.length))
          for (const part of [damaged, damaged.subarray(0, cut)]) {
            try {
              parseLdCache(part, 'x')
              searchLdCache(part, 'x')('libc.so.6')
            } catch (error) {
              if (!(error instanceof LeetError)) throw error
            }
          }
        },
      ),
    )
  })
})

describe('loader caches', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(libraries, (some) => {
        expect(parseLdCache(writeLdCache(some), 'x')).toEqual(some)
      }),
    )
  })

  it('are found behind the old format', () => {
    const cache = writeLdCache([{ name: 'liba.so', path: '/a', flags: 0x303 }])
    const old = Buffer.alloc(16 + 3 * 12)
    old.write('ld.so-1.7.0\0', 'latin1')
    old.writeUInt32LE(3, 12)
    const gap = Buffer.alloc((8 - (old.length % 8)) % 8)
    expect(parseLdCache(Buffer.concat([old, gap, cache]), 'x')).toHaveLength(1)
  })

  it('of another format are refused', () => {
    expect(() => parseLdCache(Buffer.from('hello'), '/etc/ld.so.cache')).toThrow(
      '/etc/ld.so.cache: cannot be read as a loader cache: its format is unknown',
    )
  })
})
