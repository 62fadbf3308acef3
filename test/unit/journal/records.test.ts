import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatRecord, type JournalRecord, parseJournal } from '../../../launcher/journal/records.ts'

const marker = 'a'.repeat(32)
const intent = { kind: 'process', what: 'QEMU of guest g0', marker } as const
const head = {
  version: 1,
  jobId: 'j1',
  controller: { pid: 10, startTime: 20 },
  place: { host: 'node1', boot: 'b', pidNamespace: 'pid:[1]' },
} as const
const text = (...records: JournalRecord[]) => records.map(formatRecord).join('')

describe('parseJournal', () => {
  it('knows what is intended, made and gone', () => {
    const made = { kind: 'process', pid: 42, startTime: 7 } as const
    expect(
      parseJournal(
        text(
          { head },
          { intend: 1, intent },
          { intend: 2, intent },
          { made: 2, as: made },
          { intend: 3, intent },
          { gone: 3 },
        ),
      ),
    ).toEqual({
      head,
      open: [
        { id: 1, intent },
        { id: 2, intent, made },
      ],
      unreadable: 0,
    })
  })

  it('takes a line that was cut short as one that is not there', () => {
    const whole = text({ head }, { intend: 1, intent }, { gone: 1 })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length }), (length) => {
        const { open, unreadable } = parseJournal(whole.slice(0, length))
        expect(open.length).toBeLessThanOrEqual(1)
        expect(unreadable).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('believes nothing of another shape', () => {
    const lines = [
      '{"intend":1,"intent":{"kind":"process","what":"x","marker":""}}',
      '{"intend":1,"intent":{"kind":"process","what":"x"}}',
      '{"intend":-1,"intent":{"kind":"process","what":"x","marker":"a"}}',
      '{"made":1,"as":{"kind":"process","pid":1,"startTime":0}}',
      '{"made":1,"as":{"kind":"process","pid":-5,"startTime":0}}',
      '{"made":1,"as":{"kind":"process","pid":0,"startTime":0}}',
      '{"made":99,"as":{"kind":"process","pid":55,"startTime":0}}',
      '{"head":{"version":2}}',
      '[]',
      'null',
      '{',
    ]
    expect(parseJournal(lines.join('\n'))).toEqual({ head: undefined, open: [], unreadable: lines.length })
  })

  it('never throws and never names a process group or init', () => {
    const anyRecord = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .record({
          made: fc.integer(),
          as: fc.record({ kind: fc.constant('process'), pid: fc.integer(), startTime: fc.nat() }),
        })
        .map((value) => JSON.stringify(value)),
      fc.constant(formatRecord({ intend: 1, intent })),
    )
    fc.assert(
      fc.property(fc.array(anyRecord), (lines) => {
        for (const { made } of parseJournal(lines.join('\n')).open) {
          if (made) expect(made.pid).toBeGreaterThan(1)
        }
      }),
    )
  })
})
