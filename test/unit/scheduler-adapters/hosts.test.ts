// Hostfiles and -H, in the spellings of Open MPI and Hydra.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { parseHostfile, parseHostOption } from '../../../scheduler-adapters/hosts.ts'

describe('parseHostOption', () => {
  it.each([
    ['a', [{ name: 'a' }]],
    ['a,b', [{ name: 'a' }, { name: 'b' }]],
    [
      'a:2,b:3',
      [
        { name: 'a', slots: 2 },
        { name: 'b', slots: 3 },
      ],
    ],
    ['a,a,b', [{ name: 'a', slots: 2 }, { name: 'b' }]],
    ['a:2,a', [{ name: 'a', slots: 3 }]],
    [
      'n[01-02,4]:8',
      [
        { name: 'n01', slots: 8 },
        { name: 'n02', slots: 8 },
        { name: 'n04', slots: 8 },
      ],
    ],
    ['bob@a.site.org:2', [{ name: 'a.site.org', slots: 2, user: 'bob' }]],
    ['10.0.0.1', [{ name: '10.0.0.1' }]],
    ['a, b', [{ name: 'a' }, { name: 'b' }]],
  ])('reads %s', (text, hosts) => {
    expect(parseHostOption(text)).toEqual(hosts)
  })

  it.each([
    '-oProxyCommand=touch',
    'a:-1',
    'a:0',
    'a:x',
    'a:*',
    'a:1:2',
    'a b',
    'a$(id)',
    'a;b',
    '@a',
    'bob@',
    '-x@a',
    'a[1-2',
    'a[0-999999999]',
    'a_b',
    'a\nb',
    'a..b',
    `${'x'.repeat(64)}`,
  ])('refuses %j with exit status 2', (text) => {
    try {
      parseHostOption(text)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(LeetError)
      expect((error as LeetError).exitCode).toBe(2)
      expect((error as LeetError).message).toMatch(/^-H: /)
      expect((error as LeetError).message).not.toContain('\n')
    }
  })
})

describe('parseHostfile', () => {
  it('reads the forms of Open MPI and Hydra', () => {
    const text = `
# comment
node1 slots=4 max_slots=8   # four
node2 slots = 2
node3
bob@node4 slots=1
node5:16
node[6-7] slots=3
node8 slots=2 max-slots=2
node9 user=alice
node1 slots=1
`
    expect(parseHostfile(text, 'hosts')).toEqual([
      { name: 'node1', slots: 5, maxSlots: 8 },
      { name: 'node2', slots: 2 },
      { name: 'node3' },
      { name: 'node4', slots: 1, user: 'bob' },
      { name: 'node5', slots: 16 },
      { name: 'node6', slots: 3 },
      { name: 'node7', slots: 3 },
      { name: 'node8', slots: 2, maxSlots: 2 },
      { name: 'node9', user: 'alice' },
    ])
  })

  it.each([
    ['a\nb slots=x', /hosts, line 2: "x" is not a number of slots/],
    ['a colour=red', /hosts, line 1: "colour=red" is not known/],
    ['a slots=4 max_slots=2', /fewer than its 4 slots/],
    ['\n\n-x', /hosts, line 3/],
    ['a user=-x', /login name/],
  ])('refuses %j and names the line', (text, why) => {
    expect(() => parseHostfile(text, 'hosts')).toThrow(why)
  })

  it('throws nothing but refusals', () => {
    const texts = fc.oneof(fc.string(), fc.stringMatching(/^[a-c0-9:@= \n[\],#-]{0,60}$/))
    fc.assert(
      fc.property(texts, (text) => {
        for (const parse of [parseHostfile, parseHostOption]) {
          try {
            for (const { name, slots } of parse(text, 'test')) {
              expect(name).toMatch(/^[a-z0-9][a-z0-9.-]*$/i)
              expect(slots ?? 1).toBeGreaterThan(0)
            }
          } catch (error) {
            expect(error).toBeInstanceOf(LeetError)
          }
        }
      }),
      { numRuns: 3000 },
    )
  })
})
