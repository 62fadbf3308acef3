import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { quoteCommand } from '../../../mpi-bridge/osv/command.ts'
import { splitCommands } from '../../simulators/osv/splitter.ts'

describe('the model of OSv’s splitter', () => {
  // Sent to a real guest, which printed these arguments.
  it.each([
    ['/p a "b c" d"e f', ['/p', 'a', 'b c', 'd"e', 'f']],
    [
      '/p "a\\"b" "a\\\\b" "a\\qb" "a\\nb" "" "x"y z',
      ['/p', 'a"b', 'a\\b', 'a\\qb', 'a\nb', '', 'x', 'y', 'z'],
    ],
    ['/p x$B "p$B" "$B" $NOPE "a$Bb"', ['/p', 'x1', 'p1', '1', '', 'a']],
    ['/p "a;b" "a&b!c" x', ['/p', 'a;b', 'a&b!c', 'x']],
    ['/p a\tb "c\td"', ['/p', 'a\tb', 'c\td']],
    ['/p "a\nb" x\\ny', ['/p', 'a\nb', 'x\ny']],
    ['/p > "!" x', ['/p', '>', '!', 'x']],
    ['  /p  x  ', ['/p', 'x']],
    ['"unterminated', ['unterminated"unterminated']],
  ])('splits %j', (line, words) => {
    expect(splitCommands(line, { B: '1' })).toEqual([{ words, terminator: '' }])
  })

  it('refuses what is not ASCII', () => {
    expect(splitCommands('/p ä "ä" x', {})).toBeUndefined()
  })

  it('tells the end of a command', () => {
    expect(splitCommands('a;b & c', {})).toEqual([
      { words: ['a'], terminator: ';' },
      { words: ['b'], terminator: '&' },
      { words: ['c'], terminator: '' },
    ])
  })
})

describe('a quoted command', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('"', '\\', '$', ' ', ';', '&', '!', 'n', '\n', '\t', 'ä', "'") }),
  )

  it('gives the program exactly its arguments', () => {
    fc.assert(
      fc.property(
        fc.array(
          word.filter((w) => !w.includes('\0') && w.isWellFormed()),
          { minLength: 1, maxLength: 6 },
        ),
        (argv) => {
          fc.pre(argv[0] !== '')
          const { command, variables } = quoteCommand(argv)
          expect(splitCommands(command, variables)).toEqual([{ words: argv, terminator: '' }])
        },
      ),
    )
  })

  it('uses variables only for what cannot be written', () => {
    expect(quoteCommand(['/p', 'a b', '$x', 'ä'])).toEqual({
      command: '"/p" "a b" $LEET_OSV_ARG2 $LEET_OSV_ARG3',
      variables: { LEET_OSV_ARG2: '$x', LEET_OSV_ARG3: 'ä' },
    })
  })

  it.each([[[]], [['']], [['/p', 'a\0b']], [['/p', '\ud800']]])('refuses %j', (argv) => {
    expect(() => quoteCommand(argv)).toThrow(LeetError)
  })
})
