// MPICH's older device, ch3, which can spawn and open ports over PMI-1: for machines that have a compiler of that name.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createExchangeNet } from '../simulators/exchange-net.ts'
import { hasCommand } from '../support/needs.ts'
import { type LocalJob, linesOf, runLocalJob } from './local-job.ts'
import { buildPrograms, type ProgramName, type Programs } from './programs/build.ts'

const COMPILER = 'mpicc.mpich-ch3'
const here = hasCommand(COMPILER)
if (!here) console.warn(`skipped: MPICH ch3 over PMI-1 (needs ${COMPILER})`)

describe.skipIf(!here)('MPICH ch3 over PMI-1', () => {
  let programs: Programs
  beforeAll(async () => {
    programs = await buildPrograms(COMPILER, [
      'work',
      'neighbours',
      'end',
      'names',
      'pmix-spawn',
      'pmix-ports',
    ])
  })
  afterAll(() => programs?.remove())

  const run = (program: ProgramName, args: string[], job: Omit<LocalJob, 'argv' | 'env'>) =>
    runLocalJob({
      argv: [programs.path(program), ...args],
      env: { HWLOC_COMPONENTS: '-gl,-opencl', MPIR_CVAR_CH3_INTERFACE_HOSTNAME: '127.0.0.1' },
      ...job,
    })
  const alone = (size: number) => Array.from({ length: size }, (_, rank) => [rank])

  it.each([
    ['one guest', [[0, 1, 2, 3]], 1],
    ['four guests', alone(4), 1],
    ['four guests on two nodes', alone(4), 2],
    ['sixteen guests', alone(16), 1],
  ])('does the work in %s', async (_, guests, nodes) => {
    const exchanges: LocalJob['exchanges'] = (report) => createExchangeNet(nodes, report)
    const end = await run('work', [], nodes === 1 ? { guests } : { guests, exchanges })
    expect(end.ranks.map(({ stdout, stderr, status }) => ({ stdout, stderr, status }))).toEqual(
      guests.flat().map(() => ({ stdout: 'work ok\n', stderr: '', status: 0 })),
    )
  })

  it('shares memory within guests only', async () => {
    const end = await run('neighbours', [], { guests: [[0, 2], [1], [3]] })
    expect(linesOf(end)).toEqual(['rank 0 with 0', 'rank 1 with 1', 'rank 2 with 0', 'rank 3 with 3'])
  })

  it.each([1, 2])('spawns on %i nodes', async (nodes) => {
    const end = await run('pmix-spawn', [], {
      guests: alone(2),
      exchanges: (report) => createExchangeNet(nodes, report),
    })
    expect(linesOf(end)).toEqual(['parent 0 of 2 sum 5 codes 0 0 0', 'parent 1 of 2 sum 5 codes 0 0 0'])
    expect(end.spawned.map((ranks) => linesOf({ ranks }))).toEqual([
      [
        'child 0 of 3 command 0 app 0 text a b sum 5',
        'child 1 of 3 command 0 app 0 text a b sum 5',
        'child 2 of 3 command 1 app 1 text a b sum 5',
      ],
    ])
  })

  it('opens ports under names', async () => {
    const end = await run('pmix-ports', [], { guests: alone(4) })
    expect(linesOf(end)).toEqual([0, 1, 2, 3].map((rank) => `rank ${rank} remote 2 sum 4`))
  })

  it('reports aborts and losses', async () => {
    const aborted = await run('end', ['abort', '1', '42'], { guests: alone(3) })
    expect(aborted.reports).toContainEqual(expect.objectContaining({ kind: 'aborted', rank: 1, status: 42 }))
    const lost = await run('end', ['crash', '1', '0'], { guests: alone(3) })
    expect(lost.reports.filter(({ kind }) => kind === 'lost')[0]).toMatchObject({ rank: 1 })
  })

  it('publishes names', async () => {
    const end = await run('names', [], { guests: alone(3) })
    expect(linesOf(end)).toEqual(['found it missing 1 gone 1', 'twice refused 1'])
  })
})
