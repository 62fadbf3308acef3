import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../../common/index.ts'
import {
  ConsoleFollower,
  cleanLine,
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

describe('ConsoleFollower', () => {
  let folder: string
  let file: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    file = join(folder, 'console')
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('tells lines from the beginning on, as they come, and the rest when it is closed', async () => {
    writeFileSync(file, 'first\npart')
    const lines: string[] = []
    const follower = new ConsoleFollower(file, (line) => lines.push(line))
    const until = (count: number) =>
      poll(() => lines.length >= count || undefined, 1, { deadline: Deadline.after(5000) }, { what: 'lines' })
    await until(1)
    expect(follower.tail()).toEqual(['first', 'part'])
    appendFileSync(file, 'ly\nsecond\n')
    await until(3)
    appendFileSync(file, 'third\nunfinished')
    follower.close()
    follower.close()
    expect(lines).toEqual(['first', 'partly', 'second', 'third'])
    expect(follower.tail(2)).toEqual(['third', 'unfinished'])
  })

  it('keeps the last lines only', async () => {
    const count = 20_000
    writeFileSync(file, Array.from({ length: count }, (_, i) => `line ${i}\n`).join(''))
    let seen = 0
    const follower = new ConsoleFollower(file, () => seen++)
    await poll(() => seen === count || undefined, 1, { deadline: Deadline.after(5000) }, { what: 'lines' })
    expect(follower.tail()).toHaveLength(LINES_KEPT)
    expect(follower.tail(1)).toEqual([`line ${count - 1}`])
    follower.close()
  })
})
