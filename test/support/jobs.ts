// What every kind of guest must do with a job, as one list of tests: run for the bare host, for Linux guests, and
// whatever comes later.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type CommandOutcome, leetMpirun, type Playground } from './leet.ts'

/** Programs that `testJobs` runs. */
export const JOB_PROGRAMS = ['suite', 'neighbours', 'end', 'hello'] as const

/** How the tests of `testJobs` run. */
export interface JobTests {
  readonly place: () => Playground
  /** Options that choose the guests for several ranks, and for one rank. */
  readonly options: readonly string[]
  readonly oneGuest: readonly string[]
  /** Compiled programs by name, for one MPI. */
  readonly program: (name: (typeof JOB_PROGRAMS)[number]) => string
  readonly mpi: 'openmpi' | 'mpich'
  /** How many guests four ranks live in, as MPI_Comm_split_type sees it. */
  readonly guests: number
  /** What is left of jobs that are over; of all LEET in the playground unless told. */
  readonly files?: () => readonly string[]
  /** Ways of a rank to go that only `npm run test:long` tries. */
  readonly longWays?: readonly string[]
}

/** Declares the tests for four ranks of one MPI. */
export function testJobs({
  place,
  options,
  oneGuest,
  program,
  mpi,
  guests,
  files = () => place().files(),
  longWays = [],
}: JobTests): void {
  const run = (argv: readonly string[], input?: string, chosen = options): Promise<CommandOutcome> =>
    leetMpirun([...chosen, ...argv], {
      cwd: place().directory,
      env: place().env,
      ...(input === undefined ? {} : { input }),
    })
  const lines = (text: string) => text.split('\n').filter(Boolean).sort()

  it('passes the suite of MPI programs', async () => {
    const { status, stdout, stderr } = await run(['-n', '4', program('suite')])
    const parts = ['pt2pt', 'collectives', 'groups', 'topologies', 'windows', 'attributes']
    const ranks = [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 shares memory with ${4 / guests}`)
    expect({ status, lines: lines(stdout), stderr }).toMatchObject({
      status: 0,
      lines: [...parts.map((part) => `${part} ok`), ...ranks].sort(),
    })
  })

  it('tells ranks of one guest from those of another', async () => {
    const { stdout } = await run(['-n', '4', program('neighbours')])
    const expected = [0, 1, 2, 3].map((rank) => `rank ${rank} with ${guests === 1 ? 0 : rank - (rank % 2)}`)
    expect(lines(stdout)).toEqual(expected)
  })

  for (const [way, who, argument, status] of [
    ['abort', '1', '42', 42],
    ['exit', '2', '3', 3],
    ['leave', '1', '5', 5],
    ['crash', '3', '0', 139],
  ] as const) {
    const tags = longWays.includes(way) ? ['long'] : []
    it(`ends a job in which a rank goes by ${way} as mpirun does`, { tags }, async () => {
      const outcome = await run(['-n', '4', program('end'), way, who, argument])
      expect(outcome, outcome.stderr).toMatchObject({ status })
      expect(outcome.stderr).toMatch(/rank/)
      expect(files()).toEqual([])
    })
  }

  it('reads and writes files of the working directory, as the same user', async () => {
    writeFileSync(join(place().directory, 'input'), 'from the node')
    const script = 'cat input && echo from the guest > output && id -u'
    const { status, stdout } = await run(['-n', '1', 'sh', '-c', script], undefined, oneGuest)
    expect({ status, stdout }).toEqual({ status: 0, stdout: `from the node${process.getuid?.()}\n` })
    expect(readFileSync(join(place().directory, 'output'), 'utf8')).toBe('from the guest\n')
  })

  it('gives standard input to rank 0, and keeps stdout and stderr apart', async () => {
    const { stdout, stderr, status } = await run(['-n', '2', 'sh', '-c', 'cat; echo oops >&2'], 'typed\n')
    expect({ stdout, status }).toEqual({ stdout: 'typed\n', status: 0 })
    expect(stderr.match(/oops/g)).toHaveLength(2)
  })

  it('runs programs without MPI as often as asked', async () => {
    const { stdout } = await run(['-n', '4', 'sh', '-c', 'echo here'])
    expect(stdout).toBe('here\n'.repeat(4))
  })

  it('gives variables of -x, and leaves the denied ones out', async () => {
    const script = 'echo "$A" "$SSH_AUTH_SOCK" "$SLURM_JOB_ID" "$PWD"'
    const { stdout } = await run(['-n', '1', '-x', 'A=b c', 'sh', '-c', script], undefined, oneGuest)
    expect(stdout).toBe(`b c   ${place().directory}\n`)
  })

  it('tags lines with their rank', async () => {
    const { stdout } = await run(['-n', '2', '--tag-output', program('neighbours')])
    // UCX has warnings of its own for stdout when peers leave; they are tagged too.
    const own = lines(stdout).filter((line) => line.includes(' with '))
    expect(
      own.map((line) => line.slice(0, 14)),
      stdout,
    ).toEqual(['[1,0]<stdout>:', '[1,1]<stdout>:'])
  })

  it(`knows ${mpi} by its libraries`, async () => {
    const { stdout } = await run(['-n', '2', '--dry-run', program('hello')])
    expect(JSON.parse(stdout).programs[0].mpi).toBe(mpi)
  })
}
