// Two benches side by side: two machines, or two versions of something. Every figure that both have is compared, B with A,
// as kinds are compared within one bench. Pure.
import { type Difference, differencesOf } from './environment.ts'
import { type Figure, formatValue, sizeName } from './figures.ts'
import { KIND_PLACES, type Kind, knownMpis, type Mpi, ofMpi, type Results } from './results.ts'
import { type Comparison, compareMedians, compareSamples, type MedianRatio } from './statistics.ts'
import {
  type Cell,
  type Doubt,
  joinStandings,
  type Row,
  type Short,
  type Summary,
  summarise,
} from './summary.ts'
import { beginOf, factorText, factorWithInterval, judgement, listOf, neededText, withMpi } from './wording.ts'

/** One of the two. */
export interface Side {
  /** As it was named. */
  readonly path: string
  readonly results: Results
}

/** A figure of one kind in both. */
export interface ComparedFigure {
  readonly name: string
  /** Where one of them measured several, the one that it is of. */
  readonly mpi?: Mpi
  readonly figure: Figure
  readonly kind: Kind
  /** Bytes of a message, for the figures over message size. */
  readonly size?: number
  /** Not one of the many sizes between. */
  readonly isEnd: boolean
  readonly a: Cell
  readonly b: Cell
  /** By which factor B is larger than A. */
  readonly comparison: Comparison
  /** Not of figures over message size. */
  readonly medians?: MedianRatio
}

/** What two benches say together. */
export interface BenchComparison {
  readonly a: Side
  readonly b: Side
  readonly environment: readonly Difference[]
  /** The foremost figure of each kind. */
  readonly heads: readonly ComparedFigure[]
  readonly figures: readonly ComparedFigure[]
  /** What the other has not. */
  readonly only: readonly { readonly side: 'A' | 'B'; readonly name: string; readonly kind: Kind }[]
  readonly short: Short
  readonly doubts: readonly Doubt[]
}

/** A figure of one bench, with what tells it from all others of it. */
interface OwnFigure extends Pick<ComparedFigure, 'name' | 'mpi' | 'figure' | 'size' | 'isEnd'> {
  readonly cell: Cell
}

/** Puts two benches side by side. */
export function compareBenches(a: Side, b: Side): BenchComparison {
  const [summaryA, summaryB] = [summarise(a.results), summarise(b.results)]
  const [mpisA, mpisB] = [knownMpis(a.results), knownMpis(b.results)]
  // The one MPI of both may well be another: that is what is compared then.
  const isSplit = mpisA.length > 1 || mpisB.length > 1
  const ofA = figuresOf(summaryA, isSplit ? mpisA[0] : undefined)
  const ofB = figuresOf(summaryB, isSplit ? mpisB[0] : undefined)
  const isSame = (one: OwnFigure) => (other: OwnFigure) =>
    one.figure === other.figure &&
    one.mpi === other.mpi &&
    one.size === other.size &&
    one.cell.kind === other.cell.kind
  const figures = ofA.flatMap((own): ComparedFigure[] => {
    const other = ofB.find(isSame(own))
    if (!other) return []
    const { cell, ...named } = own
    const samples = [other.cell.values, cell.values] as const
    return [
      {
        ...named,
        kind: cell.kind,
        a: cell,
        b: other.cell,
        comparison: compareSamples(...samples),
        ...(own.size === undefined ? { medians: compareMedians(...samples) } : {}),
      },
    ]
  })
  const onlyOf = (side: 'A' | 'B', own: readonly OwnFigure[], others: readonly OwnFigure[]) =>
    own
      .filter((each) => each.isEnd && !others.some(isSame(each)))
      .map(({ name, cell }) => ({ side, name, kind: cell.kind }))
  const heads = headsOf(figures, summaryA.heads)
  const doubts = doubtsOf(a.results, b.results, figures.length, summaryA, summaryB)
  return {
    a,
    b,
    environment: differencesOf(a.results.environment, b.results.environment),
    heads,
    figures,
    only: [...onlyOf('A', ofA, ofB), ...onlyOf('B', ofB, ofA)],
    short: { ...standingOf(heads), trust: trustOf(doubts, figures) },
    doubts,
  }
}

/** All figures; `only` is the MPI of those that do not tell theirs. */
function figuresOf({ rows, curves }: Summary, only: Mpi | undefined): OwnFigure[] {
  const scalars = rows.flatMap(({ name, mpi, figure, cells }) => {
    const own = mpi === undefined ? { name: withMpi(name, only), ...ofMpi(only) } : { name, mpi }
    return cells.map((cell) => ({ ...own, figure, isEnd: true, cell }))
  })
  const sized = curves.flatMap(({ mpi = only, figure, points }) => {
    const ends = new Set([points[0], points[points.length >> 1], points.at(-1)])
    return points.flatMap((point) =>
      point.cells.map((cell) => ({
        name: withMpi(`${figure.title}, ${sizeName(point.size)}`, mpi),
        ...ofMpi(mpi),
        figure,
        size: point.size,
        isEnd: ends.has(point),
        cell,
      })),
    )
  })
  return [...scalars, ...sized]
}

// The first figure of the answer that both have, of each MPI.
function headsOf(figures: readonly ComparedFigure[], rows: readonly Row[]): ComparedFigure[] {
  const both = rows.filter(({ cells }) => figures.some(({ a }) => cells.includes(a)))
  const leads = both.filter(({ figure }) => figure === both[0]?.figure)
  return figures.filter(({ a }) => leads.some(({ cells }) => cells.includes(a)))
}

function standingOf(heads: readonly ComparedFigure[]): Omit<Short, 'trust'> {
  const standings = [...Map.groupBy(heads, beginOf)].map(([name, of]) => standingOfOne(name, of))
  if (standings.length > 0) return joinStandings(standings)
  return { which: 'There is nothing that both have measured.', howMuch: 'No figure can be compared.' }
}

function standingOfOne(name: string, heads: readonly ComparedFigure[]): Omit<Short, 'trust'> {
  const { figure } = heads[0] as ComparedFigure
  const of = (wanted: ReturnType<typeof judgement>) =>
    heads.filter(({ comparison }) => judgement(comparison, figure) === wanted)
  const placesOf = (some: readonly ComparedFigure[]) => listOf(some.map(({ kind }) => KIND_PLACES[kind]))
  const says: [readonly ComparedFigure[], string][] = [
    [of('better'), 'is faster in B than in A'],
    [of('worse'), 'is slower in B than in A'],
    [of('noise'), 'does not differ beyond noise between A and B'],
    [of('unknown'), 'was repeated too rarely to compare A with B'],
  ]
  const told = says.flatMap(([some, words]) => (some.length > 0 ? [`${words} ${placesOf(some)}`] : []))
  const verb = figure.unit === 'seconds' ? 'takes' : 'has'
  const amounts = heads.map(({ kind, comparison, a, b }) => {
    const how = `factor ${factorWithInterval(comparison)}`
    if (judgement(comparison, figure) === 'noise')
      return `${KIND_PLACES[kind]} no difference beyond noise (${how})${neededText([comparison])}`
    const medians = [b, a].map(({ spread }) => formatValue(spread.median, figure.unit)).join(' against ')
    return `${KIND_PLACES[kind]} it ${verb} ${factorText(comparison.ratio, figure)} (${how}; median ${medians})`
  })
  return { which: `${name} ${told.join('; it ')}.`, howMuch: `B against A: ${amounts.join('; ')}.` }
}

function trustOf(doubts: readonly Doubt[], figures: readonly ComparedFigure[]): string {
  const differ = figures.filter(({ comparison }) => ['more', 'less'].includes(comparison.verdict)).length
  const all = `${differ} of ${figures.length} figures differ beyond noise`
  const grave = doubts.filter(({ weight }) => weight === 'grave').length
  if (grave === 0) return `It can be trusted as far as both can: ${all}.`
  return `Trust it only with care: ${all}, but there ${grave === 1 ? 'is a grave doubt' : `are ${grave} grave doubts`}.`
}

/** From so many figures on some differ by chance: the test is wrong about one in twenty. */
const MANY = 20

function doubtsOf(a: Results, b: Results, compared: number, ofA: Summary, ofB: Summary): Doubt[] {
  const told: [string, string, string][] = [
    ['Not the same was run', (a.program ?? ['MPI']).join(' '), (b.program ?? ['MPI']).join(' ')],
    ['The ranks are not as many', String(a.ranks), String(b.ranks)],
    ['The guests are not as many', String(a.guests), String(b.guests)],
    ['The guests did not run alike', acceleratorsOf(a), acceleratorsOf(b)],
  ]
  const others = told.filter(([, was, is]) => was !== is)
  const bytes = (results: Results) => results.programs.map(({ sha256 }) => sha256).join()
  return [
    ...others.map(
      ([what, was, is]): Doubt => ({ weight: 'grave', text: `${what}: ${was} in A, ${is} in B.` }),
    ),
    ...ofA.doubts.map(({ weight, text }): Doubt => ({ weight, text: `A: ${text}` })),
    ...ofB.doubts.map(({ weight, text }): Doubt => ({ weight, text: `B: ${text}` })),
    ...(bytes(a) === bytes(b)
      ? []
      : [{ weight: 'note' as const, text: 'The files that were run are not the same, byte for byte.' }]),
    ...(compared < MANY
      ? []
      : [
          {
            weight: 'note' as const,
            text: `Of ${compared} figures without any difference about ${Math.round(compared / 20)} would differ beyond noise by chance.`,
          },
        ]),
  ]
}

function acceleratorsOf({ runs }: Results): string {
  return [...new Set(runs.flatMap(({ accelerator }) => accelerator ?? []))].sort().join(' and ') || 'none'
}

/** The comparison as a value for programs: everything but the runs themselves. */
export function comparisonJson({ a, b, ...told }: BenchComparison) {
  const sideOf = ({ path, results }: Side) => {
    const { begun, command, environment, programs } = results
    return { path, begun, command, environment, programs }
  }
  return { format: 1, a: sideOf(a), b: sideOf(b), ...told }
}
