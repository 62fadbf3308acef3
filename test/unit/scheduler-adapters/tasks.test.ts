// Slurm's counts per node.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { expandCounts } from '../../../scheduler-adapters/tasks.ts'

describe('expandCounts', () => {
  it.each([
    ['2(x3)', [2, 2, 2]],
    ['4(x2),3', [4, 4, 3]],
    ['1', [1]],
    ['0,5', [0, 5]],
  ])('reads %s', (text, counts) => {
    expect(expandCounts(text, 'test')).toEqual(counts)
  })

  it.each([
    '',
    ',',
    '1,',
    '-1',
    '1(x)',
    '1(2)',
    '1(x2',
    '1 (x2)',
    'a',
    '1(x999999999)',
    `1${',1'.repeat(70_000)}`,
  ])('refuses %.20s', (text) => {
    expect(() => expandCounts(text, 'test')).toThrow(LeetError)
  })

  it('is the inverse of run-length writing', () => {
    const runs = fc.array(fc.tuple(fc.nat(500), fc.integer({ min: 1, max: 20 })), {
      minLength: 1,
      maxLength: 10,
    })
    fc.assert(
      fc.property(runs, (groups) => {
        const text = groups
          .map(([count, times]) => (times === 1 ? `${count}` : `${count}(x${times})`))
          .join(',')
        const counts = groups.flatMap(([count, times]) => Array<number>(times).fill(count))
        expect(expandCounts(text, 'test')).toEqual(counts)
      }),
    )
  })
})
