// The rows of the table of options: defaults are what their words make, and every row is in the table.
import { describe, expect, expectTypeOf, it } from 'vitest'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { defaultOf, optionReader, type Row, rowsOf, wordsOf } from '../../../launcher/config/row.ts'
import { configSchema } from '../../../launcher/config/schema.ts'
import { GUESTS } from '../../../launcher/options/guests.ts'
import { IMAGE } from '../../../launcher/options/image.ts'
import { OUTPUT } from '../../../launcher/options/output.ts'
import { PLACEMENT } from '../../../launcher/options/placement.ts'
import { PROGRAM } from '../../../launcher/options/program.ts'
import { RANKS } from '../../../launcher/options/ranks.ts'
import { SURROUNDINGS } from '../../../launcher/options/surroundings.ts'

const ROWS = [GUESTS, IMAGE, OUTPUT, PLACEMENT, PROGRAM, RANKS, SURROUNDINGS].flatMap(
  (rows): Row<unknown>[] => Object.values(rows),
)
const said = (...words: string[]) => [{ words, where: 'test', source: 'test' }]

describe('a default', () => {
  const written = ROWS.flatMap((row) =>
    row.default && 'word' in row.default ? [[row.key, row, row.default.word] as const] : [],
  )
  it.each(written)('of %s is what its word makes, and is shown everywhere', (_key, row, word) => {
    expect(row.read([])).toEqual(row.read(said(word)))
    expect(row.read([])).not.toBeUndefined()
    expect(defaultOf(row)).toContain(word)
    expect(wordsOf(row)[0]).toBe(word)
    expect(JSON.stringify(configSchema([row]))).toContain(`"default":${JSON.stringify(word)}`)
  })
  it('that depends on other things is told in words, and makes no value', () => {
    const found = ROWS.filter((row) => row.default && 'found' in row.default && row.takes.length === 1)
    expect(found.length).toBeGreaterThan(5)
    for (const row of found) expect([undefined, []]).toContainEqual(row.read([]))
  })
  it('is in no help text', () => {
    for (const { help } of OPTIONS) expect(help).not.toMatch(/default:/)
  })
})

it('every row is in the table', () => {
  for (const row of ROWS) expect(OPTIONS).toContain(row)
})

describe('a reader', () => {
  const { flag, list, value, wish } = rowsOf('Group')
  const number = (text: string) => Number(text)
  const words = { help: '', takes: 'N' }
  const rows = {
    on: flag({ key: 'on', flags: 'on', help: '' }),
    off: flag({ key: 'off', flags: 'no-off', help: '' }),
    count: value({ ...words, key: 'count', flags: 'count', default: { word: '7' }, parse: number }),
    limit: wish({ ...words, key: 'limit', flags: 'limit', parse: number }),
    each: list({ ...words, key: 'each', flags: 'each', parse: ({ words: all }) => all.map(number) }),
  }
  const read = (flags: Record<string, string[][]>) => {
    const reader = optionReader({ flags: new Map(Object.entries(flags)), environment: {}, files: [] })
    return {
      on: reader.get(rows.on),
      off: reader.get(rows.off),
      count: reader.get(rows.count),
      limit: reader.get(rows.limit),
      each: reader.get(rows.each),
    }
  }
  it('has what nobody said by default', () => {
    expect(read({})).toEqual({ on: false, off: true, count: 7, limit: undefined, each: [] })
  })
  it('has what was said', () => {
    expect(read({ on: [[]], off: [[]], count: [['1']], limit: [['2']], each: [['3'], ['4']] })).toEqual({
      on: true,
      off: false,
      count: 1,
      limit: 2,
      each: [3, 4],
    })
  })
  it('knows the types from the rows', () => {
    expectTypeOf(read({}).count).toEqualTypeOf<number>()
    expectTypeOf(read({}).limit).toEqualTypeOf<number | undefined>()
    expectTypeOf(read({}).each).toEqualTypeOf<readonly number[]>()
    expectTypeOf<ReturnType<typeof GUESTS.kind.read>>().toEqualTypeOf<'linux' | 'osv' | 'host'>()
  })
})
