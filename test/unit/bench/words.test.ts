// What leet bench reads: its command line, and the lines of benchmarks.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { commandOf, composeCommand, flavourOfVersion } from '../../../launcher/bench/commands.ts'
import { digits, formatValue } from '../../../launcher/bench/figures.ts'
import { parseMicro, parseOsu, saysBegin } from '../../../launcher/bench/micro.ts'
import { parseSizes, readBenchWords } from '../../../launcher/bench/options.ts'
import type { Kind } from '../../../launcher/bench/results.ts'
import { neededText, someOf } from '../../../launcher/bench/wording.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'

const read = (line: string) => readBenchWords(OPTIONS, line.split(' '))
const commands = (
  line: string,
  flavour: 'openmpi' | 'mpich' = 'openmpi',
  variables: readonly string[] = [],
) => {
  const { options, ranks, program } = read(line)
  const launchers = new Map([[flavour, `mpirun.${flavour}`]])
  const parts = {
    leetMpirun: 'leet-mpirun',
    launchers,
    table: OPTIONS,
    options,
    ranks,
    root: false,
    variables,
  }
  return (kind: Kind) => commandOf(parts, kind, program, 'E').join(' ')
}

describe('the words of leet bench', () => {
  it('are its own, those of leet-mpirun, and a program', () => {
    const wishes = read('-r 7 --kinds osv,host --guests 2 -n 4 simpleFoam -parallel -n 3')
    expect(wishes).toMatchObject({ repetitions: 7, kinds: ['osv', 'host'], ranks: 4, warmup: 1 })
    expect(wishes.program).toEqual(['simpleFoam', '-parallel', '-n', '3'])
  })

  it('may be longer, and name a seed', () => {
    const wishes = read('--repeat 7 --guests-of linux,mpiexec --seed 42 ./a.out')
    expect(wishes).toMatchObject({ repetitions: 7, kinds: ['linux', 'mpiexec'], seed: 42 })
  })

  it('become the command of each kind', () => {
    const of = commands('--guests 2 --guest-memory 1G -x A=b -n 4 ./a.out x')
    expect(of('linux')).toBe(
      'leet-mpirun --guest linux --timings --events E -x A=b --guests 2 --guest-memory 1G -n 4 ./a.out x',
    )
    expect(of('host')).toBe('leet-mpirun --guest host --timings --events E -x A=b -n 4 ./a.out x')
    expect(of('mpirun')).toBe('mpirun.openmpi --oversubscribe --bind-to none -x A=b -n 4 ./a.out x')
    expect(commands('--mca btl self,tcp -genv D e ./a.out')('mpirun')).toBe(
      'mpirun.openmpi --oversubscribe --bind-to none --mca btl self,tcp -x D=e -n 2 ./a.out',
    )
    expect(commands('-x A=b -x C -hosts n1,n2 -n 4 ./a.out', 'mpich')('mpiexec')).toBe(
      'mpirun.mpich -hosts n1,n2 -genv A b -genvlist C -n 4 ./a.out',
    )
  })

  it('compose the image of each kind of guests with what is for it', () => {
    const image = {
      name: undefined,
      files: ['a:/b'],
      kernel: 'K',
      modules: 'M',
      osvBase: 'B',
      osvCompat: false,
    }
    const of = (kind: Kind) =>
      composeCommand('leet', { image, profiles: ['none'] }, kind, './a.out', 'S').join(' ')
    const both = '--store S --profile none --file a:/b'
    expect(of('linux')).toBe(`leet image compose --guest linux ${both} --kernel K --modules M ./a.out`)
    expect(of('osv')).toBe(`leet image compose --guest osv ${both} --osv-base B --no-osv-compat ./a.out`)
  })

  it('have the variables of profiles where leet-mpirun does not give them itself', () => {
    const of = commands('-x A=b ./a.out', 'openmpi', ['TABLES=/t'])
    expect(of('linux')).not.toContain('TABLES')
    expect(of('host')).toBe('leet-mpirun --guest host --timings --events E -x TABLES=/t -x A=b -n 2 ./a.out')
    expect(of('mpirun')).toContain('-x TABLES=/t -x A=b')
  })

  it.each([
    ['--kinds windows ./a.out', '--kinds'],
    ['--kinds host,host ./a.out', '--kinds'],
    ['--guest osv ./a.out', '--guest'],
    ['--events file ./a.out', '--events'],
    ['-r 0 ./a.out', '-r'],
    ['--seed 4294967296 ./a.out', '--seed'],
    ['--sizes 1:2:3 ./a.out', '--sizes'],
    ['--no-micro', 'leet bench'],
    ['--case .', '--case'],
    ['--case . -wdir / ./a.out', '--wdir'],
    ['-n 1 ./a : -n 1 ./b', 'leet bench'],
  ])('are refused when they are %s', (line, where) => {
    expect(() => read(line)).toThrow(
      expect.objectContaining({ exitCode: 2, details: expect.objectContaining({ where }) }),
    )
  })
})

describe('message sizes', () => {
  it('are powers of two from the first to the last, or a list', () => {
    expect(parseSizes('1:64', '--sizes')).toEqual([1, 2, 4, 8, 16, 32, 64])
    expect(parseSizes('64K,8,1M,8', '--sizes')).toEqual([8, 65536, 1048576])
  })
})

describe('the lines of the small MPI program', () => {
  const lines = ['leet-bench begin 2', 'leet-bench latency 8 1.5e-06', 'noise', 'leet-bench bandwidth 8 2e9']

  it('are figures when it came to its end', () => {
    expect(parseMicro([...lines, 'leet-bench end', ''].join('\n'))).toEqual([
      { metric: 'latency', size: 8, value: 1.5e-6 },
      { metric: 'bandwidth', size: 8, value: 2e9 },
    ])
    expect(parseMicro(lines.join('\n'))).toBeUndefined()
    expect(lines.map(saysBegin)).toEqual([true, false, false, false])
  })

  it('may be anything', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...lines, 'leet-bench end'), fc.string())), (said) => {
        const found = parseMicro(said.join('\n')) ?? []
        expect(found.every(({ value }) => Number.isFinite(value))).toBe(true)
      }),
    )
  })
})

describe('the tables of OSU’s benchmarks', () => {
  it('are read in seconds and bytes per second', () => {
    const latency =
      '# OSU MPI Latency Test v7.3\n# Size          Latency (us)\n0                       0.21\n8                       1.50\n'
    expect(parseOsu('latency', latency)).toEqual([{ metric: 'latency', size: 8, value: 1.5e-6 }])
    const bandwidth = '# OSU MPI Bandwidth Test v7.3\n# Size      Bandwidth (MB/s)\n1024     2000.00\n'
    expect(parseOsu('bandwidth', bandwidth)).toEqual([{ metric: 'bandwidth', size: 1024, value: 2e9 }])
    const allreduce =
      '# OSU MPI Allreduce Latency Test v7.3\n# Size  Avg Latency(us)  Min Latency(us)\n4   3.00   1.00\n'
    expect(parseOsu('allreduce', allreduce)).toEqual([{ metric: 'allreduce', size: 4, value: 3e-6 }])
    expect(parseOsu('latency', 'Segmentation fault\n')).toBeUndefined()
  })
})

describe('figures as people read them', () => {
  it.each([
    [0.0001234, 'seconds', '123 µs'],
    [0.9999, 'seconds', '1.00 s'],
    [12.345, 'seconds', '12.3 s'],
    [2.1e9, 'bytes per second', '2.10 GB/s'],
    [480_000_000, 'bytes', '457.8 MiB'],
  ] as const)('%d %s', (value, unit, text) => {
    expect(formatValue(value, unit)).toBe(text)
  })

  it('keep three digits', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.01, max: 999, noNaN: true }), (value) => {
        expect(Math.abs(Number(digits(value)) / value - 1)).toBeLessThan(0.006)
      }),
    )
  })
})

describe('words', () => {
  const within = (needed: number) => [
    { ratio: 1, interval: [0.5, 2] as const, p: 0.5, verdict: 'noise' as const, needed },
  ]

  it('tell the first of many, and no number of rounds that nobody waits for', () => {
    expect(someOf(['a', 'b', 'c', 'd', 'e'])).toBe('a, b, c, d and e')
    expect(someOf([...'abcdef'])).toBe('a, b, c, d and 2 more')
    expect(neededText(within(40))).toContain('about 40 rounds')
    expect(neededText(within(24_620_392))).toContain('more than 1000 rounds')
  })
})

describe('a launcher', () => {
  it('is known by what it says itself, and LEET’s own is none', () => {
    expect(flavourOfVersion('mpirun (Open MPI) 4.1.4\n')).toBe('openmpi')
    expect(flavourOfVersion('HYDRA build details:\n    Version: 4.0.2\n')).toBe('mpich')
    expect(flavourOfVersion('leet-mpirun 0.1.0\n')).toBeUndefined()
    expect(flavourOfVersion('mpirun (LEET) 0.1.0\n\nTakes the options of mpirun (Open MPI)')).toBeUndefined()
  })
})
