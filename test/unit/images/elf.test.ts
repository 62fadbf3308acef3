import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  definesSymbol,
  dynamicSymbols,
  readElf,
  textOfSymbol,
  withFile,
} from '../../../launcher/images/formats/index.ts'
import { bufferSource } from '../../support/byte-source.ts'
import { describeWith } from '../../support/needs.ts'

/** Everything the reader can do with these bytes; only a LeetError may come out of nonsense. */
function readAll(bytes: Uint8Array): void {
  const source = bufferSource(bytes)
  try {
    const elf = readElf(source, 'x')
    dynamicSymbols(source, elf, 'x')
    definesSymbol(source, elf, 'greeting', 'x')
    textOfSymbol(source, elf, 'greeting', 'x')
  } catch (error) {
    if (!(error instanceof LeetError)) throw error
  }
}

describeWith(['gcc', 'readelf'], 'elf, against what the compiler made', () => {
  const folder = mkdtempSync(join(tmpdir(), 'leet-elf-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const path = (name: string) => join(folder, name)
  const compile = (...args: string[]) => execFileSync('gcc', args, { cwd: folder })
  writeFileSync(
    path('lib.c'),
    'const char greeting[] = "1.2.3"; int counter = 7; int greet(void) { return counter; }',
  )
  writeFileSync(
    path('prog.c'),
    'extern int counter; extern const char greeting[]; int greet(void); int absent(void) __attribute__((weak));\n' +
      'int main(void) { return greet() + counter + greeting[0] + (absent ? absent() : 0); }',
  )
  compile('-shared', '-fPIC', '-Wl,-soname,libgreet.so.1', '-o', 'libgreet.so', 'lib.c')
  compile('-shared', '-fPIC', '-Wl,--hash-style=sysv', '-o', 'libsysv.so', 'lib.c')
  compile(
    ...['-fno-pie', '-no-pie', '-o', 'prog', 'prog.c', '-L.', '-lgreet'],
    '-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib:/opt/x',
  )
  compile(
    ...[
      '-fPIE',
      '-pie',
      '-o',
      'newer',
      'prog.c',
      '-L.',
      '-lgreet',
      '-Wl,--enable-new-dtags,-rpath,/opt/y',
      '-Wl,-z,nodefaultlib',
    ],
  )
  compile('-static', '-o', 'static', '-x', 'c', '/dev/null', '-Wl,--defsym=main=0')
  compile('-c', '-o', 'lib.o', 'lib.c')

  it('reads what a program needs and where it looks for it', () => {
    expect(withFile(path('prog'), (source) => readElf(source, 'prog'))).toMatchObject({
      machine: 62,
      interpreter: '/lib64/ld-linux-x86-64.so.2',
      dynamic: true,
      needed: ['libgreet.so.1', 'libc.so.6'],
      rpath: ['$ORIGIN/lib', '/opt/x'],
      runpath: [],
      noDefaultDirectories: false,
    })
    expect(withFile(path('newer'), (source) => readElf(source, 'newer'))).toMatchObject({
      rpath: [],
      runpath: ['/opt/y'],
      noDefaultDirectories: true,
    })
  })

  it('reads a library, and a static program, and refuses an object file', () => {
    const library = withFile(path('libgreet.so'), (source) => readElf(source, 'lib'))
    expect(library.soname).toBe('libgreet.so.1')
    expect(library.interpreter).toBeUndefined()
    expect(withFile(path('static'), (source) => readElf(source, 's'))).toMatchObject({
      dynamic: false,
      interpreter: undefined,
    })
    expect(() => withFile(path('lib.o'), (source) => readElf(source, 'lib.o'))).toThrow(
      /lib\.o: .*neither a program/,
    )
  })

  it('finds symbols by both hash tables', () => {
    for (const name of ['libgreet.so', 'libsysv.so']) {
      withFile(path(name), (source) => {
        const elf = readElf(source, name)
        expect(textOfSymbol(source, elf, 'greeting', name)).toBe('1.2.3')
        expect(definesSymbol(source, elf, 'greet', name)).toBe(true)
        expect(definesSymbol(source, elf, 'nothing_of_this_name', name)).toBe(false)
      })
    }
  })

  it('lists symbols as readelf does', () => {
    for (const name of ['prog', 'libgreet.so', 'libsysv.so']) {
      const lines = execFileSync('readelf', ['--dyn-syms', '-W', path(name)], { encoding: 'utf8' })
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter((words) => /^\d+:$/.test(words[0] ?? '') && words[7])
      const expected = lines.map((words) => `${words[7]?.replace(/@.*/, '')} ${words[6] !== 'UND'}`)
      withFile(path(name), (source) => {
        const symbols = dynamicSymbols(source, readElf(source, name), name)
        expect(symbols.map((symbol) => `${symbol.name} ${symbol.defined}`)).toEqual(expected)
      })
    }
  })

  it('tells weak symbols', () => {
    withFile(path('newer'), (source) => {
      const all = dynamicSymbols(source, readElf(source, 'newer'), 'newer')
      const symbols = new Map(all.map((symbol) => [symbol.name, symbol]))
      expect(symbols.get('absent')).toMatchObject({ defined: false, weak: true })
      expect(symbols.get('greet')).toMatchObject({ defined: false, weak: false })
    })
  })

  it('raises nothing but LeetError on damaged files', () => {
    const whole = readFileSync(path('prog'))
    const change = fc.record({
      // Damage where it matters: headers, dynamic section, tables.
      at: fc.oneof(fc.nat(1024), fc.nat(whole.length - 1)),
      value: fc.oneof(fc.nat(255), fc.constantFrom(0, 255)),
      width: fc.constantFrom(1, 4, 8),
    })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), fc.option(fc.nat(whole.length)), (changes, cut) => {
        const bytes = Buffer.from(whole)
        for (const { at, value, width } of changes) bytes.fill(value, at, Math.min(at + width, bytes.length))
        readAll(cut === null ? bytes : bytes.subarray(0, cut))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('readElf', () => {
  it('raises nothing but LeetError on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readAll(bytes)
        readAll(Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]), bytes]))
      }),
    )
  })

  it('says what it does not take', () => {
    const head = Buffer.alloc(64)
    head.write('\x7fELF', 'latin1')
    head[4] = 1
    head[5] = 1
    expect(() => readElf(bufferSource(head), '/a')).toThrow(
      '/a: cannot be read as a program or library: neither 64-bit',
    )
    expect(() => readElf(bufferSource(Buffer.from('#!/bin/sh')), '/a')).toThrow('it is cut short')
  })
})
