// The command line of leet bench: its own options and all of leet-mpirun's, then a program. Pure.
import { parseCount, parseSize, usageError } from '../../common/index.ts'
import { type OptionSpec, type OptionWords, parseCommandWords } from '../../mpi-bridge/index.ts'
import { SET_BY_BENCH } from './commands.ts'
import { KIND_NAMES, type Kind } from './results.ts'

const BENCH = 'What to measure'

const option = (flags: string, takes: string, help: string): OptionSpec => ({
  key: `bench.${flags.split(' ')[0]}`,
  flags: flags.split(' '),
  takes: takes === '' ? [] : [takes],
  scope: 'job',
  group: BENCH,
  help,
})

/** Options of bench's own. */
export const BENCH_OPTIONS: readonly OptionSpec[] = [
  option('kinds', 'KIND,…', 'of linux, osv, host, mpirun (default: all that can be had here)'),
  option('baseline', 'KIND', 'what the others are compared with (default: host)'),
  option('r repetitions', 'N', 'rounds that count (default: 5)'),
  option('warmup', 'N', 'rounds before them that do not (default: 1)'),
  option('out', 'DIR', 'where reports go (default: leet-bench-DATE)'),
  option('sizes', 'SIZES', 'message sizes: FIRST:LAST in powers of two, or a list (default: 1:1M)'),
  option('micro-time', 'SECONDS', 'time for each message size of each test (default: 0.05)'),
  option('no-micro', '', 'only the program: no latency, bandwidth and allreduce'),
  option('no-osu', '', 'LEET’s own MPI benchmark, even if OSU’s is on PATH'),
  option(
    'prepare',
    'COMMAND',
    'a shell command before each run of the program, such as one that removes its results',
  ),
  option('mpicc', 'COMPILER', 'compiles the MPI benchmark (default: mpicc)'),
  option('mpirun', 'LAUNCHER', 'the stock launcher (default: the one that belongs to mpicc’s MPI)'),
]

/** What leet bench is to do. */
export interface BenchWishes {
  /** undefined: what can be had. */
  readonly kinds: readonly Kind[] | undefined
  readonly baseline: Kind | undefined
  readonly repetitions: number
  readonly warmup: number
  readonly out: string | undefined
  readonly sizes: readonly number[]
  /** Seconds. */
  readonly microTime: number
  readonly micro: boolean
  readonly osu: boolean
  readonly prepare: string | undefined
  readonly mpicc: string
  readonly mpirun: string | undefined
  readonly ranks: number
  /** leet-mpirun's options, to be passed on. */
  readonly options: OptionWords
  /** The program with its arguments; empty when only MPI is measured. */
  readonly program: readonly string[]
  readonly help: boolean
}

/** Reads the words behind `leet bench`; `table` is leet-mpirun's. A refusal is a usage error. */
export function readBenchWords(table: readonly OptionSpec[], argv: readonly string[]): BenchWishes {
  const { options: job, programs } = parseCommandWords([...BENCH_OPTIONS, ...table], argv)
  if (programs.length > 1) throw usageError('measures one program', undefined, 'leet bench')
  const [program] = programs
  const options: OptionWords = new Map([...job, ...(program?.options ?? [])])
  for (const key of SET_BY_BENCH) {
    if (key !== 'ranks' && options.has(key))
      throw usageError(
        'is set by leet bench itself',
        key === 'guest.kind' ? '--kinds' : undefined,
        `--${key}`,
      )
  }
  const word = (flag: string) => options.get(`bench.${flag}`)?.at(-1)?.[0]
  const has = (flag: string) => options.has(`bench.${flag}`)
  const count = (flag: string, otherwise: number, least: number, most: number) =>
    word(flag) === undefined ? otherwise : parseCount(word(flag) as string, `--${flag}`, least, most)
  const baseline = word('baseline')
  const ranks = options.get('ranks')?.at(-1)?.[0]
  const wishes: BenchWishes = {
    kinds: word('kinds')
      ?.split(',')
      .map((text) => kindOf(text, '--kinds')),
    baseline: baseline === undefined ? undefined : kindOf(baseline, '--baseline'),
    repetitions: count('r', 5, 1, 100),
    warmup: count('warmup', 1, 0, 100),
    out: word('out'),
    sizes: parseSizes(word('sizes') ?? '1:1M'),
    microTime: parseSeconds(word('micro-time') ?? '0.05'),
    micro: !has('no-micro'),
    osu: !has('no-osu'),
    prepare: word('prepare'),
    mpicc: word('mpicc') ?? 'mpicc',
    mpirun: word('mpirun'),
    ranks: ranks === undefined ? 2 : parseCount(ranks, '-n'),
    options: new Map([...options].filter(([key]) => !key.startsWith('bench.'))),
    program: program?.argv ?? [],
    help: options.has('help'),
  }
  if (new Set(wishes.kinds).size !== (wishes.kinds?.length ?? 0))
    throw usageError('names a kind twice', undefined, '--kinds')
  if (!wishes.help && !wishes.micro && wishes.program.length === 0)
    throw usageError('no program to run, and no MPI benchmark', 'leet bench -n 2 PROGRAM ARGS…', 'leet bench')
  return wishes
}

function kindOf(text: string, where: string): Kind {
  if (Object.hasOwn(KIND_NAMES, text)) return text as Kind
  throw usageError(`"${text}" is no kind`, Object.keys(KIND_NAMES).join(', '), where)
}

/** As many as micro.c takes. */
const MOST_SIZES = 64
/** MPI counts elements in an int. */
const LARGEST = 2 ** 30

/** Message sizes of `FIRST:LAST` (powers of two) or of a list, ascending. */
export function parseSizes(text: string): number[] {
  const refuse = () => usageError(`"${text}" names no message sizes`, 'such as 1:1M or 8,1K,64K', '--sizes')
  const [first, last, more] = text.split(':')
  if (more !== undefined || first === undefined) throw refuse()
  const size = (word: string) => parseSize(word, '--sizes')
  const sizes: number[] = []
  if (last === undefined) sizes.push(...first.split(',').map(size))
  else for (let at = size(first); at <= size(last); at *= 2) sizes.push(at)
  const ascending = [...new Set(sizes)].sort((a, b) => a - b)
  if (ascending.length === 0 || ascending.length > MOST_SIZES || (ascending.at(-1) as number) > LARGEST)
    throw refuse()
  return ascending
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (seconds > 0 && seconds <= 60) return seconds
  throw usageError(`"${text}" is not a time up to 60 s`, 'seconds, such as 0.05', '--micro-time')
}
