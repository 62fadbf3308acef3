// The mapping of ranks: examples are maps that Open MPI 4.1.4's `mpirun --do-not-launch --display-map` printed for a hostfile
// of n1 slots=2, n2 slots=4, n3 slots=1.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type MappingNode, mapRanks, parseMapBy, parseRankBy } from '../../../mpi-bridge/index.ts'

const NODES = [{ slots: 2 }, { slots: 4 }, { slots: 1 }]

function map(programs: number[], mapBy?: string, rankBy?: string, nodes: readonly MappingNode[] = NODES) {
  return mapRanks({
    programs,
    nodes,
    ...(mapBy === undefined ? {} : { mapBy: parseMapBy(mapBy, '--map-by') }),
    ...(rankBy === undefined ? {} : { rankBy: parseRankBy(rankBy, '--rank-by') }),
  })
}

describe('the mapping of ranks to guests', () => {
  it.each<[number[], string | undefined, string | undefined, number[][]]>([
    [[7], undefined, undefined, [[0, 1], [2, 3, 4, 5], [6]]],
    [[9], undefined, undefined, [[0, 1, 2], [3, 4, 5, 6, 7], [8]]],
    [
      [11],
      ':oversubscribe',
      undefined,
      [
        [0, 1, 2, 3],
        [4, 5, 6, 7, 8],
        [9, 10],
      ],
    ],
    [[5], 'node', undefined, [[0, 3], [1, 4], [2]]],
    [[7], 'node', undefined, [[0, 3], [1, 4, 5, 6], [2]]],
    [
      [8],
      'node:oversubscribe',
      undefined,
      [
        [0, 3, 6],
        [1, 4, 7],
        [2, 5],
      ],
    ],
    [[5], 'node', 'slot', [[0, 1], [2, 3], [4]]],
    [
      [9],
      'node:oversubscribe',
      'slot',
      [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
      ],
    ],
    [[5], 'slot', 'node', [[0, 2], [1, 3, 4], []]],
    [[3], 'ppr:1:node', undefined, [[0], [1], [2]]],
    [[5], 'ppr:2:node', undefined, [[0, 1], [2, 3], [4]]],
    [[5], 'core', undefined, [[0, 1], [2, 3, 4], []]],
    [[5], 'core:span', undefined, [[0, 1], [2, 3], [4]]],
    [[2, 3], undefined, undefined, [[0, 1], [2, 3, 4], []]],
    [[2, 3], 'node', undefined, [[0, 2], [1, 3], [4]]],
  ])('of %j by %s, ranked by %s', (programs, mapBy, rankBy, expected) => {
    expect(map(programs, mapBy, rankBy)).toEqual(expected)
  })

  it('refuses what does not fit', () => {
    expect(() => map([5], 'ppr:1:node')).toThrow(/do not fit/)
    expect(() => map([8], ':nooversubscribe')).toThrow(/more than 7 slots/)
    expect(() => map([8], 'slot:pe=2')).toThrow(/more than there are/)
    expect(() => mapRanks({ programs: [3], nodes: [{ slots: 1, maxSlots: 2 }] })).toThrow(/max_slots/)
  })

  it('places every rank once, ascending in its guest, within what nodes take', () => {
    const node = fc
      .record({ slots: fc.integer({ min: 1, max: 16 }), more: fc.option(fc.nat({ max: 8 })) })
      .map(
        ({ slots, more }): MappingNode => ({ slots, ...(more === null ? {} : { maxSlots: slots + more }) }),
      )
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 4 }),
        fc.array(node, { minLength: 1, maxLength: 20 }),
        fc.constantFrom(undefined, 'slot', 'node', 'core', ':span', ':oversubscribe'),
        fc.constantFrom(undefined, 'slot', 'node'),
        (programs, nodes, mapBy, rankBy) => {
          const total = programs.reduce((sum, ranks) => sum + ranks, 0)
          const most = nodes.reduce((sum, one) => sum + (one.maxSlots ?? Infinity), 0)
          fc.pre(total <= most)
          const placed = map(programs, mapBy, rankBy, nodes)
          expect(placed).toHaveLength(nodes.length)
          expect(placed.flat().sort((a, b) => a - b)).toEqual(
            Array.from({ length: total }, (_, rank) => rank),
          )
          for (const [n, { maxSlots = Infinity }] of nodes.entries()) {
            const own = placed[n] as number[]
            expect(own).toEqual([...own].sort((a, b) => a - b))
            expect(own.length).toBeLessThanOrEqual(maxSlots)
          }
        },
      ),
    )
  })
})

describe('the words of a placement', () => {
  it('may be shortened and in any case', () => {
    expect(parseMapBy('SLOT:PE=2,Over', '--map-by')).toEqual({
      by: 'slot',
      processors: 2,
      oversubscribe: true,
    })
    expect(parseMapBy('ppr:3:sock:nolocal', '--map-by')).toEqual({
      by: 'package',
      perResource: 3,
      noLocal: true,
    })
    expect(parseMapBy(':span', '--map-by')).toEqual({ by: undefined, span: true })
    expect(parseRankBy('NODE', '--rank-by')).toBe('node')
    expect(parseRankBy('core', '--rank-by')).toBe('slot')
  })
  it.each(['n', 's', 'cor:pe', 'ppr:0:node', 'ppr:2', 'node:fast', 'hyperthread', 'slot:pe=x'])(
    'refuse %s',
    (text) => {
      expect(() => parseMapBy(text, '--map-by')).toThrow(expect.objectContaining({ exitCode: 2 }))
    },
  )
  it('never fail but with a usage error', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of [parseMapBy, parseRankBy]) {
          try {
            parse(text, '--map-by')
          } catch (error) {
            expect(error).toMatchObject({ code: 'LEET_E_USAGE' })
          }
        }
      }),
    )
  })
})
