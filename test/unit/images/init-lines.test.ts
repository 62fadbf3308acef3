import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseInitLine } from '../../../launcher/images/init-lines.ts'

describe('parseInitLine', () => {
  it('reads a step that went well', () => {
    expect(parseInitLine('leet-init: step=mount path=/home/a type=9p status=ok')).toEqual({
      kind: 'step',
      step: 'mount',
      ok: true,
      fatal: false,
      fields: { path: '/home/a', type: '9p' },
    })
  })

  it('reads a failure, with the reason in quotes, and tells whether the guest goes on', () => {
    const line = 'leet-init: step=mount path=/a status=STATUS reason="mount: \\"x\\" \\\\ \\xc3\\xa9"'
    expect(parseInitLine(line.replace('STATUS', 'failed'))).toMatchObject({ ok: false, fatal: false })
    expect(parseInitLine(line.replace('STATUS', 'fatal'))).toEqual({
      kind: 'step',
      step: 'mount',
      ok: false,
      fatal: true,
      fields: { path: '/a', reason: 'mount: "x" \\ é' },
    })
  })

  it('reads that a step begins which may take long', () => {
    expect(parseInitLine('leet-init: step=mount path=/home/a status=begin')).toEqual({
      kind: 'begin',
      step: 'mount',
      fields: { path: '/home/a' },
    })
  })

  it('reads the last lines', () => {
    expect(parseInitLine('leet-init: ready ms=1432\r')).toEqual({ kind: 'ready', fields: { ms: '1432' } })
    expect(parseInitLine('leet-init: off reason="asked to"')).toEqual({
      kind: 'off',
      fields: { reason: 'asked to' },
    })
  })

  it('finds a line behind a message of the kernel', () => {
    expect(parseInitLine('[    1.2] random: crng init doneleet-init: ready ms=1')).toMatchObject({
      kind: 'ready',
    })
  })

  it.each([
    '',
    'leet-init:',
    'leet-init: ',
    'leet-init: hello',
    'leet-init: step=mount',
    'leet-init: step=mount status=well',
    'leet-init: ready ms="1',
    'leet-init: ready ms=1 =',
    'step=mount status=ok',
    `leet-init: ready x=${'a'.repeat(5000)}`,
  ])('passes over %j', (line) => {
    expect(parseInitLine(line)).toBeUndefined()
  })

  it('gives any value back that was quoted as init quotes', () => {
    const quote = (text: string) =>
      `"${[...Buffer.from(text)]
        .map((byte) => {
          const char = String.fromCharCode(byte)
          if (char === '"' || char === '\\') return `\\${char}`
          return byte < 0x20 || byte > 0x7e ? `\\x${byte.toString(16).padStart(2, '0')}` : char
        })
        .join('')}"`
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(parseInitLine(`leet-init: off reason=${quote(text)} last=1`)).toEqual({
          kind: 'off',
          fields: { reason: Buffer.from(text).toString('utf8'), last: '1' },
        })
      }),
    )
  })

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseInitLine(text)
        parseInitLine(`leet-init: ${text}`)
        parseInitLine(`leet-init: step=${text} status=ok`)
      }),
    )
  })
})
