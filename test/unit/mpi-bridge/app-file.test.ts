// Files of programs, as mpirun --app and mpiexec -configfile read them.
import { describe, expect, it } from 'vitest'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { expandAppFile, parseCommandWords } from '../../../mpi-bridge/index.ts'

const FILE = `# a job
-n 1 -env A "x y" ./master 'one two' \\
   three

-n 3 ./worker # idle
`
const expand = (...argv: string[]) => expandAppFile(OPTIONS, argv, () => FILE)

describe('a file of programs', () => {
  it.each([
    ['-configfile', 'f'],
    ['--app', 'f'],
    ['--app=f', undefined],
  ])('stands where %s names it', (flag, file) => {
    const argv = expand('--guests', '2', flag, ...(file === undefined ? [] : [file]))
    expect(argv.slice(0, 4)).toEqual(['--guests', '2', '-n', '1'])
    const { programs } = parseCommandWords(OPTIONS, argv)
    expect(programs.map((program) => program.argv)).toEqual([['./master', 'one two', 'three'], ['./worker']])
    expect(programs[0]?.options.get('env')).toEqual([['A', 'x y']])
  })
  it('is not looked for among the words of a program', () => {
    expect(expand('-n', '2', './a', '--app', 'f')).toEqual(['-n', '2', './a', '--app', 'f'])
  })
  it('comes last and holds something', () => {
    expect(() => expand('--app', 'f', './a')).toThrow(/comes last/)
    expect(() => expandAppFile(OPTIONS, ['--app', 'f'], () => '# nothing')).toThrow(/names no program/)
    expect(() => expandAppFile(OPTIONS, ['--app', 'f'], () => './a "b')).toThrow(/line 1.*quote/)
  })
})
