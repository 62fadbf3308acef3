// What leet bench tells of solvers: whether kinds wrote the same, and the time of an iteration.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareFields, fieldSentences, readWritten, writtenText } from '../../../launcher/bench/fields.ts'
import type { Kind, Run } from '../../../launcher/bench/results.ts'
import { iterationsOf } from '../../../launcher/bench/solver-log.ts'
import { benchResults } from '../../support/bench-results.ts'

const digest = (letter: string) => letter.repeat(64)

describe('what a run wrote', () => {
  it('is what is new or changed, in lines of sha256sum', () => {
    const before = new Map([
      ['0/U', digest('a')],
      ['log', digest('b')],
    ])
    const after = new Map([...before, ['log', digest('c')], ['10/U', digest('d')], ['9/U', digest('e')]])
    const text = writtenText(before, after)
    expect(text).toBe(`${digest('e')}  9/U\n${digest('d')}  10/U\n${digest('c')}  log\n`)
    expect([...readWritten(text)]).toEqual([
      ['9/U', digest('e')],
      ['10/U', digest('d')],
      ['log', digest('c')],
    ])
  })

  it('is read as it was noted', () => {
    const path = fc.stringMatching(/^[^\n\r\u2028\u2029]+$/)
    const digests = fc
      .array(fc.tuple(path, fc.stringMatching(/^[0-9a-f]{64}$/)))
      .map((pairs) => new Map(pairs))
    fc.assert(
      fc.property(digests, (written) => {
        expect(readWritten(writtenText(new Map(), written))).toEqual(written)
      }),
    )
  })
})

describe('fields', () => {
  const kinds: readonly Kind[] = ['linux', 'osv', 'host']
  const { runs } = benchResults({ kinds, repetitions: 1 })
  const files = { 'processor0/9/U': digest('a'), 'processor0/10/U': digest('b') }
  const compare = (writtenOf: (run: Run) => Record<string, string>) =>
    compareFields(runs, kinds, 'host', (run) => new Map(Object.entries(writtenOf(run))))

  it('are equal when all runs wrote the same bits', () => {
    const fields = compare(() => files)
    expect(fields).toEqual(kinds.map((kind) => ({ kind, files: 2 })))
    expect(fieldSentences(fields, 'host')).toEqual([
      'Fields are equal in Linux guests: all 2 files have the bits that they have on the bare host.',
      'Fields are equal in OSv guests: all 2 files have the bits that they have on the bare host.',
    ])
  })

  it('are not when one run of a kind wrote other bits, or another file', () => {
    const fields = compare(({ kind, round }) => {
      if (kind === 'linux' && round === 1) return { ...files, 'processor0/10/U': digest('c') }
      return kind === 'osv' ? { ...files, more: digest('c') } : files
    })
    expect(fields.map(({ differs }) => differs)).toEqual(['processor0/10/U', 'more', undefined])
    expect(fieldSentences(fields, 'host')[0]).toBe(
      'Fields are not equal in Linux guests: the first file with other bits than on the bare host is processor0/10/U.',
    )
  })

  it('cannot be compared with what is another each time, or nothing', () => {
    const fields = compare(({ kind, round }) => (kind === 'host' ? { random: digest(`${round}`) } : files))
    expect(fieldSentences(fields, 'host')).toEqual([
      'What is written on the bare host is not the same in each run, first random: fields cannot be compared.',
    ])
    expect(
      fieldSentences(
        compare(() => ({})),
        'host',
      ),
    ).toEqual(['Nothing was written that could be compared.'])
    expect(compareFields(runs, kinds, 'mpirun', () => new Map())).toEqual([])
  })
})

describe('the log of a solver', () => {
  const line = (processor: number, clock: number | string) =>
    `ExecutionTime = ${processor} s  ClockTime = ${clock} s\n\nTime = 2\n`

  it('has the time of an iteration, by the clock when that is fine enough', () => {
    expect(iterationsOf(`Time = 1\n${line(0.5, 1)}${line(0.75, 2)}${line(1.5, 2)}`)).toEqual({
      count: 3,
      processorSeconds: 0.5,
    })
    expect(iterationsOf(line(1, 1) + line(30, 41))).toEqual({ count: 2, seconds: 40, processorSeconds: 29 })
    expect(iterationsOf(line(1, '1.00') + line(1, '3.50'))).toEqual({ count: 2, seconds: 2.5 })
    expect(iterationsOf(`[1,0]<stdout>: ${line(1, 1)}[1,0]<stdout>: ${line(2, 1)}`)?.count).toBe(2)
  })

  it('may tell nothing of it', () => {
    expect([iterationsOf(''), iterationsOf(line(1, 1)), iterationsOf('hello\n')]).toEqual(
      Array(3).fill(undefined),
    )
  })
})
