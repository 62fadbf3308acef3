// To which processors ranks are bound: examples are what Open MPI 4.1.4 reports on such machines.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  bindRanks,
  describeBinding,
  type Processor,
  parseBindTo,
  parseMapBy,
} from '../../../mpi-bridge/index.ts'

/** Two packages of two cores of two threads, numbered as Linux does: the second threads last. */
const MACHINE: readonly Processor[] = [0, 1].flatMap((socket) =>
  [0, 1].flatMap((core) =>
    [0, 1].map((thread) => ({ id: thread * 4 + socket * 2 + core, core, package: socket, numa: socket })),
  ),
)
function bind(ranks: number, to: string, mapBy?: string, processors = MACHINE) {
  const {
    by,
    perResource,
    processors: count,
  } = mapBy === undefined ? { by: undefined } : parseMapBy(mapBy, '-')
  const wish = {
    ...parseBindTo(to, '-'),
    ...(count === undefined ? {} : { count }),
    ...(by === undefined ? {} : { by }),
    ...(perResource === undefined ? {} : { perResource }),
  }
  return bindRanks(processors, wish, ranks, 'here')
}

it('to a processor that there is not is refused', () => {
  expect(() => bind(2, 'user:0,9')).toThrow(expect.objectContaining({ code: 'LEET_E_BINDING', exitCode: 2 }))
  expect(() => parseBindTo('user:', '-')).toThrow(/not a whole number/)
})

it('keeps ranks to the processors that are named', () => {
  const within = (to: string, ...ids: number[]) =>
    bindRanks(MACHINE, { ...parseBindTo(to, '-'), within: ids }, 2, 'here')
  expect(within('none', 2, 3)).toEqual([
    [2, 3],
    [2, 3],
  ])
  expect(within('hwthread', 3, 6)).toEqual([[6], [3]])
  expect(() => within('hwthread', 3)).toThrow(expect.objectContaining({ code: 'LEET_E_BINDING' }))
  expect(() => within('none', 9)).toThrow(/no processor 9/)
})

describe('binding', () => {
  it.each<[number, string, string | undefined, number[][]]>([
    [2, 'none', undefined, [[], []]],
    [
      2,
      'core',
      undefined,
      [
        [0, 4],
        [1, 5],
      ],
    ],
    [3, 'hwthread', undefined, [[0], [4], [1]]],
    [3, 'user:6,0+1', undefined, [[6], [0, 1], [6]]],
    [
      3,
      'core',
      'package',
      [
        [0, 4],
        [2, 6],
        [1, 5],
      ],
    ],
    [
      4,
      'core',
      'ppr:2:package',
      [
        [0, 4],
        [1, 5],
        [2, 6],
        [3, 7],
      ],
    ],
    [
      2,
      'package',
      undefined,
      [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
      ],
    ],
    [
      2,
      'core',
      'slot:pe=2',
      [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
      ],
    ],
    [
      2,
      'core:2',
      undefined,
      [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
      ],
    ],
    [
      5,
      'core:overload-allowed',
      undefined,
      [
        [0, 4],
        [1, 5],
        [2, 6],
        [3, 7],
        [0, 4],
      ],
    ],
  ])('of %i ranks to %s, mapped by %s', (ranks, to, mapBy, expected) => {
    expect(bind(ranks, to, mapBy)).toEqual(expected)
  })
  it('is refused when there are too few', () => {
    expect(() => bind(5, 'core')).toThrow(expect.objectContaining({ code: 'LEET_E_BINDING' }))
    expect(() => bind(5, 'package')).toThrow(/too few/)
  })
  it('gives every rank processors that there are, and to each its own cores', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom('core', 'hwthread', 'package', 'numa'),
        fc.constantFrom(undefined, 'slot', 'node', 'package', 'ppr:1:package'),
        (ranks, to, mapBy) => {
          let bound: number[][]
          try {
            bound = bind(ranks, to, mapBy)
          } catch (error) {
            expect(error).toMatchObject({ code: 'LEET_E_BINDING' })
            return
          }
          expect(bound).toHaveLength(ranks)
          const all = bound.flat()
          expect(all.every((cpu) => cpu >= 0 && cpu < 8)).toBe(true)
          expect(bound.every((own) => own.length > 0)).toBe(true)
          if (to === 'core' || to === 'hwthread') expect(new Set(all).size).toBe(all.length)
        },
      ),
    )
  })
  it('is told as mpirun tells it', () => {
    expect(describeBinding(MACHINE, [2, 6])).toBe(
      'bound to socket 1[core 2[hwt 0]], socket 1[core 2[hwt 1]]: [../..][BB/..]',
    )
    expect(describeBinding(MACHINE, [])).toMatch(/^is not bound/)
    expect(describeBinding(MACHINE, [0, 1, 2, 3, 4, 5, 6, 7])).toMatch(/^is not bound/)
  })
})
