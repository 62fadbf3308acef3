// The command line of leet bench: its own options and all of leet-mpirun's, then a program. Pure.
import { parseCount, parseSize, usageError } from '../../common/index.ts'
import { dashed, type OptionSpec, type OptionWords, parseCommandWords } from '../../mpi-bridge/index.ts'
import { nonEmpty, optionReader, rowsOf } from '../config/row.ts'
import { GUESTS } from '../options/guests.ts'
import { OUTPUT } from '../options/output.ts'
import { PROGRAM } from '../options/program.ts'
import { RANKS } from '../options/ranks.ts'
import { SET_BY_BENCH } from './commands.ts'
import { KIND_NAMES, type Kind } from './results.ts'

const { flag, value, wish } = rowsOf('What to measure')

/** Seeds have 32 bits. */
export const MOST_SEED = 2 ** 32 - 1

const BENCH = {
  kinds: wish({
    key: 'bench.kinds',
    flags: 'kinds guests-of',
    takes: 'KIND,…',
    help: `of ${Object.keys(KIND_NAMES).join(', ')}`,
    default: { found: 'all that can be had here' },
    parse: (text, where) => text.split(',').map((word) => kindOf(word, where)),
  }),
  baseline: wish({
    key: 'bench.baseline',
    flags: 'baseline',
    takes: 'KIND',
    help: 'what the others are compared with',
    default: { found: 'host' },
    parse: kindOf,
  }),
  repetitions: value({
    key: 'bench.repetitions',
    flags: 'r repetitions repeat',
    takes: 'N',
    help: 'rounds that count',
    default: { word: '5' },
    parse: (text, where) => parseCount(text, where, 1, 100),
  }),
  warmup: value({
    key: 'bench.warmup',
    flags: 'warmup',
    takes: 'N',
    help: 'rounds before them that do not',
    default: { word: '1' },
    parse: (text, where) => parseCount(text, where, 0, 100),
  }),
  seed: wish({
    key: 'bench.seed',
    flags: 'seed',
    takes: 'N',
    help: 'for the order of the kinds; the results tell the one that was drawn',
    default: { found: 'drawn at random' },
    parse: (text, where) => parseCount(text, where, 0, MOST_SEED),
  }),
  out: wish({
    key: 'bench.out',
    flags: 'out',
    takes: 'DIR',
    help: 'where reports go',
    default: { found: 'leet-bench-DATE' },
    parse: nonEmpty,
  }),
  resume: wish({
    key: 'bench.resume',
    flags: 'resume',
    takes: 'DIR',
    help: 'go on with the bench of this directory, which was interrupted',
    parse: nonEmpty,
  }),
  schema: flag({
    key: 'bench.schema',
    flags: 'schema',
    help: 'print the JSON schema of results.json, and measure nothing',
  }),
  sizes: value({
    key: 'bench.sizes',
    flags: 'sizes',
    takes: 'SIZES',
    help: 'message sizes: FIRST:LAST in powers of two, or a list',
    default: { word: '1:1M' },
    parse: parseSizes,
  }),
  microTime: value({
    key: 'bench.micro-time',
    flags: 'micro-time',
    takes: 'SECONDS',
    help: 'time for each message size of each test',
    default: { word: '0.05' },
    parse: parseSeconds,
  }),
  noMicro: flag({
    key: 'bench.no-micro',
    flags: 'no-micro',
    help: 'only the program: no latency, bandwidth and allreduce',
  }),
  noOsu: flag({
    key: 'bench.no-osu',
    flags: 'no-osu',
    help: 'LEET’s own MPI benchmark, even if OSU’s is on PATH',
  }),
  case: wish({
    key: 'bench.case',
    flags: 'case',
    takes: 'DIR',
    help: 'run the program in a fresh copy of this directory each time, and compare what it writes',
    parse: nonEmpty,
  }),
  prepare: wish({
    key: 'bench.prepare',
    flags: 'prepare',
    takes: 'COMMAND',
    help: 'a shell command before each run of the program, such as one that removes its results',
    parse: nonEmpty,
  }),
  mpicc: wish({
    key: 'bench.mpicc',
    flags: 'mpicc',
    takes: 'COMPILER',
    help: 'compiles the MPI benchmark: only its MPI is measured',
    default: { found: 'that of the program’s MPI; without a program those of all MPIs' },
    parse: nonEmpty,
  }),
  mpirun: wish({
    key: 'bench.mpirun',
    flags: 'mpirun mpiexec',
    takes: 'LAUNCHER',
    help: 'the stock launcher',
    default: { found: 'the one that belongs to each MPI' },
    parse: nonEmpty,
  }),
}

/** Options of bench's own. */
export const BENCH_OPTIONS: readonly OptionSpec[] = Object.values(BENCH)

/** What leet bench is to do. */
export interface BenchWishes {
  /** undefined: what can be had. */
  readonly kinds: readonly Kind[] | undefined
  readonly baseline: Kind | undefined
  readonly repetitions: number
  readonly warmup: number
  /** undefined: any. */
  readonly seed: number | undefined
  readonly out: string | undefined
  /** Directory of a bench that goes on: all else is read from there. */
  readonly resume: string | undefined
  readonly schema: boolean
  readonly sizes: readonly number[]
  /** Seconds. */
  readonly microTime: number
  readonly micro: boolean
  readonly osu: boolean
  readonly case: string | undefined
  readonly prepare: string | undefined
  /** undefined: that of the program's MPI, or of each MPI. */
  readonly mpicc: string | undefined
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
  for (const option of SET_BY_BENCH) {
    if (option !== PROGRAM.ranks && options.has(option.key))
      throw usageError(
        'is set by leet bench itself',
        option === GUESTS.kind ? '--kinds' : undefined,
        dashed(option),
      )
  }
  const own = optionReader({ flags: options, environment: {}, files: [] })
  const ofBench = new Set(BENCH_OPTIONS.map(({ key }) => key))
  const wishes: BenchWishes = {
    kinds: own.get(BENCH.kinds),
    baseline: own.get(BENCH.baseline),
    repetitions: own.get(BENCH.repetitions),
    warmup: own.get(BENCH.warmup),
    seed: own.get(BENCH.seed),
    out: own.get(BENCH.out),
    resume: own.get(BENCH.resume),
    schema: own.get(BENCH.schema),
    sizes: own.get(BENCH.sizes),
    microTime: own.get(BENCH.microTime),
    micro: !own.get(BENCH.noMicro),
    osu: !own.get(BENCH.noOsu),
    case: own.get(BENCH.case),
    prepare: own.get(BENCH.prepare),
    mpicc: own.get(BENCH.mpicc),
    mpirun: own.get(BENCH.mpirun),
    ranks: own.get(PROGRAM.ranks) ?? 2,
    options: new Map([...options].filter(([key]) => !ofBench.has(key))),
    program: program?.argv ?? [],
    help: own.get(OUTPUT.help),
  }
  if (wishes.case !== undefined && wishes.program.length === 0)
    throw usageError('is for a program', 'leet bench --case DIR PROGRAM ARGS…', dashed(BENCH.case))
  if (wishes.case !== undefined && options.has(RANKS.workDir.key))
    throw usageError('is set by --case', undefined, dashed(RANKS.workDir))
  if (wishes.resume !== undefined && (options.size > 1 || wishes.program.length > 0))
    throw usageError('reads all else from there', 'nothing beside it', dashed(BENCH.resume))
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
export function parseSizes(text: string, where: string): number[] {
  const refuse = () => usageError(`"${text}" names no message sizes`, 'such as 1:1M or 8,1K,64K', where)
  const [first, last, more] = text.split(':')
  if (more !== undefined || first === undefined) throw refuse()
  const size = (word: string) => parseSize(word, where)
  const sizes: number[] = []
  if (last === undefined) sizes.push(...first.split(',').map(size))
  else for (let at = size(first); at <= size(last); at *= 2) sizes.push(at)
  const ascending = [...new Set(sizes)].sort((a, b) => a - b)
  if (ascending.length === 0 || ascending.length > MOST_SIZES || (ascending.at(-1) as number) > LARGEST)
    throw refuse()
  return ascending
}

function parseSeconds(text: string, where: string): number {
  const seconds = Number(text)
  if (seconds > 0 && seconds <= 60) return seconds
  throw usageError(`"${text}" is not a time up to 60 s`, 'seconds, such as 0.05', where)
}
