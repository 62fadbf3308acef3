// Real MPICH programs wired up by the PMI-1 service: Debian's MPICH is 4.0 with UCX, which needs its rescue in
// MPI_Finalize when guests do not share memory (facts in mpi-bridge/pmi1/README.md).
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createExchangeNet } from '../simulators/exchange-net.ts'
import { describeWith } from '../support/needs.ts'
import { type LocalJob, linesOf, runLocalJob } from './local-job.ts'
import { buildPrograms, type ProgramName, type Programs } from './programs/build.ts'

/** Ranks 0 … size-1 in guests of `each`. */
function guestsOf(size: number, each: number): number[][] {
  return Array.from({ length: Math.ceil(size / each) }, (_, guest) =>
    Array.from({ length: Math.min(each, size - guest * each) }, (_, nth) => guest * each + nth),
  )
}

/** hwloc's gl plugin connects to X11 ports of the machine. */
const ENV = { HWLOC_COMPONENTS: '-gl,-opencl' }
/** Pretended guests share this machine: UCX would find that out and use shared memory. */
const APART = { UCX_TLS: 'tcp,self', UCX_NET_DEVICES: 'lo' }
const RESCUE = { finalizeRescue: { graceMs: 1000 } }

describeWith(['mpicc.mpich'], 'MPICH over PMI-1', () => {
  let programs: Programs
  beforeAll(async () => {
    programs = await buildPrograms('mpicc.mpich', ['hello', 'work', 'neighbours', 'end', 'names'])
  })
  afterAll(() => programs?.remove())

  const run = (program: ProgramName, args: string[], job: Omit<LocalJob, 'argv' | 'env'>) =>
    runLocalJob({
      argv: [programs.path(program), ...args],
      env: job.guests.length > 1 ? { ...ENV, ...APART } : ENV,
      ...RESCUE,
      ...job,
    })

  it.each([1, 2, 5, 16])('says hello with %i ranks, each in its guest', async (size) => {
    const end = await run('hello', [], { guests: guestsOf(size, 1), universeSize: 32 })
    const sum = (size * (size - 1)) / 2
    expect(linesOf(end)).toEqual(
      Array.from(
        { length: size },
        (_, rank) => `rank ${rank} of ${size} sum ${sum} appnum 0 universe 32`,
      ).sort(),
    )
    expect(end.ranks.map((rank) => rank.status)).toEqual(Array(size).fill(0))
    for (const kind of ['connected', 'initialised', 'finalised']) {
      const ranks = end.reports.flatMap((report) => (report.kind === kind ? [report.rank] : []))
      expect(ranks.sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, rank) => rank))
    }
    expect(end.reports.filter(({ kind }) => kind === 'lost' || kind === 'aborted')).toEqual([])
  })

  it.each([
    ['one guest', guestsOf(4, 4)],
    ['two guests', guestsOf(4, 2)],
    ['four guests', guestsOf(4, 1)],
    ['an irregular layout', [[0, 3, 4], [1], [2, 5]]],
  ])('does the work in %s', async (_, guests) => {
    const end = await run('work', [], { guests })
    expect(end.ranks.map(({ stdout, stderr, status }) => ({ stdout, stderr, status }))).toEqual(
      guests.flat().map(() => ({ stdout: 'work ok\n', stderr: '', status: 0 })),
    )
  })

  it.each([
    [guestsOf(4, 4), [0, 0, 0, 0]],
    [guestsOf(4, 1), [0, 1, 2, 3]],
    [guestsOf(4, 2), [0, 0, 2, 2]],
    [
      [
        [0, 2],
        [1, 3],
      ],
      [0, 1, 0, 1],
    ],
    [
      [[0, 1, 2], [3]],
      [0, 0, 0, 3],
    ],
    [
      [[0], [1], [2, 3]],
      [0, 1, 2, 2],
    ],
  ])('shares memory within guests only: %j', async (guests, roots) => {
    const end = await run('neighbours', [], { guests })
    expect(linesOf(end)).toEqual(roots.map((root, rank) => `rank ${rank} with ${root}`))
  })

  it('works over several nodes', async () => {
    const end = await run('work', [], {
      guests: [[0, 1], [2], [3, 4], [5]],
      exchanges: (report) => createExchangeNet(3, report),
    })
    expect(end.ranks.map(({ stdout, stderr, status }) => ({ stdout, stderr, status }))).toEqual(
      Array(6).fill({ stdout: 'work ok\n', stderr: '', status: 0 }),
    )
  })

  it('reports MPI_Abort with its status', async () => {
    const end = await run('end', ['abort', '1', '42'], { guests: guestsOf(3, 1) })
    expect(end.reports).toContainEqual(expect.objectContaining({ kind: 'aborted', rank: 1, status: 42 }))
    expect(end.ranks.map((rank) => rank.status ?? rank.signal)).not.toContain(0)
  })

  it('leaves an exit status after MPI_Finalize to the rank', async () => {
    const end = await run('end', ['exit', '1', '3'], { guests: guestsOf(2, 2) })
    expect(end.ranks.map((rank) => rank.status)).toEqual([0, 3])
    expect(end.reports.filter(({ kind }) => kind === 'lost')).toEqual([])
  })

  it.each([
    ['leaves without MPI_Finalize', 'leave', { status: 5, signal: null }],
    ['crashes', 'crash', { status: null, signal: 'SIGSEGV' }],
  ])('reports a rank lost that %s', async (_, way, how) => {
    const end = await run('end', [way, '1', '5'], { guests: guestsOf(3, 1) })
    expect(end.ranks[1]).toMatchObject(how)
    const lost = end.reports.filter(({ kind }) => kind === 'lost')
    expect(lost[0]).toMatchObject({ rank: 1, why: expect.stringContaining('MPI_Finalize') })
  })

  it('publishes, finds and withdraws names', async () => {
    const end = await run('names', [], { guests: guestsOf(3, 1) })
    expect(linesOf(end)).toEqual(['found it missing 1 gone 1', 'twice refused 1'])
    expect(end.ranks.map((rank) => rank.status)).toEqual([0, 0, 0])
  })
})
