import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline, poll, silentLog } from '../../../common/index.ts'
import {
  cleanLine,
  GuestConsole,
  LINE_LIMIT,
  LINES_KEPT,
  LineDecoder,
} from '../../../launcher/machines/console.ts'

describe('cleanLine', () => {
  it('removes what would command a terminal', () => {
    expect(cleanLine('\x1b[1;31mred\x1b[0m \x1b[2J\x1b[10;5Hhere\r')).toBe('red here')
    expect(cleanLine('\x1b]0;title\x07after \x1b]8;;http://x\x1b\\link')).toBe('after link')
    expect(cleanLine('\x1bPq#0\x1b\\sixel \x1bc reset \x1b(B')).toBe('sixel  reset ')
    expect(cleanLine('bell \x07 null \x00 del \x7f c1 \x9b31m')).toBe(
      'bell \\x07 null \\x00 del \\x7f c1 \\x9b31m',
    )
    expect(cleanLine('Größe\tµs 日本')).toBe('Größe\tµs 日本')
  })

  it('leaves no control character but the tab, and is bounded', () => {
    const nasty = fc.string({ unit: fc.constantFrom(...'\x1b\x07\x00\r\t\x9b\x7f[]P\\0;mHK?x ') })
    fc.assert(
      fc.property(nasty, (text) => {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is about
        expect(cleanLine(text)).not.toMatch(/[\x00-\x08\x0a-\x1f\x7f-\x9f]/)
      }),
    )
    expect(cleanLine('\x01'.repeat(LINE_LIMIT)).length).toBe(LINE_LIMIT)
  })
})

describe('LineDecoder', () => {
  it('gives the same lines however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' })),
        fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
        (texts, sizes) => {
          const lines = texts.map((text) => text.replaceAll('\n', ''))
          const bytes = Buffer.from(lines.map((line) => `${line}\r\n`).join(''))
          const decoder = new LineDecoder()
          const seen: string[] = []
          for (let at = 0; at < bytes.length; ) {
            const size = sizes.next().value as number
            seen.push(...decoder.push(bytes.subarray(at, at + size)))
            at += size
          }
          expect(seen).toEqual(lines.map(cleanLine))
          expect(decoder.partial).toBe('')
        },
      ),
    )
  })

  it('holds no line without end', () => {
    const decoder = new LineDecoder()
    for (let i = 0; i < 100; i++) expect(decoder.push(Buffer.alloc(10_000, 'x'))).toEqual([])
    expect(decoder.partial).toBe('x'.repeat(LINE_LIMIT))
    expect(decoder.push(Buffer.from('y\nz'))).toEqual(['x'.repeat(LINE_LIMIT)])
    expect(decoder.partial).toBe('z')
  })
})

describe('GuestConsole', () => {
  let folder: string
  let file: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    file = join(folder, 'console')
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('tells lines as they come and writes all of it to the file', async () => {
    const lines: string[] = []
    const stream = new PassThrough()
    const guest = new GuestConsole(stream, { file, log: silentLog, onLine: (line) => lines.push(line) })
    stream.write('first\r\npart')
    await poll(() => lines.length === 1 || undefined, 1, limits(), { what: 'a line' })
    expect(guest.tail()).toEqual(['first', 'part'])
    stream.end('ly\nunfinished')
    await finished(stream)
    expect(lines).toEqual(['first', 'partly'])
    expect(guest.tail(2)).toEqual(['partly', 'unfinished'])
    expect(readFileSync(file, 'latin1')).toBe('first\r\npartly\nunfinished')
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('keeps the last lines and the last part of the file only', async () => {
    const stream = Readable.from(Array.from({ length: 5000 }, (_, i) => Buffer.from(`line ${i}\n`)))
    const guest = new GuestConsole(stream, { file, fileLimit: 1000, log: silentLog })
    await finished(stream)
    expect(guest.tail()).toHaveLength(LINES_KEPT)
    expect(guest.tail(1)).toEqual(['line 4999'])
    const kept = readFileSync(`${file}.old`, 'latin1') + readFileSync(file, 'latin1')
    expect(kept.length).toBeLessThan(2020)
    expect(kept).toMatch(/^line \d+\n(?:.*\n)*line 4999\n$/)
    expect(readdirSync(folder)).toHaveLength(2)
  })

  it('gives what is kept from any position on, and says where that ends', async () => {
    const whole = Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join('')
    const stream = Readable.from([...whole].map((byte) => Buffer.from(byte)))
    const guest = new GuestConsole(stream, { file, fileLimit: 1000, log: silentLog })
    await finished(stream)
    expect(guest.length).toBe(whole.length)
    const from = (start: number) => {
      let text = ''
      for (let at = start; ; ) {
        const { bytes, next } = guest.read(at)
        if (bytes.length === 0) return text
        text += Buffer.from(bytes)
        at = next
      }
    }
    const kept = readFileSync(`${file}.old`, 'latin1') + readFileSync(file, 'latin1')
    expect(from(0)).toBe(kept)
    expect(whole.endsWith(kept)).toBe(true)
    for (const back of [1, 500, kept.length - 1]) {
      expect(from(whole.length - back)).toBe(whole.slice(-back))
    }
    expect(guest.read(whole.length)).toMatchObject({ next: whole.length })
  })

  it('goes on when the file cannot be written', async () => {
    const lines: string[] = []
    const warnings: string[] = []
    const stream = Readable.from([Buffer.from('one\n'), Buffer.from('two\n')])
    new GuestConsole(stream, {
      file: '/dev/full',
      log: { ...silentLog, warn: (line) => warnings.push(line) },
      onLine: (line) => lines.push(line),
    })
    await finished(stream)
    expect(lines).toEqual(['one', 'two'])
    expect(warnings).toEqual([expect.stringContaining('ENOSPC')])
  })
})

const limits = () => ({ deadline: Deadline.after(5000) })
