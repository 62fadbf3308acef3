// Plots as SVG without a script. Positions are per cents, so that a plot takes the width that there is while its text, which
// is HTML, keeps its size: the same page serves a phone, a screen and paper. Each plot has its figures in words for those
// who do not see it; the caller puts a table below.
import { digits, type Figure, formatValue, sizeName, type Unit } from '../figures.ts'
import { KIND_NAMES, type Kind, MPI_NAMES, type Mpi, type Span } from '../results.ts'
import type { Comparison } from '../statistics.ts'
import type { Cell, Curve, Row } from '../summary.ts'
import { intervalText, withMpi } from '../wording.ts'
import { html, type Markup } from './markup.ts'
import { factorScale, linearScale, logScale, type Scale } from './scale.ts'

const percent = (value: number) => `${Number(value.toFixed(3))}%`
const point = (value: number) => Number(value.toFixed(3))

/** A mark of a kind's own form, so that colour is not all that tells kinds apart. */
function mark(kind: Kind): Markup {
  switch (kind) {
    case 'linux':
      return html`<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>`
    case 'osv':
      return html`<path d="M0-5 4.7 3.6-4.7 3.6Z"/>`
    case 'host':
      return html`<circle r="4"/>`
    case 'mpirun':
      return html`<path d="M0-5 5 0 0 5-5 0Z"/>`
    case 'mpiexec':
      return html`<path d="M-4.7-3.6 4.7-3.6 0 5Z"/>`
  }
}

/** A figure as text that keeps its exact value. */
export function valueText(value: number, unit: Unit): Markup {
  return html`<data class="value" value="${value}">${formatValue(value, unit)}</data>`
}

/** Name of a kind with its mark. */
export function kindLabel(kind: Kind): Markup {
  return html`<span class="kind k-${kind}"><svg class="key" viewBox="-6 -6 12 12" aria-hidden="true">${mark(kind)}</svg>${KIND_NAMES[kind]}</span>`
}

/** What colours and marks mean, and where there are several MPIs what lines mean. */
export function legend(kinds: readonly Kind[], mpis: readonly (Mpi | undefined)[]): Markup {
  const lines = mpis.flatMap((mpi) => (mpi === undefined ? [] : [lineLabel(mpi)]))
  return html`<p class="legend">${kinds.map(kindLabel)}</p>${lines.length > 0 ? html`<p class="legend">${lines}</p>` : undefined}`
}

function lineLabel(mpi: Mpi): Markup {
  return html`<span class="kind ${classOf(mpi)}"><svg class="key wide" viewBox="-18 -6 36 12" aria-hidden="true"><path class="line" d="M-18 0H18"/><circle class="mark" r="4"/></svg>${MPI_NAMES[mpi]}: ${mpi === 'openmpi' ? 'solid, filled' : 'dashed, hollow'}</span>`
}

// How lines and marks of an MPI look, beside others.
function classOf(mpi: Mpi | undefined): string {
  return mpi === undefined ? '' : `m-${mpi}`
}

/** A figure over message size, of each MPI, on logarithmic axes: medians with a band from the least to the most. */
export function curvePlot(curves: readonly Curve[], kinds: readonly Kind[]): Markup {
  const points = curves.flatMap((each) => each.points)
  const cells = points.flatMap((each) => each.cells)
  const { figure } = curves[0] as Curve
  const x = logScale(
    points.map(({ size }) => size),
    2,
    5,
  )
  const y = logScale(
    cells.flatMap(({ spread }) => [spread.least, spread.most]),
    10,
    7,
  )
  const series = curves.flatMap(({ mpi, points: own }) =>
    kinds.flatMap((kind): Series[] => {
      const of = own.flatMap(({ size, cells: all }) => {
        const cell = all.find((each) => each.kind === kind)
        if (!cell) return []
        const { least, median, most } = cell.spread
        const [said, from, to] = [median, least, most].map((value) => formatValue(value, figure.unit))
        return [{ size, low: least, middle: median, high: most, words: `${said} (${from} to ${to})` }]
      })
      return of.length > 0 ? [{ kind, mpi, points: of }] : []
    }),
  )
  return plane({ x, y, series, say: (value) => roundValue(value, figure.unit) }, curveWords(figure, series))
}

/** What a plot over message size shows of a kind, with one MPI of several: lines with a band around. */
interface Series {
  readonly kind: Kind
  readonly mpi: Mpi | undefined
  readonly points: readonly {
    readonly size: number
    readonly low: number
    readonly middle: number
    readonly high: number
    readonly words: string
  }[]
}

interface Plane {
  readonly x: Scale
  readonly y: Scale
  readonly series: readonly Series[]
  /** Labels of the upright axis. */
  readonly say: (value: number) => string
}

function plane({ x, y, series, say }: Plane, words: string): Markup {
  const top = (value: number) => point(100 - y.at(value))
  const path = (values: readonly (readonly [number, number])[]) =>
    values
      .map(([size, value], index) => `${index === 0 ? 'M' : 'L'}${point(x.at(size))} ${top(value)}`)
      .join('')
  const lines = series.map(({ kind, mpi, points }) => {
    const band = [
      ...points.map(({ size, high }) => [size, high] as const),
      ...points.map(({ size, low }) => [size, low] as const).reverse(),
    ]
    const line = points.map(({ size, middle }) => [size, middle] as const)
    const marks = points.map(
      ({ size, middle, words: own }) =>
        html`<svg class="mark" data-size="${size}" data-value="${middle}" x="${percent(x.at(size))}" y="${percent(top(middle))}">${mark(kind)}<title>${withMpi(KIND_NAMES[kind], mpi)}, ${sizeName(size)}: ${own}</title></svg>`,
    )
    return html`<g class="k-${kind} ${classOf(mpi)}" data-kind="${kind}" data-mpi="${mpi}"><svg viewBox="0 0 100 100" preserveAspectRatio="none"><path class="band" d="${path(band)}Z"/><path class="line" d="${path(line)}"/></svg>${marks}</g>`
  })
  return html`<div class="plane curve" role="img" aria-label="${words}">
${yAxis(y, say)}
<svg class="area" aria-hidden="true">${grid(x, y)}${lines}</svg>
${xAxis(x, sizeName)}
</div>`
}

function curveWords(figure: Figure, series: readonly Series[]): string {
  const sizes = series.flatMap(({ points }) => points.map(({ size }) => size))
  const said = [...new Set([Math.min(...sizes), Math.max(...sizes)])].map((end) => {
    const values = series.flatMap(({ kind, mpi, points }) => {
      const found = points.find(({ size }) => size === end)
      return found ? [`${withMpi(KIND_NAMES[kind], mpi)} ${formatValue(found.middle, figure.unit)}`] : []
    })
    return `at ${sizeName(end)}: ${values.join(', ')}`
  })
  return `Plot of ${figure.title} over message size; ${said.join('; ')}. The table below has all values.`
}

/**
 * The runs of a figure, one row for each kind and MPI: a dot for each run, a box for the quartiles, a line for the median.
 * The axis reaches to the largest value, or to `most`.
 */
export function stripPlot(name: string, of: readonly Row[], most?: number): Markup {
  const { figure } = of[0] as Row
  const all = of.flatMap(({ mpi, cells: own }) => own.map((cell) => ({ mpi, ...cell })))
  const cells = [...Map.groupBy(all, ({ kind }) => kind).values()].flat()
  const x = linearScale(
    most ?? Math.max(...cells.map(({ spread }) => spread.most)),
    figure.unit === 'bytes' ? 'binary' : 'decimal',
  )
  const rows = cells.map(
    ({
      kind,
      mpi,
      values,
      spread,
    }) => html`<div class="row k-${kind}${mpi ? ' split' : ''}" data-kind="${kind}" data-mpi="${mpi}">
<span class="label">${kindLabel(kind)}${mpi && html`<br><span class="soft">${MPI_NAMES[mpi]}</span>`}</span>
<svg class="area" aria-hidden="true">${grid(x)}
<rect class="bar" x="0" y="38%" width="${percent(x.at(spread.median))}" height="24%"/>
<rect class="box" x="${percent(x.at(spread.lowerQuartile))}" y="20%" width="${percent(x.at(spread.upperQuartile) - x.at(spread.lowerQuartile))}" height="60%"/>
${values.map((value, index) => html`<circle class="dot${spread.outliers.includes(value) ? ' outlier' : ''}" data-value="${value}" cx="${percent(x.at(value))}" cy="${percent(30 + ((index * 37) % 41))}" r="3"><title>${formatValue(value, figure.unit)}${spread.outliers.includes(value) ? ', far from the others' : ''}</title></circle>`)}
<line class="median" x1="${percent(x.at(spread.median))}" x2="${percent(x.at(spread.median))}" y1="10%" y2="90%"/></svg>
${valueText(spread.median, figure.unit)}
</div>`,
  )
  const words = cells.map(
    ({ kind, mpi, spread }) =>
      `${withMpi(KIND_NAMES[kind], mpi)} median ${formatValue(spread.median, figure.unit)}, from ${formatValue(spread.least, figure.unit)} to ${formatValue(spread.most, figure.unit)}`,
  )
  return html`<div class="strips" role="img" aria-label="Runs of ${name}: ${words.join('; ')}.">${rows}
<div class="row"><span></span>${xAxis(x, (value) => formatValueOrZero(value, figure.unit))}<span></span></div></div>`
}

/** A factor with its interval, for a row of `factorPlot`. */
export interface FactorRow {
  readonly name: string
  readonly kind: Kind
  readonly comparison: Comparison
}

/** Factors with their intervals around 1, a row each, on one logarithmic axis. */
export function factorPlot(rows: readonly FactorRow[]): Markup {
  const x = factorScale(rows.flatMap(({ comparison }) => endsOf(comparison)))
  const lines = rows.map(({ name, kind, comparison }) => {
    const [low, high] = endsOf(comparison)
    const at = percent(x.at(comparison.ratio))
    const interval = comparison.interval
      ? html`<line class="whisker" x1="${percent(x.at(low))}" x2="${percent(x.at(high))}" y1="50%" y2="50%"/>`
      : undefined
    return html`<div class="row k-${kind}" data-kind="${kind}"><span class="label">${name}<br>${kindLabel(kind)}</span>
<svg class="area" aria-hidden="true">${grid(x)}${unity(x)}${interval}<svg class="mark" data-value="${comparison.ratio}" x="${at}" y="50%">${mark(kind)}<title>${factorWords(comparison)}</title></svg></svg></div>`
  })
  const words = rows.map(
    ({ name, kind, comparison }) => `${name}, ${KIND_NAMES[kind]} ${factorWords(comparison)}`,
  )
  return html`<div class="strips factors" role="img" aria-label="Factors of B over A: ${words.join('; ')}.">${lines}
<div class="row"><span></span>${xAxis(x, sayFactor)}</div></div>`
}

/** Factors over message size with their intervals; the points of each kind by ascending size. */
export function factorCurve(
  name: string,
  lines: readonly {
    readonly kind: Kind
    readonly mpi: Mpi | undefined
    readonly points: readonly SizedFactor[]
  }[],
): Markup {
  const all = lines.flatMap(({ points }) => points)
  const x = logScale(
    all.map(({ size }) => size),
    2,
    5,
  )
  const y = factorScale(all.flatMap(({ comparison }) => endsOf(comparison)))
  const series = lines.map(({ kind, mpi, points }) => ({
    kind,
    mpi,
    points: points.map(({ size, comparison }) => {
      const [low, high] = endsOf(comparison)
      return { size, low, middle: comparison.ratio, high, words: factorWords(comparison) }
    }),
  }))
  const words = lines.map(
    ({ kind, mpi, points }) =>
      `${withMpi(KIND_NAMES[kind], mpi)} ${points.map(({ size, comparison }) => `${sizeName(size)} ${factorWords(comparison)}`).join(', ')}`,
  )
  return plane({ x, y, series, say: sayFactor }, `Factors of B over A of ${name}: ${words.join('; ')}.`)
}

/** A factor at a message size. */
export interface SizedFactor {
  readonly size: number
  readonly comparison: Comparison
}

function endsOf({ ratio, interval }: Comparison): readonly [number, number] {
  return interval ?? [ratio, ratio]
}

function factorWords({ ratio, interval }: Comparison): string {
  return `×${digits(ratio)}${interval ? ` (${intervalText(interval)})` : ''}`
}

const sayFactor = (value: number) => `×${Number(value.toPrecision(2))}`

function unity(x: Scale): Markup {
  return html`<line class="unity" x1="${percent(x.at(1))}" x2="${percent(x.at(1))}" y1="0" y2="100%"/>`
}

/** One bar of spans in a timeline. */
export interface TimelineRow {
  readonly label: Markup
  readonly spans: readonly Span[]
  /** For those who do not see it. */
  readonly words: string
}

/** Spans over the seconds since a command was started, up to `end`. */
export function timelinePlot(rows: readonly TimelineRow[], end: number): Markup {
  const x = linearScale(end)
  const last = x.ticks.at(-1) as number
  const bars = rows.map(
    ({ label, spans }) => html`<div class="row">
<span class="label">${label}</span>
<svg class="area" aria-hidden="true">${grid(x)}${spans
      .filter(({ from }) => from < last)
      .map(({ name, from, to }) => {
        const right = Math.min(to, last)
        return html`<rect class="stage s-${name}" data-from="${from}" data-to="${to}" x="${percent(x.at(from))}" width="${percent(x.at(right) - x.at(from))}" y="18%" height="64%"><title>${name}: ${formatValueOrZero(to - from, 'seconds')}</title></rect>`
      })}</svg>
</div>`,
  )
  const words = rows.map(({ words: own, spans }) => {
    return `${own}: ${spans.map(({ name, from, to }) => `${name} ${formatValueOrZero(to - from, 'seconds')}`).join(', ')}`
  })
  return html`<div class="strips timeline" role="img" aria-label="Timeline. ${words.join('; ')}.">${bars}
<div class="row"><span></span>${xAxis(x, (value) => formatValueOrZero(value, 'seconds'))}</div></div>`
}

/** A bar of a cell's median against the largest of its row. */
export function barOf({ kind, spread }: Cell, most: number): Markup {
  return html`<svg class="meter k-${kind}" aria-hidden="true"><rect class="track" width="100%" height="100%" rx="3"/><rect class="fill" width="${percent((100 * spread.median) / most)}" height="100%" rx="3"/></svg>`
}

function grid(x: Scale, y?: Scale): Markup {
  const columns = x.ticks.map((tick) => {
    const left = percent(x.at(tick))
    return html`<line class="grid" x1="${left}" x2="${left}" y1="0" y2="100%"/>`
  })
  const rows = (y?.ticks ?? []).map((tick) => {
    const top = percent(100 - (y as Scale).at(tick))
    return html`<line class="grid" x1="0" x2="100%" y1="${top}" y2="${top}"/>`
  })
  return html`${columns}${rows}`
}

function xAxis(x: Scale, say: (value: number) => string): Markup {
  return html`<div class="x-axis" aria-hidden="true">${x.ticks.map((tick) => html`<span style="left:${percent(x.at(tick))}">${say(tick)}</span>`)}</div>`
}

function yAxis(y: Scale, say: (value: number) => string): Markup {
  return html`<div class="y-axis" aria-hidden="true">${y.ticks.map((tick) => html`<span style="top:${percent(100 - y.at(tick))}">${say(tick)}</span>`)}</div>`
}

function formatValueOrZero(value: number, unit: Unit): string {
  return value <= 0 ? '0' : roundValue(value, unit)
}

/** As `formatValue`, without zeros behind the point: `0.5 s`, `10 µs`. */
function roundValue(value: number, unit: Unit): string {
  return formatValue(value, unit)
    .replace(/(\.\d*?)0+(?= )/, '$1')
    .replace(/\.(?= )/, '')
}
