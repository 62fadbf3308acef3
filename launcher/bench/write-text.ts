// Results as a table for the terminal and as CSV. Pure.
import { digits, formatValue, sizeName } from './figures.ts'
import { KIND_NAMES, type Results } from './results.ts'
import { type Cell, intervalText, judgement, type Row, type Summary } from './summary.ts'

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
  const ends = curves.flatMap(({ figure, points }) =>
    [...new Set([points[0], points[points.length >> 1], points.at(-1)])].flatMap((point) =>
      point ? [{ name: `${figure.title}, ${sizeName(point.size)}`, figure, cells: point.cells }] : [],
    ),
  )
  const table = [head, ...[...rows, ...ends].map(lineOf)]
  const widths = head.map((_, column) => Math.max(...table.map((line) => (line[column] as string).length)))
  return [
    short.which,
    short.howMuch,
    short.trust,
    ...[...answers, ...(versus === undefined ? [] : [versus])].map((line) => `  ${line}`),
    ...doubts.map(({ weight, text }) => `${weight === 'grave' ? 'Doubt' : 'Note'}: ${text}`),
    '',
    ...table.map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd(),
    ),
    '',
    `Medians of the runs that count; factors against ${KIND_NAMES[results.baseline]} with their 95 % intervals.`,
  ]
}

function cellText(cell: Cell, { figure }: Row): string {
  const value = formatValue(cell.spread.median, figure.unit)
  if (!cell.comparison) return value
  const { ratio, interval } = cell.comparison
  const factor = `×${digits(ratio)}`
  if (!interval) return `${value} (${factor}?)`
  const word = judgement(cell.comparison, figure) === 'noise' ? ', within noise' : ''
  return `${value} (${factor}, ${intervalText(interval)}${word})`
}

/** Every measured number in one line; seconds, bytes and bytes per second. RFC 4180. */
export function csvText({ runs }: Results): string {
  const rows = runs.flatMap(({ number, round, kind, workload, failure, measurements }) => {
    const run = [number, round, kind, workload, failure === undefined ? 'ok' : 'failed']
    return measurements.length === 0
      ? [[...run, '', '', '']]
      : measurements.map(({ metric, size, value }) => [...run, metric, size ?? '', value])
  })
  const head = ['run', 'round', 'kind', 'workload', 'state', 'metric', 'message_bytes', 'value']
  return [head, ...rows].map((row) => `${row.join(',')}\r\n`).join('')
}
