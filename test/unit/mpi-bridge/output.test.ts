// What begins lines of output and where output files lie: forms that Open MPI 4.1.4 and MPICH 4.0.2 printed.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checkPattern,
  linePrefix,
  type OutputOrigin,
  outputPath,
  parseOutput,
  parseOutputFilename,
} from '../../../mpi-bridge/index.ts'

const ORIGIN: OutputOrigin = { job: 0, rank: 3, stream: 'stderr', guest: 1, host: 'vm' }
const NONE = { tag: false, timestamp: false, pattern: undefined }
const noon = () => new Date(2026, 10, 6, 12, 0, 0)

describe('the beginning of a line', () => {
  it.each([
    [NONE, undefined],
    [{ ...NONE, tag: true }, '[1,3]<stderr>:'],
    [{ ...NONE, tag: 'host' as const }, '[1,3][vm]<stderr>:'],
    [{ ...NONE, timestamp: true }, 'Fri Nov  6 12:00:00 2026<stderr>:'],
    [{ ...NONE, tag: true, timestamp: true }, 'Fri Nov  6 12:00:00 2026[1,3]<stderr>:'],
    [{ ...NONE, pattern: '<%r %g %p %h> 5%%' }, '<3 0 1 vm> 5%'],
  ])('for %j', (tags, expected) => {
    expect(linePrefix(tags, noon)?.(ORIGIN)).toBe(expected)
  })
})

it('the beginning of a line names the guest where its ranks cannot be told apart', () => {
  const origin = { ...ORIGIN, together: true }
  expect(linePrefix({ ...NONE, tag: true }, noon)?.(origin)).toBe('[1,vm]<stderr>:')
  expect(linePrefix({ ...NONE, pattern: '[%r] ' }, noon)?.(origin)).toBe('[vm] ')
})

describe('files of output', () => {
  it.each([
    ['out', 'out/1/rank.03/stderr'],
    ['out:nojobid,nocopy', 'out/rank.03/stderr'],
    ['%h/out', 'vm/out/1/rank.03/stderr'],
  ])('of --output-filename %s', (text, path) => {
    expect(outputPath(parseOutputFilename(text, '-'), ORIGIN, 12)).toBe(path)
  })
  it.each([
    ['dir=d', 'd/1/rank.3/stderr', true],
    ['tag,file=f:nocopy', 'f.3.err', false],
    ['file=f-%h-%r:pattern', 'f-vm-3.err', true],
  ])('of --output %s', (text, path, copy) => {
    const { files } = parseOutput(text, '-')
    expect(files && [outputPath(files, ORIGIN, 4), files.copy]).toEqual([path, copy])
  })
  it('of patterns, for the stream that has one', () => {
    const form = { kind: 'patterns', stdout: 'o.%r', stderr: undefined } as const
    expect(outputPath({ form, copy: false }, ORIGIN, 4)).toBeUndefined()
    expect(outputPath({ form, copy: false }, { ...ORIGIN, stream: 'stdout' }, 4)).toBe('o.3')
  })
  it('are refused by a usage error when a pattern is none, and only so', () => {
    expect(() => checkPattern('%x', '-')).toThrow(/not a pattern/)
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of [checkPattern, parseOutput, parseOutputFilename]) {
          try {
            parse(text, '-')
          } catch (error) {
            expect(error).toMatchObject({ code: 'LEET_E_USAGE' })
          }
        }
      }),
    )
  })
})
