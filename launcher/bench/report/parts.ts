// What the pages of leet bench share: the document, how far to trust it, comparisons in words, tables.
import { digits, type Figure } from '../figures.ts'
import type { Comparison } from '../statistics.ts'
import type { Doubt } from '../summary.ts'
import { intervalText, judgement } from '../wording.ts'
import { html, Markup } from './markup.ts'
import { STYLE } from './style.ts'

/** A page that needs nothing else: no network, no script. */
export function documentPage(title: string, body: Markup): string {
  const page = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`
  return page.text
}

const VERDICTS = { better: '', worse: '', noise: ', within noise', unknown: ', too few runs' } as const

/** A factor with its interval, and whether it is for the better. */
export function factorChip(comparison: Comparison, figure: Figure): Markup {
  const verdict = judgement(comparison, figure)
  const interval = comparison.interval ? ` (${intervalText(comparison.interval)})` : ''
  return html`<data class="chip ${verdict}" value="${comparison.ratio}">×${digits(comparison.ratio)}${interval}${VERDICTS[verdict]}</data>`
}

/** How far to trust the page, and what there is to doubt. */
export function trustPart(doubts: readonly Doubt[], basis: string): Markup {
  const grave = doubts.some(({ weight }) => weight === 'grave')
  const verdict = grave ? 'Only with care.' : doubts.length > 0 ? 'Yes, within limits.' : 'Yes.'
  return html`<section class="card trust${grave ? ' grave' : ''}" id="trust" aria-label="Can this be trusted">
<h2>Can I trust it?</h2>
<p class="verdict">${verdict}</p>
<p class="soft">${basis}</p>
<ul>${doubts.map(({ weight, text }) => html`<li class="${weight}">${text}</li>`)}</ul>
</section>`
}

/** A factor with its interval. */
export function factorCell({ ratio, interval }: Pick<Comparison, 'ratio' | 'interval'>): Markup {
  const around = interval ? ` (${intervalText(interval)})` : ''
  return html`<data value="${ratio}">×${digits(ratio)}</data>${around}`
}

/** A table of numbers; the first column says of what. */
export function tableOf(head: readonly string[], rows: readonly (readonly (string | Markup)[])[]): Markup {
  const column = (index: number) => new Markup(index > 0 ? ' class="number"' : '')
  return html`<div class="scroll"><table><thead><tr>${head.map((text, index) => html`<th scope="col"${column(index)}>${text}</th>`)}</tr></thead>
<tbody>${rows.map(([first, ...cells]) => html`<tr><th scope="row">${first}</th>${cells.map((cell) => html`<td class="number">${cell}</td>`)}</tr>`)}</tbody></table></div>`
}
