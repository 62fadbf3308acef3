// Results in a file: what is written can be read again, what is none is refused, and the schema says the same as the reader.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Run } from '../../../launcher/bench/results.ts'
import { readResults, writeResults } from '../../../launcher/bench/results-file.ts'
import { RESULTS_FILE, resultsSchema } from '../../../launcher/bench/results-shape.ts'
import { refuseElsewhere, refuseOthers } from '../../../launcher/bench/resume.ts'
import { summarise } from '../../../launcher/bench/summary.ts'
import { benchResults } from '../../support/bench-results.ts'

const results = benchResults({ kinds: ['linux', 'host'], repetitions: 4 })
const whole = JSON.parse(JSON.stringify({ ...results, summary: summarise(results) }))

describe('results.json', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'leet-results-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('is read as it was written, by its name or that of its directory', () => {
    writeResults(directory, { ...results, summary: summarise(results) })
    expect(readResults(directory)).toEqual(whole)
    expect(readResults(join(directory, 'results.json'))).toEqual(whole)
  })

  it.each([
    ['no JSON', '{', /can be read/],
    ['of another format', '{"format":7}', /is of format 7.*reads format 1/],
    ['something else', '[]', /is no results.json.*all of it is not an object/],
    ['damaged', JSON.stringify({ ...whole, runs: [{}] }), /runs\[0\]\.number is missing/],
  ])('is refused when it is %s', (_, text, message) => {
    writeFileSync(join(directory, 'results.json'), text)
    expect(() => readResults(directory)).toThrow(message)
    expect(readFileSync(join(directory, 'results.json'), 'utf8')).toBe(text)
  })
})

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
type Schema = { readonly [word: string]: unknown }

/** Whether a value fits a schema, for the words that ours is written in. */
function fits(schema: Schema, value: Json | undefined): boolean {
  const { type, const: only, enum: some, items, properties = {}, required = [] } = schema
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema as Record<string, number>
  if (only !== undefined) return value === only
  if (Array.isArray(some) && !some.includes(value)) return false
  if (type === 'array')
    return (
      Array.isArray(value) &&
      value.length >= minItems &&
      value.length <= maxItems &&
      value.every((each) => fits(items as Schema, each))
    )
  if (type !== 'object') return typeof value === type
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return (
    (required as string[]).every((name) => name in value) &&
    Object.entries(properties as Record<string, Schema>).every(
      ([name, own]) => !(name in value) || fits(own, value[name]),
    )
  )
}

/** The value with another one at a place that `pick` leads to. */
function spoil(value: Json, pick: (count: number) => number, other: Json | undefined): Json | undefined {
  if (typeof value !== 'object' || value === null || pick(12) === 0) return other
  const names = Object.keys(value)
  const name = names[pick(names.length)]
  if (name === undefined) return other
  const below = spoil((value as Record<string, Json>)[name] as Json, pick, other)
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, Json>
  if (below === undefined && !Array.isArray(value)) delete copy[name]
  else copy[name] = below ?? null
  return copy as Json
}

describe('the schema of results.json', () => {
  it('takes results, whole and of a bench that still runs', () => {
    expect(fits(resultsSchema(), whole)).toBe(true)
    expect(fits(resultsSchema(), { ...whole, summary: undefined })).toBe(false)
    const { summary: _, ...running } = whole
    expect(fits(resultsSchema(), running)).toBe(true)
  })

  it('refuses what the reader refuses, and nothing else', () => {
    const other = fc.constantFrom<Json | undefined>(undefined, 'host', 'text', 1, true, null, [], {})
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 40, maxLength: 40 }), other, (picks, value) => {
        let at = 0
        const spoilt = spoil(whole, (count) => (count > 0 ? (picks[at++ % 40] as number) % count : 0), value)
        const read = spoilt === undefined ? false : RESULTS_FILE.is(spoilt)
        expect(read).toBe(fits(resultsSchema(), spoilt))
      }),
    )
  })
})

describe('a bench goes on', () => {
  const now = { environment: results.environment, programs: results.programs }
  const commandOf = ({ command }: Run) => command

  it('where it was, with what it had', () => {
    expect(() => refuseElsewhere(results, results.directory)).not.toThrow()
    expect(() => refuseOthers(results, now, commandOf)).not.toThrow()
  })

  it.each([
    [
      'under another kernel',
      { ...now, environment: { ...now.environment, kernel: '7' } },
      /kernel is another/,
    ],
    ['on another host', { ...now, environment: { ...now.environment, host: 'node2' } }, /host is another/],
    ['with another program', { ...now, programs: [] }, /the program has changed/],
  ])('not %s', (_, other, message) => {
    expect(() => refuseOthers(results, other, commandOf)).toThrow(message)
  })

  it('not in another directory', () => {
    expect(() => refuseElsewhere(results, '/')).toThrow(/begun in another directory/)
  })

  it('not with other commands', () => {
    const other = (run: Run) => [...run.command, '--mca']
    expect(() => refuseOthers(results, now, other)).toThrow(/another command/)
  })
})
