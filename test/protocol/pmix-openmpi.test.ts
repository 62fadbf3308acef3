// Real Open MPI programs wired up by the PMIx service: from one rank to thirty-two, in one guest and in several, at
// one agent and at several, and the ways in which jobs end.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/needs.ts'
import { type PmixJob, runPmixJob } from './pmix-job.ts'
import { buildPmixPrograms, type PmixPrograms } from './programs/pmix-build.ts'

const PROGRAMS = ['hello', 'work', 'neighbours', 'end', 'names', 'pmix-windows', 'pmix-spawn', 'pmix-ports']

const ENV = {
  OMPI_MCA_pml: 'ob1',
  OMPI_MCA_btl_tcp_if_include: 'lo',
  // Debian's settings leave windows without a component that works over TCP.
  OMPI_MCA_osc: '^ucx',
  // More ranks than processors: wait without spinning, as under mpirun --oversubscribe.
  OMPI_MCA_mpi_oversubscribe: '1',
  HWLOC_COMPONENTS: '-gl,-opencl,-pci,-linuxio',
}
/** Pretended guests share this machine: equal local ranks would take each other's shared memory files. */
const APART = { OMPI_MCA_btl: 'tcp,self' }

/** Ranks 0 … size-1 in guests of `each`. */
function guestsOf(size: number, each: number): number[][] {
  return Array.from({ length: Math.ceil(size / each) }, (_, guest) =>
    Array.from({ length: Math.min(each, size - guest * each) }, (_, nth) => guest * each + nth),
  )
}

describeWith(['mpicc.openmpi'], 'Open MPI over PMIx', () => {
  let programs: PmixPrograms
  beforeAll(async () => {
    programs = await buildPmixPrograms(PROGRAMS)
  })
  afterAll(() => programs?.remove())

  const run = (program: string, args: string[], job: Omit<PmixJob, 'argv' | 'env'>) =>
    runPmixJob({
      argv: [programs.path(program), ...args],
      env: { ...ENV, ...(job.guests.length > 1 ? APART : {}) },
      ...job,
    })

  it.each([
    [1, 1, 1],
    [2, 2, 1],
    [3, 1, 1],
    [8, 4, 2],
    [16, 16, 1],
    [32, 8, 3],
  ])('says hello with %i ranks, %i a guest, %i agents', async (size, each, agents) => {
    const end = await run('hello', [], { guests: guestsOf(size, each), agents })
    const sum = (size * (size - 1)) / 2
    expect(end.lines).toEqual(
      Array.from(
        { length: size },
        (_, rank) => `rank ${rank} of ${size} sum ${sum} appnum 0 universe ${size}`,
      ).sort(),
    )
    expect(end.statuses).toEqual(Array(size).fill(0))
    for (const kind of ['connected', 'initialised', 'finalised']) {
      const ranks = end.reports.flatMap((report) => (report.kind === kind ? [report.rank] : []))
      expect(ranks.sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, rank) => rank))
    }
    expect(end.reports).toHaveLength(3 * size)
  })

  it.each<[string, Omit<PmixJob, 'argv' | 'env'>]>([
    ['one guest', { guests: guestsOf(4, 4) }],
    ['two guests', { guests: guestsOf(4, 2) }],
    ['four guests at two agents', { guests: guestsOf(4, 1), agents: 2 }],
    ['an irregular layout', { guests: [[0, 3, 4], [1], [2, 5]], agents: 2 }],
  ])('does the work in %s', async (_, job) => {
    const size = job.guests.flat().length
    const work = await run('work', [], job)
    expect(work).toMatchObject({
      lines: Array(size).fill('work ok'),
      statuses: Array(size).fill(0),
      stderr: '',
    })
    const windows = await run('pmix-windows', [], job)
    expect(windows).toMatchObject({ lines: Array(size).fill('windows ok'), stderr: '' })
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
  ])('shares memory within guests only: %j', async (guests, roots) => {
    const end = await run('neighbours', [], { guests })
    expect(end.lines).toEqual(roots.map((root, rank) => `rank ${rank} with ${root}`))
  })

  it.each<[string, Omit<PmixJob, 'argv' | 'env'>]>([
    ['two guests', { guests: guestsOf(2, 1) }],
    ['one guest', { guests: guestsOf(2, 2) }],
    ['four guests at three agents', { guests: guestsOf(4, 1), agents: 3 }],
  ])('spawns in %s', async (_, job) => {
    const parents = job.guests.flat().length
    const end = await run('pmix-spawn', [], job)
    const sum = parents + 3
    const child = (rank: number, command: number) =>
      `child ${rank} of 3 command ${command} app ${command} text a b sum ${sum}`
    expect(end).toMatchObject({
      statuses: Array(sum).fill(0),
      lines: [
        child(0, 0),
        child(1, 0),
        child(2, 1),
        ...Array.from(
          { length: parents },
          (_, rank) => `parent ${rank} of ${parents} sum ${sum} codes 0 0 0`,
        ),
      ],
      stderr: '',
    })
  })

  it.each([1, 2])('opens ports and finds them by name at %i agents', async (agents) => {
    const end = await run('pmix-ports', [], { guests: guestsOf(4, 1), agents })
    expect(end).toMatchObject({
      lines: [0, 1, 2, 3].map((rank) => `rank ${rank} remote 2 sum 4`),
      statuses: [0, 0, 0, 0],
      stderr: '',
    })
  })

  it('publishes, finds and withdraws names', async () => {
    const end = await run('names', [], { guests: guestsOf(3, 1), agents: 2 })
    expect(end).toMatchObject({
      lines: ['found it missing 1 gone 1', 'twice refused 1'],
      statuses: [0, 0, 0],
    })
  })

  it('reports MPI_Abort with its status', async () => {
    const end = await run('end', ['abort', '1', '42'], { guests: guestsOf(3, 1) })
    const first = end.reports.find(({ kind }) => kind === 'aborted' || kind === 'lost')
    expect(first).toMatchObject({ kind: 'aborted', rank: 1, status: 42 })
  })

  it('leaves an exit status after MPI_Finalize to the rank', async () => {
    const end = await run('end', ['exit', '1', '3'], { guests: guestsOf(2, 2) })
    expect(end.statuses).toEqual([0, 3])
    expect(end.reports.map(({ kind }) => kind)).not.toContain('lost')
  })

  it.each([
    ['leaves without MPI_Finalize', 'leave', 5],
    ['crashes', 'crash', 'SIGSEGV'],
  ])('reports a rank lost that %s', async (_, way, how) => {
    const end = await run('end', [way, '1', '5'], { guests: guestsOf(3, 1) })
    expect(end.statuses[1]).toBe(how)
    const first = end.reports.find(({ kind }) => kind === 'aborted' || kind === 'lost')
    expect(first).toMatchObject({ kind: 'lost', rank: 1 })
  })
})
