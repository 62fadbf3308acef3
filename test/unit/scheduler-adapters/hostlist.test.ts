// Hostlists: RFC 29's test vectors, what `scontrol show hostnames` was seen to do, round trips, and bombs.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { expandHostlist, foldHostlist, type HostlistDialect } from '../../../scheduler-adapters/hostlist.ts'
import { describeWith } from '../../support/needs.ts'

const expand = (text: string, dialect: HostlistDialect = 'rfc29') => expandHostlist(text, dialect, 'test')

/** Names whose numbers run on, jump, repeat and are padded in all ways. */
const anyNames = fc.array(
  fc.oneof(
    fc
      .tuple(
        fc.constantFrom('n', 'node', 'rack1-n', ''),
        fc.integer({ min: 0, max: 120 }),
        fc.constantFrom(0, 2, 3),
        fc.constantFrom('', '', '', '-ib'),
      )
      .map(([head, id, width, tail]) => head + String(id).padStart(width, '0') + tail),
    fc.stringMatching(/^[a-z0-9.-]{1,20}$/),
  ),
  { maxLength: 40 },
)
const dialects = fc.constantFrom<HostlistDialect>('rfc29', 'slurm')

describe('expandHostlist', () => {
  it.each([
    ['', ''],
    ['foox,fooy,fooz', 'foox,fooy,fooz'],
    ['[1-3,5-6]', '1,2,3,5,6'],
    ['foo[1-5]', 'foo1,foo2,foo3,foo4,foo5'],
    ['foo[0-4]-eth2', 'foo0-eth2,foo1-eth2,foo2-eth2,foo3-eth2,foo4-eth2'],
    ['foo1,foo1,foo1', 'foo1,foo1,foo1'],
    ['[00-02]', '00,01,02'],
    ['[00-2]', '00,01,02'],
    ['foo[1,1,2,1]', 'foo1,foo1,foo2,foo1'],
    ['[005,4,11-13]', '005,004,011,012,013'],
  ])("reads RFC 29's test vector %s", (text, names) => {
    expect(expand(text).join(',')).toBe(names)
  })

  it.each([
    ['a[01-03,7]b[1-2]', 'a01b1 a01b2 a02b1 a02b2 a03b1 a03b2 a7b1 a7b2'],
    ['a[005,4,11-13]', 'a005 a4 a11 a12 a13'],
    ['a[00-2]', 'a00 a01 a02'],
    ['a[9-11]', 'a9 a10 a11'],
    ['a[09-11]', 'a09 a10 a11'],
    ['a[1-02]', 'a1 a2'],
    ['a,b[1-2],,c', 'a b1 b2 c'],
  ])('reads %s as scontrol of Slurm 22.05.8 does', (text, names) => {
    expect(expand(text, 'slurm').join(' ')).toBe(names)
  })

  it.each([
    ['a[1-2', /not closed/],
    ['a1-2]', /without an opening/],
    ['a[[1-2],3]', /inside a bracket/],
    ['a[]', /neither a number nor a range/],
    ['a[1,]', /neither/],
    ['a[b]', /neither/],
    ['a[-1]', /neither/],
    ['a[1-2-3]', /neither/],
    ['a[1- 2]', /blank/],
    ['a[3-1]', /backwards/],
    ['a b', /blank/],
    ['a\nb', /blank/],
    ['ä', /ASCII/],
    ['a[0-999999999]', /more than 65536/],
    ['a[1-999999999999999]', /more than 65536/],
    ['a[9999999999999999]', /neither/],
    ['a[1-1000][1-1000][1-1000]', /more than 65536/],
    [Array(70_000).fill('a').join(','), /more than 65536/],
    ['x'.repeat(2 ** 20 + 1), /longer/],
  ])('refuses %.40s', (text, why) => {
    for (const dialect of ['rfc29', 'slurm'] as const) expect(() => expand(text, dialect)).toThrow(why)
  })

  it('refuses a bomb of brackets before it is made', () => {
    expect(() => expand(`n${'[0-9]'.repeat(60)}`)).toThrow(/more than 65536/)
    expect(() => expand(`n${'[0-9]'.repeat(400)}`)).toThrow(/more than 65536/)
  })

  it('throws nothing but refusals and never goes beyond the limit', () => {
    const texts = fc.oneof(fc.string(), fc.stringMatching(/^[a-c0-9,[\]-]{0,40}$/))
    fc.assert(
      fc.property(texts, dialects, (text, dialect) => {
        try {
          expect(expandHostlist(text, dialect, 'test', 50).length).toBeLessThanOrEqual(50)
        } catch (error) {
          expect(error).toBeInstanceOf(LeetError)
        }
      }),
      { numRuns: 3000 },
    )
  })
})

describe('foldHostlist', () => {
  it.each([
    [['a1', 'a2', 'a3'], 'a[1-3]', 'a[1-3]'],
    [['a01', 'a02', 'a7'], 'a[01-02],a7', 'a[01-02,7]'],
    [['a09', 'a10', 'a11'], 'a[09-11]', 'a[09-11]'],
    [['a9', 'a10'], 'a[9-10]', 'a[9-10]'],
    [['a1', 'b1', 'a2'], 'a1,b1,a2', 'a1,b1,a2'],
    [['a3', 'a1', 'a2'], 'a[3,1-2]', 'a[3,1-2]'],
    [['1', '2', '3'], '[1-3]', '[1-3]'],
    [['node1-ib', 'node2-ib'], 'node1-ib,node2-ib', 'node1-ib,node2-ib'],
    [['login'], 'login', 'login'],
    [[], '', ''],
  ])('folds %j', (names, rfc29, slurm) => {
    expect(foldHostlist(names, 'rfc29')).toBe(rfc29)
    expect(foldHostlist(names, 'slurm')).toBe(slurm)
  })

  it('is undone by expandHostlist', () => {
    fc.assert(
      fc.property(anyNames, dialects, (names, dialect) => {
        expect(expand(foldHostlist(names, dialect), dialect)).toEqual(names)
      }),
      { numRuns: 2000 },
    )
  })
})

describeWith(['scontrol'], "Slurm's own scontrol", () => {
  it('expands what we fold, and we expand what it folds', () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    try {
      const conf = join(folder, 'slurm.conf')
      writeFileSync(conf, 'ClusterName=x\nSlurmctldHost=h\nNodeName=n1 CPUs=1\nPartitionName=p Nodes=n1\n')
      const scontrol = (...argv: string[]) =>
        execFileSync('scontrol', argv, { encoding: 'utf8', env: { ...process.env, SLURM_CONF: conf } }).trim()
      const names = fc.array(
        fc
          .tuple(fc.constantFrom('n', 'rack1n'), fc.integer({ min: 0, max: 120 }), fc.constantFrom(0, 3))
          .map(([head, id, width]) => head + String(id).padStart(width, '0')),
        { minLength: 1, maxLength: 30 },
      )
      fc.assert(
        fc.property(names, (list) => {
          expect(scontrol('show', 'hostnames', foldHostlist(list, 'slurm')).split('\n')).toEqual(list)
          expect(expand(scontrol('show', 'hostlist', list.join(',')), 'slurm')).toEqual(list)
        }),
        { numRuns: 25 },
      )
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
