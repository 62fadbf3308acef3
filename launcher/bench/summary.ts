// From runs to answers: for each figure the spread of every kind and how it compares with the baseline, which kind is
// faster and by how much, and what there is to doubt. Pure.
import { fieldSentences } from './fields.ts'
import { CURVES, digits, type Figure, formatValue, SCALARS, sizeName } from './figures.ts'
import { missingRuns } from './plan.ts'
import {
  baselineOf,
  type CurveName,
  KIND_NAMES,
  KIND_PLACES,
  type Kind,
  type Mpi,
  mpisOf,
  ofMpi,
  type Results,
  type Run,
  type ScalarName,
} from './results.ts'
import {
  type Comparison,
  compareMedians,
  compareSamples,
  type MedianRatio,
  type Spread,
  spreadOf,
} from './statistics.ts'
import {
  beginOf,
  factorText,
  factorWithInterval,
  judgement,
  listOf,
  neededText,
  someOf,
  withMpi,
} from './wording.ts'

/** The values of one figure on one kind. */
export interface Cell {
  readonly kind: Kind
  readonly values: readonly number[]
  readonly spread: Spread
  /** With the baseline; undefined of the baseline itself, and where that has no such figure. */
  readonly comparison?: Comparison
  /** The median over the baseline's, beside a comparison; not of figures over message size. */
  readonly medians?: MedianRatio
}

/** One figure on all kinds that have it. */
export interface Row {
  /** With the MPI, where there are several. */
  readonly name: string
  /** Where several were measured, the one that it is of. */
  readonly mpi?: Mpi
  readonly figure: Figure
  readonly cells: readonly Cell[]
}

/** One figure over message size. */
export interface Curve {
  readonly name: CurveName
  /** Where several were measured, the one that it is of. */
  readonly mpi?: Mpi
  readonly figure: Figure
  readonly points: readonly { readonly size: number; readonly cells: readonly Cell[] }[]
}

/** Something to know before the figures are believed. */
export interface Doubt {
  /** `grave`: an answer may be wrong because of it; `note`: it limits what the answer is about. */
  readonly weight: 'grave' | 'note'
  readonly text: string
}

/** The answer in three sentences. */
export interface Short {
  readonly which: string
  readonly howMuch: string
  readonly trust: string
}

/** What a report says. */
export interface Summary {
  readonly rows: readonly Row[]
  readonly curves: readonly Curve[]
  /** The figures that answer which is faster, the first of them foremost. */
  readonly heads: readonly Row[]
  /** Which is faster, by how much, and whether that can be trusted: a sentence each. */
  readonly short: Short
  /** OSv guests against Linux guests, where neither is the baseline. */
  readonly versus: string | undefined
  /** Each kind against the baseline in words, with figures. */
  readonly answers: readonly string[]
  readonly doubts: readonly Doubt[]
}

/** Sums up. */
export function summarise(results: Results): Summary {
  const counted = results.runs.filter(({ round, failure }) => round > 0 && failure === undefined)
  const main = results.program ? 'program' : 'micro'
  const mpis = mpisOf(results).map((mpi) => ({
    mpi,
    runs: counted.filter((run) => mpi === undefined || run.mpi === mpi),
  }))
  const rows = (Object.keys(SCALARS) as ScalarName[]).flatMap((metric) =>
    mpis.flatMap(({ mpi, runs }): Row[] => {
      // One image and one kind of job at a time; what no run of the program tells, others do.
      const own = runs.filter(
        ({ workload }) =>
          (workload === 'program') === (main === 'program' && metric !== 'start' && metric !== 'compose'),
      )
      const cells = cellsOf(results, mpi, own, metric, undefined)
      const figure = SCALARS[metric]
      const name = withMpi(titleOf(results, figure), mpi)
      return cells.length > 0 ? [{ name, ...ofMpi(mpi), figure, cells }] : []
    }),
  )
  const curves = (Object.keys(CURVES) as CurveName[]).flatMap((name) =>
    mpis.flatMap(({ mpi, runs }): Curve[] => {
      const sizes = new Set(
        runs.flatMap((run) => run.measurements.flatMap((m) => (m.metric === name ? [m.size as number] : []))),
      )
      const points = [...sizes]
        .sort((a, b) => a - b)
        .map((size) => ({ size, cells: cellsOf(results, mpi, runs, name, size) }))
      return points.length > 0 ? [{ name, ...ofMpi(mpi), figure: CURVES[name], points }] : []
    }),
  )
  const all = headRows(rows, curves)
  const isComparable = ({ cells }: Row) => cells.length > 1
  // A figure of one kind alone answers nothing.
  const heads = [...all.filter(isComparable), ...all.filter((row) => !isComparable(row))]
  // The same figure of each MPI.
  const leads = heads.filter(({ figure }) => figure === heads[0]?.figure)
  const doubts = doubtsOf(results, heads)
  const standings = leads.length > 0 ? leads.map(standingOf) : [standingOf(undefined)]
  const versus = leads.flatMap((row) => versusOf(row, baselineOf(results, row.mpi)) ?? [])
  return {
    rows,
    curves,
    heads,
    short: { ...joinStandings(standings), trust: trustOf(doubts, leads) },
    versus: versus.length > 0 ? versus.join(' ') : undefined,
    answers: [
      ...leads.flatMap((row) => answersOf(row, baselineOf(results, row.mpi))),
      ...fieldSentences(results.fields ?? [], results.baseline),
    ],
    doubts,
  }
}

/** How a figure is called; the program's time by its name. */
export function titleOf({ program }: Results, figure: Figure): string {
  const name = figure === SCALARS.program ? program?.[0]?.split('/').at(-1) : undefined
  return name ?? figure.title
}

function cellsOf(
  results: Results,
  mpi: Mpi | undefined,
  runs: readonly Run[],
  metric: ScalarName | CurveName,
  size: number | undefined,
): Cell[] {
  const baseline = baselineOf(results, mpi)
  const valuesOf = (kind: Kind) =>
    runs
      .filter((run) => run.kind === kind)
      .flatMap(({ measurements }) =>
        measurements.filter((m) => m.metric === metric && m.size === size).map(({ value }) => value),
      )
  const reference = valuesOf(baseline)
  return results.kinds.flatMap((kind): Cell[] => {
    const values = valuesOf(kind)
    if (values.length === 0) return []
    const cell = { kind, values, spread: spreadOf(values) }
    if (kind === baseline || reference.length === 0) return [cell]
    const comparison = compareSamples(values, reference)
    // Nobody looks at it for each message size, and it takes its time.
    const medians = size === undefined ? { medians: compareMedians(values, reference) } : {}
    return [{ ...cell, comparison, ...medians }]
  })
}

// The program's time and that of the whole job; without a program what says most of MPI.
function headRows(rows: readonly Row[], curves: readonly Curve[]): Row[] {
  const program = rows.filter(({ figure }) => figure === SCALARS.program || figure === SCALARS.job)
  if (program.length > 0) return program
  const ends = curves.flatMap(({ name, mpi, figure, points }): Row[] => {
    const point = name === 'bandwidth' ? points.at(-1) : points[0]
    if (!point) return []
    const title = withMpi(`${figure.title} of ${sizeName(point.size)}`, mpi)
    return [{ name: title, ...ofMpi(mpi), figure, cells: point.cells }]
  })
  return [...ends, ...rows.filter(({ figure }) => figure === SCALARS.start)]
}

/** The answers of several MPIs as one. */
export function joinStandings(standings: readonly Omit<Short, 'trust'>[]): Omit<Short, 'trust'> {
  return {
    which: standings.map(({ which }) => which).join(' '),
    howMuch: standings.map(({ howMuch }) => howMuch).join(' '),
  }
}

// The kind with the best median, those that are as good within noise, and by how much each of the others is behind.
function standingOf(row: Row | undefined): Omit<Short, 'trust'> {
  const sign = row?.figure.better === 'more' ? -1 : 1
  const [best, ...others] = [...(row?.cells ?? [])].sort((a, b) => sign * (a.spread.median - b.spread.median))
  if (!row || !best) return { which: 'Nothing was measured.', howMuch: 'There are no figures to compare.' }
  const { figure } = row
  const name = beginOf(row)
  const median = `its median is ${formatValue(best.spread.median, figure.unit)}`
  if (others.length === 0)
    return { which: `${name} was measured only ${KIND_PLACES[best.kind]}.`, howMuch: `There ${median}.` }
  const compared = others.map(({ kind, values }) => ({ kind, ...compareSamples(values, best.values) }))
  if (compared.some(({ verdict }) => verdict === 'unknown')) {
    const ratios = compared.map(({ kind, ratio }) => `×${digits(ratio)} ${KIND_PLACES[kind]}`)
    return {
      which: `${name}: there are too few repetitions to say which is faster.`,
      howMuch: `The median is best ${KIND_PLACES[best.kind]} (${listOf(ratios)}), which may be chance.`,
    }
  }
  const equal = compared.filter((each) => judgement(each, figure) !== 'worse')
  const behind = compared.filter((each) => judgement(each, figure) === 'worse')
  const first = [best, ...equal].map(({ kind }) => kind)
  if (behind.length === 0) {
    const told = equal.map((each) => `${KIND_PLACES[each.kind]} ${factorWithInterval(each)}`)
    return {
      which: `${name}: no difference beyond noise between ${listOf(first.map((kind) => KIND_NAMES[kind]))}.`,
      howMuch: `Factors against ${KIND_NAMES[best.kind]}: ${told.join('; ')}${neededText(equal)}.`,
    }
  }
  const verb = figure.unit === 'seconds' ? 'takes' : 'has'
  const told = behind.map(
    (each) =>
      `${KIND_PLACES[each.kind]} it ${verb} ${factorText(each.ratio, figure)} (factor ${factorWithInterval(each)})`,
  )
  const [head, ...tail] = told.join('; ')
  return {
    which: `${name} is fastest ${listOf(first.map((kind) => KIND_PLACES[kind]))}${equal.length > 0 ? ', without a difference beyond noise' : ''}.`,
    howMuch: `${head?.toUpperCase()}${tail.join('')}.`,
  }
}

// What weighs most is said first; the list of doubts has the rest.
function trustOf(doubts: readonly Doubt[], leads: readonly Row[]): string {
  const grave = doubts.filter(({ weight }) => weight === 'grave').length
  const least = Math.min(...leads.flatMap(({ cells }) => cells.map(({ spread }) => spread.count)))
  const runs = Number.isFinite(least) ? `${least} run${least === 1 ? '' : 's'} of each` : 'no runs that count'
  if (grave > 0)
    return `Trust it only with care: there ${grave === 1 ? 'is a grave doubt' : `are ${grave} grave doubts`}, after ${runs}.`
  if (doubts.length > 0) return `It can be trusted within the limits that are told, after ${runs}.`
  return `It can be trusted: ${runs} were measured in turn, and nothing speaks against them.`
}

function answersOf(row: Row, baseline: Kind): string[] {
  const { figure, cells } = row
  const name = beginOf(row)
  const reference = cells.find(({ kind }) => kind === baseline)
  if (!reference) return [`${name} has no figure ${KIND_PLACES[baseline]} to compare with.`]
  return cells.flatMap((cell) =>
    cell.comparison ? [answerOf(name, figure, cell, reference, cell.comparison)] : [],
  )
}

function versusOf(row: Row, baseline: Kind): string | undefined {
  const { figure, cells } = row
  const [osv, linux] = (['osv', 'linux'] as const).map((kind) => cells.find((cell) => cell.kind === kind))
  if (!osv || !linux || baseline === 'osv' || baseline === 'linux') return undefined
  return answerOf(beginOf(row), figure, osv, linux, compareSamples(osv.values, linux.values))
}

function answerOf(name: string, figure: Figure, cell: Cell, reference: Cell, comparison: Comparison): string {
  const [here, there] = [KIND_PLACES[cell.kind], KIND_PLACES[reference.kind]]
  if (!comparison.interval) {
    return `${name} ${here} against ${there}: too few repetitions to tell a difference from noise.`
  }
  const how = `factor ${factorWithInterval(comparison)}`
  const verdict = judgement(comparison, figure)
  if (verdict === 'noise')
    return `${name}: ${KIND_NAMES[cell.kind]} and ${KIND_NAMES[reference.kind]} differ only within noise (${how})${neededText([comparison])}.`
  const [value, other] = [cell, reference].map(({ spread }) => formatValue(spread.median, figure.unit))
  const verb = figure.unit === 'seconds' ? 'takes' : 'has'
  return (
    `${name} is ${verdict === 'better' ? 'faster' : 'slower'} ${here} than ${there}: ` +
    `it ${verb} ${factorText(comparison.ratio, figure)} (${how}; median ${value} against ${other}).`
  )
}

/** Spread beyond which a figure is called unsteady: the quartiles' distance in parts of the median. */
const UNSTEADY = 0.15

function widthOf({ upperQuartile, lowerQuartile, median }: Spread): number {
  return (upperQuartile - lowerQuartile) / median
}

function doubtsOf(results: Results, heads: readonly Row[]): Doubt[] {
  const { environment, plan, runs, ranks, notes } = results
  const doubts: Doubt[] = []
  const left = missingRuns(plan, runs).length
  if (left > 0) {
    doubts.push({
      weight: 'grave',
      text: `The bench was ended with ${left} of ${plan.length} runs still to do.`,
    })
  }
  const failed = runs.filter(({ failure }) => failure !== undefined)
  if (failed.length > 0) {
    const kinds = [...new Set(failed.map(({ kind }) => KIND_NAMES[kind]))].join(', ')
    doubts.push({
      weight: 'grave',
      text: `${failed.length} of ${runs.length} runs failed (${kinds}) and do not count.`,
    })
  }
  const few = heads
    .flatMap(({ cells }) => cells)
    .filter(({ comparison }) => comparison?.verdict === 'unknown')
  if (few.length > 0) {
    doubts.push({
      weight: 'grave',
      text: 'There are too few repetitions: below 4 of each kind no difference can be told from noise. Give -r 5 or more.',
    })
  }
  const accelerators = new Set(runs.flatMap(({ accelerator }) => accelerator ?? []))
  if (accelerators.has('tcg')) {
    doubts.push({
      weight: 'grave',
      text: 'Guests were emulated (TCG), not virtualised: their figures say nothing of how fast guests are under KVM, and little of guests against the bare host.',
    })
  }
  const unsteady = heads
    .flatMap(({ name, cells }) => cells.map((cell) => ({ name, ...cell, width: widthOf(cell.spread) })))
    .filter(({ spread, width }) => spread.count > 2 && width > UNSTEADY)
    .sort((a, b) => b.width - a.width)
    .map(
      ({ name, kind, width }) =>
        `${name} ${KIND_PLACES[kind]} (${width > 10 ? 'more than 1000' : (100 * width).toFixed(0)} %)`,
    )
  if (unsteady.length > 0) {
    doubts.push({
      weight: 'note',
      text: `Unsteady, with half of the runs spread over so much of the median: ${someOf(unsteady)}.`,
    })
  }
  const far = heads.flatMap(({ name, cells }) =>
    cells.flatMap(({ kind, spread: { outliers } }) =>
      outliers.length > 0 ? [`${outliers.length} of ${name} ${KIND_PLACES[kind]}`] : [],
    ),
  )
  if (far.length > 0) {
    doubts.push({ weight: 'note', text: `Runs far from the others, which count like any: ${someOf(far)}.` })
  }
  const busy = Math.max(...environment.load)
  if (busy > environment.cpus / 2 + ranks) {
    doubts.push({
      weight: 'note',
      text: `The machine had other work: its load was ${busy.toFixed(1)} with ${environment.cpus} processors and ${ranks} ranks.`,
    })
  }
  if (environment.nodes.length === 1 && ranks > environment.cpus) {
    doubts.push({
      weight: 'note',
      text: `${ranks} ranks shared ${environment.cpus} processors: figures of MPI are those of ranks that wait for each other’s turn.`,
    })
  }
  doubts.push(...notes.map((text): Doubt => ({ weight: 'note', text })))
  return doubts
}
