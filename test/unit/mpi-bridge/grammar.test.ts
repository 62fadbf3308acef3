import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nearest, type OptionSpec, parseCommandWords } from '../../../mpi-bridge/index.ts'

const spec = (
  key: string,
  flags: string[],
  takes: string[],
  scope: 'job' | 'program',
  repeats = false,
): OptionSpec => ({
  key,
  flags,
  takes,
  scope,
  repeats,
  help: '',
  group: '',
})
const TABLE = [
  spec('ranks', ['n', 'np'], ['N'], 'program'),
  spec('export', ['x'], ['NAME'], 'program', true),
  { ...spec('genv', ['genv'], ['NAME', 'VALUE'], 'job', true), joined: true },
  spec('memory', ['guest-memory'], ['SIZE'], 'job'),
  spec('tag', ['tag-output'], [], 'job'),
]
const parse = (line: string) => parseCommandWords(TABLE, line.split(' '))

describe('mpirun’s grammar', () => {
  it('takes one or two dashes, and leaves the program’s own options alone', () => {
    const { options, programs } = parse('-np 4 --tag-output -x A -x B ./a.out -n 7 --tag-output : x')
    expect(options.get('tag')).toEqual([[]])
    expect(programs).toHaveLength(2)
    expect(programs[0]?.argv).toEqual(['./a.out', '-n', '7', '--tag-output'])
    expect(programs[0]?.options.get('ranks')).toEqual([['4']])
    expect(programs[0]?.options.get('export')).toEqual([['A'], ['B']])
  })

  it('reads --flag=VALUE, options of two words, and -- before the program', () => {
    const { options, programs } = parse('--guest-memory=2G --genv K V -- -odd-name : 1')
    expect(options.get('memory')).toEqual([['2G']])
    expect(options.get('genv')).toEqual([['K', 'V']])
    expect(programs.map((program) => program.argv)).toEqual([['-odd-name'], ['1']])
  })

  it('does not take a colon for a separator before a program was named', () => {
    expect(parse('-x : a').programs).toHaveLength(1)
  })

  it.each([
    ['-q 3 a', /unknown option/],
    ['--guest-memorx 2G a', /unknown option/],
    ['-n', /needs N/],
    ['--tag-output=yes a', /takes no words/],
    ['--genv=K a', /takes 2 words/],
    ['--guest-memory 1G --guest-memory 2G a', /given twice/],
  ])('refuses %s with exit status 2', (line, message) => {
    expect(() => parse(line)).toThrow(
      expect.objectContaining({ message: expect.stringMatching(message), exitCode: 2 }),
    )
  })

  it('takes a name and its value as one word, too', () => {
    const { options, programs } = parse('-genv A=b=c -genv D E prog x=y')
    expect(options.get('genv')).toEqual([
      ['A', 'b=c'],
      ['D', 'E'],
    ])
    expect(programs[0]?.argv).toEqual(['prog', 'x=y'])
  })
  it('hints at the word apart when a number sticks to its option', () => {
    expect(() => parse('-n4 a')).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ where: '-n4', hint: '-n 4' }) }),
    )
  })
  it('takes a colon in the front for a program that is missing', () => {
    expect(parse(': -n 1 a').programs.map(({ argv }) => argv)).toEqual([[], ['a']])
  })
  it('hints at the nearest spelling', () => {
    expect(nearest('guest-memroy', ['guest-memory', 'guest-cpus'])).toBe('guest-memory')
    expect(nearest('zzzzz', ['guest-memory'])).toBeUndefined()
  })

  it('either refuses with LeetError or keeps every word of a program, whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('-n', '--', ':', '-x', 'a', '--tag-output'))),
        (argv) => {
          try {
            const { programs } = parseCommandWords(TABLE, argv)
            expect(programs.flatMap((program) => program.argv).length).toBeLessThanOrEqual(argv.length)
          } catch (error) {
            expect(error).toMatchObject({ code: 'LEET_E_USAGE' })
          }
        },
      ),
    )
  })
})
