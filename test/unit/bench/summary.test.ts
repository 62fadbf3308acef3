import { describe, expect, it } from 'vitest'
import { SCALARS } from '../../../launcher/bench/figures.ts'
import { reportPage } from '../../../launcher/bench/report/page.ts'
import { linearScale, logScale } from '../../../launcher/bench/report/scale.ts'
import type { Results } from '../../../launcher/bench/results.ts'
import { summarise } from '../../../launcher/bench/summary.ts'
import { csvText, tableLines } from '../../../launcher/bench/write-text.ts'
import { benchResults } from '../../support/bench-results.ts'

const doubtsOf = (results: Results) => summarise(results).doubts.map(({ text }) => text)

describe('the answer', () => {
  it('names the fastest, and by how much the others are behind', () => {
    const { short, versus, answers, rows } = summarise(benchResults({ kinds: ['linux', 'osv', 'host'] }))
    expect(short.which).toBe('solver is fastest on the bare host.')
    expect(short.howMuch).toMatch(
      /^In OSv guests it takes 90 % longer \(factor 1\.\d+, 95 % interval 1\.\d+ to \d\.\d+\); in Linux guests it takes 2\.0\d times as long \(.*\)\.$/,
    )
    expect(short.trust).toBe(
      'It can be trusted: 5 runs of each were measured in turn, and nothing speaks against them.',
    )
    expect(versus).toMatch(
      /^solver is faster in OSv guests than in Linux guests: it takes 5\.\d % less time \(/,
    )
    expect(answers[0]).toMatch(/^solver is slower in Linux guests than on the bare host: .*95 % interval/)
    expect(rows.find(({ name }) => name === 'image')?.cells.map(({ kind }) => kind)).toEqual(['linux', 'osv'])
  })

  it('says that a difference is within noise', () => {
    const { short, answers } = summarise(
      benchResults({ kinds: ['osv', 'host'], seconds: { osv: 1.002, host: 1 } }),
    )
    expect(short.which).toMatch(/^solver: no difference beyond noise between/)
    expect(short.howMuch).toMatch(/; if that is no chance, about \d+ rounds would tell it\.$/)
    expect(answers).toEqual([expect.stringMatching(/within noise .*about \d+ rounds would tell it\.$/)])
  })

  it('says that it cannot be given', () => {
    const results = benchResults({ kinds: ['linux', 'host'], repetitions: 3 })
    expect(summarise(results).short.which).toBe(
      'solver: there are too few repetitions to say which is faster.',
    )
    expect(doubtsOf(results)).toContainEqual(expect.stringMatching(/too few repetitions/))
  })

  it('is about a figure that more than one kind has', () => {
    const { short, heads } = summarise(benchResults({ kinds: ['host', 'mpirun'] }))
    expect(heads.map(({ name }) => name)).toEqual(['whole job', 'solver'])
    expect(short.which).toMatch(/^Whole job/)
  })

  it('is about MPI when there was no program', () => {
    const { short, heads } = summarise(benchResults({ kinds: ['linux', 'host'], program: undefined }))
    expect(short.which).toBe('Latency of 1 B is fastest on the bare host.')
    expect(heads.map(({ name }) => name)).toEqual([
      'latency of 1 B',
      'bandwidth of 1 MiB',
      'allreduce of 4 B',
      'start to MPI_Init',
    ])
  })

  it('leaves warm-up and failed runs out', () => {
    const usual = benchResults({ kinds: ['linux', 'host'] })
    const spoilt = {
      ...usual,
      runs: usual.runs.map((run) =>
        run.round === 0
          ? { ...run, measurements: run.measurements.map((each) => ({ ...each, value: 1e9 })) }
          : run.number === 8
            ? { ...run, failure: 'status 1', measurements: [] }
            : run,
      ),
    }
    const counts = summarise(spoilt).rows[0]?.cells.map(({ spread }) => [spread.count, spread.most < 3])
    expect(counts).toEqual([
      [5, true],
      [4, true],
    ])
    expect(doubtsOf(spoilt)).toContainEqual(expect.stringMatching(/^1 of 25 runs failed \(bare host\)/))
  })
})

describe('two MPIs', () => {
  const kinds = ['linux', 'host', 'mpirun', 'mpiexec'] as const
  const both = benchResults({ kinds, program: undefined, mpis: ['openmpi', 'mpich'] })
  const { short, heads, curves, rows, answers } = summarise(both)

  it('have figures of their own, each with its own launcher', () => {
    expect(heads.slice(0, 2).map(({ name, mpi }) => [name, mpi])).toEqual([
      ['latency of 1 B with Open MPI', 'openmpi'],
      ['latency of 1 B with MPICH', 'mpich'],
    ])
    for (const { mpi, cells } of [
      ...rows.filter(({ figure }) => figure === SCALARS.start),
      ...curves.flatMap(({ mpi, points }) => points.map((p) => ({ mpi, ...p }))),
    ])
      expect(cells.map(({ kind }) => kind)).toEqual(['linux', 'host', mpi === 'mpich' ? 'mpiexec' : 'mpirun'])
    expect(short.which).toMatch(/^Latency of 1 B with Open MPI is .*\. Latency of 1 B with MPICH is /)
    expect(answers).toHaveLength(4)
    expect(csvText(both)).toMatch(/^\d+,1,linux,micro,mpich,ok,latency,8,/m)
    expect(tableLines(both, summarise(both)).join('\n')).toMatch(/^start to MPI_Init with MPICH +3\.5/m)
  })

  it('are not compared with the launcher of the other', () => {
    const stock = summarise({ ...both, kinds: ['linux', 'mpirun', 'mpiexec'], baseline: 'mpirun' })
    for (const { mpi, cells } of stock.heads) {
      expect(cells.map(({ kind, comparison }) => [kind, comparison !== undefined])).toEqual([
        ['linux', true],
        [mpi === 'mpich' ? 'mpiexec' : 'mpirun', false],
      ])
    }
  })

  it('are nothing to tell when there is one', () => {
    const one = summarise(benchResults({ kinds, program: undefined, mpis: ['mpich'] }))
    expect(one.heads[0]?.name).toBe('latency of 1 B')
  })
})

describe('doubts', () => {
  it('are none about a quiet bench under KVM', () => {
    expect(doubtsOf(benchResults({ kinds: ['linux', 'host'] }))).toEqual([])
  })

  it('name emulation, other work and shared processors', () => {
    const results = benchResults({ kinds: ['linux', 'host'], accelerator: 'tcg' })
    const environment = { ...results.environment, cpus: 1, load: [9, 9] as const }
    const doubts = doubtsOf({ ...results, environment })
    expect(doubts).toHaveLength(3)
    expect(doubts.join()).toMatch(/emulated \(TCG\).*other work.*shared 1 processors/)
  })

  it('name in one sentence all that is unsteady', () => {
    const results = benchResults({ kinds: ['linux', 'host'] })
    const grow = (run: (typeof results.runs)[number]) =>
      run.measurements.map((each) => ({ ...each, value: each.value * 2 ** run.round }))
    const doubts = doubtsOf({
      ...results,
      runs: results.runs.map((run) => ({ ...run, measurements: grow(run) })),
    })
    expect(doubts).toHaveLength(1)
    expect(doubts[0]).toMatch(
      /^Unsteady.*: (solver|whole job) \D+ \(\d+ %\), .* and (solver|whole job) \D+ \(\d+ %\)\.$/,
    )
  })
})

describe('what is written', () => {
  const results = benchResults({ kinds: ['linux', 'osv', 'host', 'mpirun'] })
  const summary = summarise(results)

  it('has every measured number as CSV', () => {
    const lines = csvText(results).trimEnd().split('\r\n')
    const measured = results.runs.flatMap(({ measurements }) => measurements)
    expect(lines).toHaveLength(1 + measured.length)
    expect(lines[1]).toMatch(/^1,0,linux,micro,,ok,start,,2\.\d+$/)
    expect(lines.every((line) => line.split(',').length === 9)).toBe(true)
  })

  it('is a table with a column for each kind', () => {
    const lines = tableLines(results, summary)
    expect(lines[0]).toBe(summary.short.which)
    const head = lines.find((line) => line.includes('Linux guests  ')) as string
    expect(head.trim().split(/ {2,}/)).toEqual(['Linux guests', 'OSv guests', 'bare host', 'stock mpirun'])
  })

  it('is a page that needs nothing else and runs nothing', () => {
    const hostile = { ...results, program: ['./a<script>alert(1)</script>', '"&\''] }
    const page = reportPage(hostile, summarise(hostile))
    expect(page).not.toMatch(/<script/i)
    expect(page).not.toMatch(/\b(?:https?:)?\/\//)
    expect(page).toContain('&quot;&amp;&#39;')
    expect(page).not.toMatch(/NaN|undefined|\[object/)
  })

  it('tells MPIs apart in a page', () => {
    const both = benchResults({ kinds: ['linux', 'host'], program: undefined, mpis: ['openmpi', 'mpich'] })
    const page = reportPage(both, summarise(both))
    expect(page).toContain('MPICH: dashed, hollow')
    expect(page).not.toMatch(/NaN|undefined|\[object/)
  })

  it('is whole without guests, without MPI and without any figure', () => {
    const empty = { ...results, runs: [], guests: 0 }
    const bare = benchResults({ kinds: ['host'] })
    for (const each of [empty, bare, { ...bare, runs: bare.runs.filter((r) => r.workload === 'program') }])
      expect(reportPage(each, summarise(each))).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe('axes', () => {
  it('hold all values and have few ticks', () => {
    const linear = linearScale(3.7)
    expect(linear.ticks).toEqual([0, 1, 2, 3, 4])
    expect(linearScale(200 * 2 ** 20, 'binary').ticks.at(-1)).toBe(256 * 2 ** 20)
    expect(linear.at(4)).toBe(100)
    const log = logScale([3e-7, 2e-3], 10, 7)
    expect(log.at(1e-7)).toBeCloseTo(0)
    expect(log.at(1e-2)).toBeCloseTo(100)
    expect(log.ticks).toHaveLength(6)
    expect(logScale([1, 2 ** 20], 2, 5).ticks).toEqual([1, 32, 1024, 32768, 1048576])
  })
})
