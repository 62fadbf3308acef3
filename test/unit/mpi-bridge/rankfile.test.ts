// Rankfiles as mpirun reads them.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { coresOf, type Processor, parseRankfile, placeRanks } from '../../../mpi-bridge/index.ts'
import { parseHostSequence } from '../../../scheduler-adapters/index.ts'

const CORES: readonly Processor[] = [0, 1, 2, 3].map((id) => ({
  id,
  core: id % 2,
  package: id >> 1,
  numa: 0,
}))

it('give each rank its host and cores', () => {
  const places = parseRankfile('rank 1=b slot=1:0-1 # last\n\nrank 0 = +n1 slot=0,3\nrank 2=a', 'rf')
  expect(places).toEqual([{ host: '+n1', slots: '0,3' }, { host: 'b', slots: '1:0-1' }, { host: 'a' }])
  expect(placeRanks(places, 3, [['a'], ['b']], 'rf')).toEqual([[2], [0, 1]])
  expect(coresOf(CORES, '0,3', 'a')).toEqual([0, 3])
  expect(coresOf(CORES, '1:0-1', 'a')).toEqual([2, 3])
})
it.each(['rank 1=a', 'rank 0=a\nrank 0=b', 'rank 0=a slot=x', 'node 0=a', 'rank 0'])('refuse %j', (text) => {
  expect(() => parseRankfile(text, 'rf')).toThrow(expect.objectContaining({ code: 'LEET_E_USAGE' }))
})
it('refuse hosts and cores that are not there', () => {
  const places = [{ host: 'c' }, { host: '+n2' }]
  expect(() => placeRanks(places, 1, [['a'], ['b']], 'rf')).toThrow(/none of the hosts/)
  expect(() => placeRanks(places, 3, [['c']], 'rf')).toThrow(/2 of 3/)
  expect(() => placeRanks([{ host: 'a' }], 1, [['a'], ['a']], 'rf')).toThrow(/several guests/)
  expect(() => coresOf(CORES, '4', 'a')).toThrow(/4 cores/)
})
it('stand in a row for --map-by seq in a hostfile', () => {
  expect(parseHostSequence('u@a:2 # x\n\nb slots=2\na\n')).toEqual(['a', 'b', 'a'])
})
it('never fail but with a usage error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseRankfile(text, 'rf')
      } catch (error) {
        expect(error).toMatchObject({ code: 'LEET_E_USAGE' })
      }
    }),
  )
})
