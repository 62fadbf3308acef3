// PMI_process_mapping: read back by an independent reader of the notation, for any layout.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_VALUE, processMapping } from '../../../mpi-bridge/pmi/mapping.ts'
import { layoutOf } from './pmi-sessions.ts'

/** The node of each rank, as MPICH deals them out: block by block, and from the start when the blocks run out. */
function deal(mapping: string, size: number): number[] {
  const blocks = [...mapping.matchAll(/,\((\d+),(\d+),(\d+)\)/g)].map((match) => match.slice(1).map(Number))
  expect(mapping).toMatch(/^\(vector(,\(\d+,\d+,\d+\))+\)$/)
  const nodes: number[] = []
  while (nodes.length < size) {
    for (const [first = 0, count = 0, each = 0] of blocks) {
      for (let node = first; node < first + count; node++) {
        for (let nth = 0; nth < each; nth++) nodes.push(node)
      }
    }
  }
  return nodes.slice(0, size)
}

/** Guests from the node of each rank. */
function guestsFrom(nodes: readonly number[]): number[][] {
  const guests: number[][] = []
  for (const [rank, node] of nodes.entries()) {
    guests[node] ??= []
    guests[node].push(rank)
  }
  return Array.from(guests, (ranks) => ranks ?? [])
}

/** Numbers the nodes by their order in the layout, leaving out those without ranks. */
function dense(nodes: readonly number[]): number[] {
  const used = [...new Set(nodes)].sort((a, b) => a - b)
  return nodes.map((node) => used.indexOf(node))
}

describe('PMI_process_mapping', () => {
  it.each([
    ['one rank in each guest', [[0], [1], [2], [3]], '(vector,(0,4,1))'],
    ['all in one guest', [[0, 1, 2, 3]], '(vector,(0,1,4))'],
    [
      'by node',
      [
        [0, 2],
        [1, 3],
      ],
      '(vector,(0,2,1))',
    ],
    [
      'by slot',
      [
        [0, 1],
        [2, 3],
      ],
      '(vector,(0,2,2))',
    ],
    ['unequal', [[0, 1, 2], [3]], '(vector,(0,1,3),(1,1,1))'],
    ['blocks of blocks', [[0], [1], [2, 3]], '(vector,(0,2,1),(2,1,2))'],
    ['a guest without ranks', [[0], [], [1]], '(vector,(0,2,1))'],
    ['a round that ends early', [[0, 2], [1]], '(vector,(0,2,1))'],
  ])('%s', (_, guests, mapping) => {
    expect(processMapping(layoutOf('job', guests))).toBe(mapping)
  })

  it('means the layout it was made from', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 60 }), (nodes) => {
        const mapping = processMapping(layoutOf('job', guestsFrom(nodes)))
        expect(deal(mapping, nodes.length)).toEqual(dense(nodes))
      }),
    )
  })

  it('falls back to one rank a guest when the layout does not fit a line', () => {
    const nodes = Array.from({ length: 400 }, (_, rank) => Math.floor(rank * rank * 0.37) % 97)
    const mapping = processMapping(layoutOf('job', guestsFrom(nodes)))
    expect(mapping).toBe('(vector,(0,400,1))')
    expect(mapping.length).toBeLessThanOrEqual(MAX_VALUE)
  })
})
