// Two benches side by side: what differs beyond noise, in both directions, and what makes a comparison doubtful.
import { describe, expect, it } from 'vitest'
import { compareBenches, comparisonJson } from '../../../launcher/bench/compare.ts'
import { SCALARS } from '../../../launcher/bench/figures.ts'
import { comparePage } from '../../../launcher/bench/report/compare-page.ts'
import { factorScale } from '../../../launcher/bench/report/scale.ts'
import type { Kind, Mpi, Results } from '../../../launcher/bench/results.ts'
import { compareSamples } from '../../../launcher/bench/statistics.ts'
import { comparisonLines } from '../../../launcher/bench/write-text.ts'
import { benchResults } from '../../support/bench-results.ts'

const kinds: readonly Kind[] = ['linux', 'host']
const before = benchResults({ kinds })
const after: Results = {
  ...benchResults({ kinds: ['linux', 'host', 'mpirun'], seconds: { linux: 1.5, host: 1.001 } }),
  environment: { ...before.environment, kernel: '6.12.0', cpus: 16 },
}
const compare = (a: Results, b: Results) =>
  compareBenches({ path: 'A', results: a }, { path: 'B', results: b })

describe('two benches', () => {
  const both = compare(before, after)

  it('are compared figure by figure, B with A', () => {
    const solver = both.figures.filter(({ name }) => name === 'solver')
    expect(solver.map(({ kind, comparison }) => [kind, comparison.verdict])).toEqual([
      ['linux', 'less'],
      ['host', 'noise'],
    ])
    for (const { a, b, comparison } of both.figures)
      expect(comparison).toEqual(compareSamples(b.values, a.values))
    expect(both.heads).toEqual(solver)
    expect(both.short.which).toBe(
      'solver is faster in B than in A in Linux guests; it does not differ beyond noise between A and B on the bare host.',
    )
    expect(both.short.howMuch).toMatch(
      /^B against A: in Linux guests it takes 25 % less time \(.* median 1\.50 s against 2\.00 s\); on the bare host no difference beyond noise/,
    )
  })

  it('turn round', () => {
    const back = compare(after, before)
    expect(back.short.which).toMatch(/^solver is slower in B than in A in Linux guests/)
    expect(back.figures).toHaveLength(both.figures.length)
  })

  it('are told with what differs around them, and what only one has', () => {
    expect(both.environment).toEqual([
      { name: 'number of processors', a: '8', b: '16' },
      { name: 'kernel', a: '6.1.0', b: '6.12.0' },
    ])
    expect(both.only.every(({ side, kind }) => side === 'B' && kind === 'mpirun')).toBe(true)
    expect(both.only.map(({ name }) => name)).toContain('whole job')
    const lines = comparisonLines(both).join('\n')
    expect(lines).toMatch(/^kernel +6\.1\.0 +6\.12\.0$/m)
    expect(lines).toMatch(/^solver +Linux guests +2\.00 s +1\.50 s +×0\.75\d, /m)
    expect(lines).toContain('Only in B: whole job under stock mpirun.')
  })

  it('are doubted when not the same was run', () => {
    const other = {
      ...benchResults({ kinds, accelerator: 'tcg', program: ['./other'] }),
      ranks: 4,
      programs: [],
    }
    const { doubts } = compare(before, other)
    expect(doubts.map(({ text }) => text).join('\n')).toMatch(
      /Not the same was run: .*ranks are not as many: 2 in A, 4 in B.*kvm in A, tcg in B.*B: Guests were emulated.*byte for byte.*by chance/s,
    )
  })

  it('have figures of each MPI, and of what one has alone nothing is compared with the other', () => {
    const of = (mpis: readonly Mpi[]) => benchResults({ kinds, program: undefined, mpis })
    const { figures, heads, only, short } = compare(of(['openmpi', 'mpich']), of(['mpich']))
    expect(new Set(figures.map(({ mpi }) => mpi))).toEqual(new Set(['mpich']))
    expect(figures.every(({ comparison }) => comparison.ratio === 1)).toBe(true)
    expect(heads.map(({ name }) => name)).toEqual(Array(2).fill('latency, 1 B with MPICH'))
    expect(only.every(({ side, name }) => side === 'A' && name.endsWith('with Open MPI'))).toBe(true)
    expect(short.which).toMatch(/^Latency, 1 B with MPICH does not differ/)
    const split = compare(of(['openmpi', 'mpich']), of(['openmpi', 'mpich']))
    expect(split.short.which).toMatch(/with Open MPI does not .* Latency, 1 B with MPICH does not/)
    expect(comparePage(split)).toContain('MPICH: dashed, hollow')
    // One MPI each: they are what differs.
    expect(compare(of(['openmpi']), of(['mpich'])).figures[0]?.comparison.ratio).toBeCloseTo(1.25, 1)
  })

  it('may have nothing in common', () => {
    const { short, figures } = compare(before, { ...after, runs: [] })
    expect(figures).toEqual([])
    expect(short.which).toBe('There is nothing that both have measured.')
  })

  it('do not differ from themselves', () => {
    const { figures, environment, short } = compare(before, before)
    expect(environment).toEqual([])
    // An image is composed once.
    for (const { figure, comparison } of figures)
      expect(comparison.verdict).toBe(figure === SCALARS.compose ? 'unknown' : 'noise')
    expect(short.trust).toMatch(/^It can be trusted as far as both can: 0 of \d+ figures differ/)
  })

  it('are a page and a value that are whole', () => {
    for (const each of [both, compare(before, before), compare(before, { ...after, runs: [] })]) {
      const page = comparePage(each)
      expect(page).not.toMatch(/NaN|undefined|Infinity|\[object|<script/i)
      const told = JSON.parse(JSON.stringify(comparisonJson(each)))
      expect(told).toMatchObject({ a: { path: 'A' }, b: { path: 'B' } })
      expect(told.figures).toHaveLength(each.figures.length)
    }
  })
})

describe('an axis of factors', () => {
  it('has 1 in its middle and holds all', () => {
    const scale = factorScale([0.6, 1.3])
    expect(scale.at(1)).toBe(50)
    expect(scale.ticks).toEqual([0.5, 1 / 1.5, 1, 1.5, 2])
    expect(scale.at(2)).toBeCloseTo(100)
    expect(factorScale([1]).at(1)).toBe(50)
    expect(factorScale([2.2e-5]).ticks).toHaveLength(5)
  })
})
