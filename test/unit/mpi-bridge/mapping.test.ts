import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mapRanks } from '../../../mpi-bridge/index.ts'

describe('the mapping of ranks to guests', () => {
  it('fills slots in order, as mpirun does', () => {
    expect(mapRanks({ ranks: 3, slots: [2, 2], spread: false })).toEqual([[0, 1], [2]])
  })
  it('deals more ranks than slots out in proportion, in contiguous blocks', () => {
    expect(mapRanks({ ranks: 6, slots: [2, 1], spread: false })).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ])
  })
  it('spreads over just so many guests when asked', () => {
    expect(mapRanks({ ranks: 5, slots: [8, 8], spread: true })).toEqual([
      [0, 1, 2],
      [3, 4],
    ])
  })
  it('puts ppn ranks into each guest, and refuses what does not fit', () => {
    expect(mapRanks({ ranks: 3, slots: [1, 1], ppn: 2, spread: false })).toEqual([[0, 1], [2]])
    expect(() => mapRanks({ ranks: 5, slots: [1, 1], ppn: 2, spread: false })).toThrow(/do not fit/)
  })
  it('places every rank once, ascending', () => {
    const slots = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2000 }), slots, fc.boolean(), (ranks, guestSlots, spread) => {
        const placed = mapRanks({ ranks, slots: guestSlots, spread })
        expect(placed).toHaveLength(guestSlots.length)
        expect(placed.flat()).toEqual(Array.from({ length: ranks }, (_, rank) => rank))
      }),
    )
  })
})
