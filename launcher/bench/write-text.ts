// Results as a table for the terminal and as CSV. Pure.
import type { BenchComparison } from './compare.ts'
import { digits, type Figure, formatValue, sizeName } from './figures.ts'
import { KIND_NAMES, KIND_PLACES, type Results } from './results.ts'
import type { Comparison } from './statistics.ts'
import type { Cell, Doubt, Row, Summary } from './summary.ts'
import { baselineNames, intervalText, judgement, withMpi } from './wording.ts'

/** Lines for the terminal: the answer, what to doubt, and all figures. */
export function tableLines(
  results: Results,
  { rows, curves, short, versus, answers, doubts }: Summary,
): string[] {
  const kinds = results.kinds
  const head = ['', ...kinds.map((kind) => KIND_NAMES[kind])]
  const lineOf = ({ name, figure, cells }: Row): string[] => [
    name,
    ...kinds.map((kind) => {
      const cell = cells.find((each) => each.kind === kind)
      return cell ? cellText(cell, { name, figure, cells }) : '–'
    }),
  ]
  const ends = curves.flatMap(({ mpi, figure, points }) =>
    [...new Set([points[0], points[points.length >> 1], points.at(-1)])].flatMap((point) =>
      point
        ? [{ name: withMpi(`${figure.title}, ${sizeName(point.size)}`, mpi), figure, cells: point.cells }]
        : [],
    ),
  )
  return [
    short.which,
    short.howMuch,
    short.trust,
    ...[...answers, ...(versus === undefined ? [] : [versus])].map((line) => `  ${line}`),
    ...doubtLines(doubts),
    '',
    ...columnsOf([head, ...[...rows, ...ends].map(lineOf)]),
    '',
    `Medians of the runs that count; factors against ${baselineNames(results)} with their 95 % intervals.`,
  ]
}

// Lines of a table whose columns are as wide as what is in them.
function columnsOf(table: readonly (readonly string[])[]): string[] {
  const width = (column: number) => Math.max(...table.map((line) => (line[column] ?? '').length))
  const widths = (table[0] ?? []).map((_, column) => width(column))
  return table.map((line) =>
    line
      .map((text, column) => text.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  )
}

function cellText({ spread, comparison }: Cell, { figure }: Row): string {
  const value = formatValue(spread.median, figure.unit)
  return comparison ? `${value} (${comparisonText(comparison, figure)})` : value
}

function comparisonText(comparison: Comparison, figure: Figure): string {
  const factor = `×${digits(comparison.ratio)}`
  if (!comparison.interval) return `${factor}?`
  const word = judgement(comparison, figure) === 'noise' ? ', within noise' : ''
  return `${factor}, ${intervalText(comparison.interval)}${word}`
}

/** Lines for the terminal of two benches side by side. */
export function comparisonLines({
  a,
  b,
  environment,
  figures,
  only,
  short,
  doubts,
}: BenchComparison): string[] {
  // Of the figures over message size the first, the middle and the last tell enough here.
  const ends = figures.filter(({ isEnd }) => isEnd)
  return [
    short.which,
    short.howMuch,
    short.trust,
    ...doubtLines(doubts),
    '',
    ...columnsOf([
      ['', 'A', 'B'],
      ['results', a.path, b.path],
      ['measured', a.results.begun, b.results.begun],
      ...environment.map((part) => [part.name, part.a, part.b]),
    ]),
    '',
    ...columnsOf([
      ['', '', 'A', 'B', 'B over A'],
      ...ends.map(({ name, figure, kind, a: was, b: is, comparison }) => [
        name,
        KIND_NAMES[kind],
        formatValue(was.spread.median, figure.unit),
        formatValue(is.spread.median, figure.unit),
        comparisonText(comparison, figure),
      ]),
    ]),
    ...only.map(({ side, name, kind }) => `Only in ${side}: ${name} ${KIND_PLACES[kind]}.`),
    '',
    'Medians of the runs that count; factors with their 95 % intervals.',
  ]
}

function doubtLines(doubts: readonly Doubt[]): string[] {
  return doubts.map(({ weight, text }) => `${weight === 'grave' ? 'Doubt' : 'Note'}: ${text}`)
}

/** Every measured number in one line; seconds, bytes and bytes per second. RFC 4180. */
export function csvText({ runs }: Results): string {
  const rows = runs.flatMap(({ number, round, kind, workload, mpi, failure, measurements }) => {
    const run = [number, round, kind, workload, mpi ?? '', failure === undefined ? 'ok' : 'failed']
    return measurements.length === 0
      ? [[...run, '', '', '']]
      : measurements.map(({ metric, size, value }) => [...run, metric, size ?? '', value])
  })
  const head = ['run', 'round', 'kind', 'workload', 'mpi', 'state', 'metric', 'message_bytes', 'value']
  return [head, ...rows].map((row) => `${row.join(',')}\r\n`).join('')
}
