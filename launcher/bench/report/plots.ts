// Plots as SVG without a script. Positions are per cents, so that a plot takes the width that there is while its text, which
// is HTML, keeps its size: the same page serves a phone, a screen and paper. Each plot has its figures in words for those
// who do not see it; the caller puts a table below.
import { type Figure, formatValue, sizeName, type Unit } from '../figures.ts'
import { KIND_NAMES, type Kind, type Span } from '../results.ts'
import type { Cell, Curve, Row } from '../summary.ts'
import { html, type Markup } from './markup.ts'
import { linearScale, logScale, type Scale } from './scale.ts'

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

/** What the marks mean. */
export function legend(kinds: readonly Kind[]): Markup {
  return html`<p class="legend">${kinds.map(kindLabel)}</p>`
}

/** A figure over message size, both on logarithmic axes: medians with a band from the least to the most. */
export function curvePlot({ figure, points }: Curve, kinds: readonly Kind[]): Markup {
  const cells = points.flatMap((each) => each.cells)
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
  const shown = kinds.filter((kind) => cells.some((cell) => cell.kind === kind))
  const lines = shown.map((kind) => {
    const own = points.flatMap(({ size, cells: all }) => {
      const cell = all.find((each) => each.kind === kind)
      return cell ? [{ size, left: x.at(size), spread: cell.spread }] : []
    })
    const top = (value: number) => point(100 - y.at(value))
    const path = (values: readonly (readonly [number, number])[]) =>
      values.map(([left, value], index) => `${index === 0 ? 'M' : 'L'}${point(left)} ${top(value)}`).join('')
    const band = [
      ...own.map(({ left, spread }) => [left, spread.most] as const),
      ...own.map(({ left, spread }) => [left, spread.least] as const).reverse(),
    ]
    const marks = own.map(
      ({ size, left, spread }) =>
        html`<svg class="mark" data-size="${size}" data-value="${spread.median}" x="${percent(left)}" y="${percent(100 - y.at(spread.median))}">${mark(kind)}<title>${KIND_NAMES[kind]}, ${sizeName(size)}: ${formatValue(spread.median, figure.unit)} (${formatValue(spread.least, figure.unit)} to ${formatValue(spread.most, figure.unit)})</title></svg>`,
    )
    return html`<g class="k-${kind}" data-kind="${kind}"><svg viewBox="0 0 100 100" preserveAspectRatio="none"><path class="band" d="${path(band)}Z"/><path class="line" d="${path(own.map(({ left, spread }) => [left, spread.median]))}"/></svg>${marks}</g>`
  })
  return html`<div class="plane curve" role="img" aria-label="${curveWords(figure, points, shown)}">
${yAxis(y, figure.unit)}
<svg class="area" aria-hidden="true">${grid(x, y)}${lines}</svg>
${xAxis(x, sizeName)}
</div>`
}

function curveWords(figure: Figure, points: Curve['points'], kinds: readonly Kind[]): string {
  const ends = points.length > 1 ? [points[0], points.at(-1)] : points
  const said = ends.map((end) => {
    const values = kinds.flatMap((kind) => {
      const cell = end?.cells.find((each) => each.kind === kind)
      return cell ? [`${KIND_NAMES[kind]} ${formatValue(cell.spread.median, figure.unit)}`] : []
    })
    return `at ${sizeName(end?.size ?? 0)}: ${values.join(', ')}`
  })
  return `Plot of ${figure.title} over message size; ${said.join('; ')}. The table below has all values.`
}

/** The runs of a figure, one row for each kind: a dot for each run, a box for the quartiles, a line for the median. */
export function stripPlot({ name, figure, cells }: Row): Markup {
  const x = linearScale(
    Math.max(...cells.map(({ spread }) => spread.most)),
    figure.unit === 'bytes' ? 'binary' : 'decimal',
  )
  const rows = cells.map(
    ({ kind, values, spread }) => html`<div class="row k-${kind}" data-kind="${kind}">
<span class="label">${kindLabel(kind)}</span>
<svg class="area" aria-hidden="true">${grid(x)}
<rect class="bar" x="0" y="38%" width="${percent(x.at(spread.median))}" height="24%"/>
<rect class="box" x="${percent(x.at(spread.lowerQuartile))}" y="20%" width="${percent(x.at(spread.upperQuartile) - x.at(spread.lowerQuartile))}" height="60%"/>
${values.map((value, index) => html`<circle class="dot${spread.outliers.includes(value) ? ' outlier' : ''}" data-value="${value}" cx="${percent(x.at(value))}" cy="${percent(30 + ((index * 37) % 41))}" r="3"><title>${formatValue(value, figure.unit)}${spread.outliers.includes(value) ? ', far from the others' : ''}</title></circle>`)}
<line class="median" x1="${percent(x.at(spread.median))}" x2="${percent(x.at(spread.median))}" y1="10%" y2="90%"/></svg>
${valueText(spread.median, figure.unit)}
</div>`,
  )
  const words = cells.map(
    ({ kind, spread }) =>
      `${KIND_NAMES[kind]} median ${formatValue(spread.median, figure.unit)}, from ${formatValue(spread.least, figure.unit)} to ${formatValue(spread.most, figure.unit)}`,
  )
  return html`<div class="strips" role="img" aria-label="Runs of ${name}: ${words.join('; ')}.">${rows}
<div class="row"><span></span>${xAxis(x, (value) => formatValueOrZero(value, figure.unit))}<span></span></div></div>`
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
        return html`<rect class="stage s-${name}" x="${percent(x.at(from))}" width="${percent(x.at(right) - x.at(from))}" y="18%" height="64%"><title>${name}: ${formatValueOrZero(to - from, 'seconds')}</title></rect>`
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

function yAxis(y: Scale, unit: Unit): Markup {
  return html`<div class="y-axis" aria-hidden="true">${y.ticks.map((tick) => html`<span style="top:${percent(100 - y.at(tick))}">${roundValue(tick, unit)}</span>`)}</div>`
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
