import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planImages, planRuns } from '../../../launcher/bench/plan.ts'
import { canRun, type Kind, type Mpi } from '../../../launcher/bench/results.ts'

const all: readonly Kind[] = ['linux', 'osv', 'host', 'mpirun', 'mpiexec']
const orders = fc.record({
  kinds: fc.subarray([...all], { minLength: 1 }),
  programs: fc.subarray(
    [
      { workload: 'micro', mpi: 'openmpi' },
      { workload: 'micro', mpi: 'mpich' },
      { workload: 'program' },
    ] as const,
    { minLength: 1 },
  ),
  repetitions: fc.integer({ min: 1, max: 12 }),
  warmup: fc.integer({ min: 0, max: 3 }),
  seed: fc.nat(),
})

describe('the order of runs', () => {
  it('has every kind once with every program that it can run in each round', () => {
    fc.assert(
      fc.property(orders, (order) => {
        const rounds = Map.groupBy(planRuns(order), ({ round }) => round)
        const pair = (kind: Kind, { workload, mpi }: { readonly workload: string; readonly mpi?: Mpi }) =>
          `${kind} ${workload} ${mpi}`
        const wanted = order.kinds.flatMap((kind) =>
          order.programs
            .filter((program) => canRun(kind, 'mpi' in program ? program.mpi : undefined))
            .map((program) => pair(kind, program)),
        )
        const numbers = Array.from(
          { length: order.warmup + order.repetitions },
          (_, index) => index + 1 - order.warmup,
        )
        expect([...rounds.keys()]).toEqual(wanted.length > 0 ? numbers : [])
        for (const runs of rounds.values())
          expect(runs.map((run) => pair(run.kind, run)).sort()).toEqual(wanted.toSorted())
      }),
    )
  })

  it('gives each kind each place equally often over twice as many rounds as kinds', () => {
    const kinds = all.slice(0, 3)
    const runs = planRuns({ kinds, programs: [{ workload: 'program' }], repetitions: 6, warmup: 0, seed: 7 })
    const places = runs.map(({ kind }, index) => `${kind} ${index % 3}`)
    for (const kind of kinds)
      for (const place of [0, 1, 2])
        expect(places.filter((each) => each === `${kind} ${place}`)).toHaveLength(2)
    const neighbours = runs
      .slice(1)
      .filter(({ kind }, index) => kind === 'osv' && runs[index]?.kind === 'linux')
    expect(neighbours.length).toBeLessThan(6)
  })

  const drawn = (seed: number) =>
    planRuns({ kinds: ['linux', 'host'], programs: [{ workload: 'micro' }], repetitions: 8, warmup: 0, seed })
      .map(({ kind }) => kind[0])
      .join('')

  it('mirrors the order of two, whichever is drawn to be the first of a block', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        expect(drawn(seed)).toMatch(/^(lhhlhllh|hllhlhhl){2}$/)
      }),
    )
    const orders = Array.from({ length: 100 }, (_, seed) => drawn(seed))
    const counts = [...Map.groupBy(orders, (order) => order).values()].map((same) => same.length)
    expect(counts).toHaveLength(4)
    expect(Math.min(...counts)).toBeGreaterThan(10)
  })

  it('is the same with the same seed', () => {
    fc.assert(
      fc.property(orders, (order) => {
        expect(planRuns(order)).toEqual(planRuns(order))
      }),
    )
  })

  it('has each stock launcher with its own MPI only', () => {
    const programs = (['openmpi', 'mpich'] as const).map((mpi) => ({ workload: 'micro' as const, mpi }))
    const runs = planRuns({ kinds: all, programs, repetitions: 1, warmup: 0, seed: 1 })
    const stock = runs.filter(({ kind }) => kind === 'mpirun' || kind === 'mpiexec')
    expect(stock.map(({ kind, mpi }) => `${kind} ${mpi}`)).toEqual(['mpirun openmpi', 'mpiexec mpich'])
    expect(planImages(all, ['openmpi', 'mpich']).map(({ kind, mpi }) => `${kind} ${mpi}`)).toEqual([
      'linux openmpi',
      'osv openmpi',
      'linux mpich',
      'osv mpich',
    ])
  })
})
