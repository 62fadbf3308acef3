// Two benches side by side as one HTML file, in the style of the report.
import { shellQuote } from '../../../scheduler-adapters/index.ts'
import type { BenchComparison, ComparedFigure, Side } from '../compare.ts'
import { CURVES, sizeName } from '../figures.ts'
import { KIND_NAMES, KIND_PLACES } from '../results.ts'
import { CONFIDENCE } from '../statistics.ts'
import { withMpi } from '../wording.ts'
import { html, type Markup } from './markup.ts'
import { documentPage, factorCell, factorChip, tableOf, trustPart } from './parts.ts'
import { factorCurve, factorPlot, legend, valueText } from './plots.ts'

/** The whole page. */
export function comparePage(comparison: BenchComparison): string {
  const { a, b, short, doubts, heads, figures } = comparison
  const single = figures.filter(({ size }) => size === undefined)
  return documentPage(
    'leet bench compare',
    html`<header>
<h1>B against A: which is faster?</h1>
<ul class="facts">${sideFacts('A', a)}${sideFacts('B', b)}</ul>
</header>
<div class="first">
<section class="card" aria-label="Which is faster">
<p class="headline">${short.which}</p>
<p class="how-much">${short.howMuch} <a href="#trust">${short.trust}</a></p>
${heads.length > 0 ? factorPlot(heads) : undefined}
<p class="soft">Factors are of B over A, with ${CONFIDENCE * 100} % intervals.</p>
</section>
${trustPart(doubts, `A difference counts when its ${CONFIDENCE * 100} % interval leaves ×1 out.`)}
</div>
${environmentSection(comparison)}
${single.length > 0 ? figuresSection(single) : undefined}
${curvesSection(figures)}
${restSection(comparison)}`,
  )
}

function sideFacts(name: string, { path, results }: Side): Markup {
  const { begun, environment } = results
  return html`<li><b>${name}</b> ${path}: ${environment.host}, ${begun.slice(0, 16).replace('T', ' ')} UTC</li>`
}

function environmentSection({ environment }: BenchComparison): Markup {
  const rows = environment.map(
    ({ name, a, b }) => html`<tr><th scope="row">${name}</th><td>${a}</td><td>${b}</td></tr>`,
  )
  const table = html`<table><thead><tr><th scope="col"></th><th scope="col">A</th><th scope="col">B</th></tr></thead><tbody>${rows}</tbody></table>`
  return html`<section><h2>What differs around them</h2>
<div class="card environment">${rows.length > 0 ? table : html`<p>Nothing that is known: host, processor, memory, system, kernel, hypervisor, MPI, nodes and version of LEET are the same.</p>`}</div></section>`
}

function figuresSection(figures: readonly ComparedFigure[]): Markup {
  return html`<section><h2>All figures</h2>
<figure class="card">${factorPlot(figures)}
<details><summary>Table</summary>${tableOf(
    ['', 'kind', 'A', 'B', 'B over A', 'ratio of medians', 'runs to tell it'],
    figures.map(({ name, figure, kind, a, b, comparison, medians }) => [
      name,
      KIND_NAMES[kind],
      valueText(a.spread.median, figure.unit),
      valueText(b.spread.median, figure.unit),
      factorChip(comparison, figure),
      medians ? factorCell(medians) : '–',
      comparison.needed === undefined ? '–' : String(comparison.needed),
    ]),
  )}</details></figure></section>`
}

function curvesSection(figures: readonly ComparedFigure[]): Markup {
  const curves = Object.values(CURVES).flatMap((figure) => {
    const own = figures.filter((each) => each.figure === figure)
    if (own.length === 0) return []
    const mpis = [...new Set(own.map(({ mpi }) => mpi))]
    const kinds = [...new Set(own.map(({ kind }) => kind))]
    const lines = mpis.flatMap((mpi) =>
      kinds.flatMap((kind) => {
        const points = own.flatMap((each) =>
          each.kind === kind && each.mpi === mpi && each.size !== undefined
            ? [{ ...each, size: each.size }]
            : [],
        )
        return points.length > 0 ? [{ kind, mpi, points }] : []
      }),
    )
    return [
      html`<figure class="card"><h3>${figure.title}</h3><p class="soft">B over A; ${figure.better === 'more' ? 'more' : 'less'} is better for B.</p>
${legend(kinds, mpis)}${factorCurve(figure.title, lines)}
<details><summary>Table</summary>${curveTable(own)}</details></figure>`,
    ]
  })
  if (curves.length === 0) return html``
  return html`<section class="long"><h2>MPI over message size</h2>
<p class="soft">Logarithmic axes; bands are the ${CONFIDENCE * 100} % intervals of the factors.</p>
<div class="plots three">${curves}</div></section>`
}

function curveTable(figures: readonly ComparedFigure[]): Markup {
  return tableOf(
    ['message', 'kind', 'A', 'B', 'B over A'],
    figures.map(({ figure, mpi, size = 0, kind, a, b, comparison }) => [
      withMpi(sizeName(size), mpi),
      KIND_NAMES[kind],
      valueText(a.spread.median, figure.unit),
      valueText(b.spread.median, figure.unit),
      factorChip(comparison, figure),
    ]),
  )
}

function restSection({ a, b, only }: BenchComparison): Markup {
  return html`<section class="long">
${only.length > 0 ? html`<h2>Only in one of them</h2><div class="card"><ul>${only.map(({ side, name, kind }) => html`<li>${side}: ${name} ${KIND_PLACES[kind]}</li>`)}</ul></div>` : undefined}
<h2>Commands</h2>
<div class="card">${[a, b].map(({ path, results }, index) => html`<h3>${index === 0 ? 'A' : 'B'}: ${path}</h3><pre>${results.command.map(shellQuote).join(' ')}</pre>`)}</div>
<h2>How they are compared</h2>
<div class="card"><p>The runs of B that count are compared with those of A, of the same kind, by the exact test of Mann and Whitney. The factor is the median of all quotients of a run of B and one of A, and its interval the one that belongs to the test (Hodges and Lehmann). The two were not measured in turn: what was different on the machines at their time is in the factors, too.</p></div>
</section>`
}
