// The report as one HTML file that needs nothing else: no network, no script. Its first screen says which is faster, by
// how much, and whether that can be trusted.
import { formatSize } from '../../../common/index.ts'
import { shellQuote } from '../../../scheduler-adapters/index.ts'
import { CURVES, type Figure, SCALARS, sizeName } from '../figures.ts'
import { GUEST_STAGES } from '../observe.ts'
import {
  baselineOf,
  KIND_NAMES,
  type Kind,
  MPI_NAMES,
  mpisOf,
  type Results,
  type Run,
  workloadName,
} from '../results.ts'
import { CONFIDENCE, spreadOf } from '../statistics.ts'
import { type Cell, type Curve, type Row, type Summary, titleOf } from '../summary.ts'
import { baselineNames, withMpi } from '../wording.ts'
import { html, type Markup } from './markup.ts'
import { documentPage, factorCell, factorChip, tableOf, trustPart } from './parts.ts'
import {
  barOf,
  curvePlot,
  kindLabel,
  legend,
  stripPlot,
  type TimelineRow,
  timelinePlot,
  valueText,
} from './plots.ts'

/** The whole page. */
export function reportPage(results: Results, summary: Summary): string {
  const title = `leet bench: ${subjectOf(results)}`
  return documentPage(
    title,
    html`<header>
<h1>${subjectOf(results)}: which is faster?</h1>
<ul class="facts">${factsOf(results).map((fact) => html`<li>${fact}</li>`)}</ul>
</header>
<div class="first">
${answerCard(results, summary)}
${trustCard(results, summary)}
</div>
${kindsSection(results)}
${figuresSection(results, summary)}
${runsSection(results, summary)}
${timelineSection(results)}
${guestsSection(results, summary)}
${curvesSection(results, summary)}
${methodSection(results, summary)}`,
  )
}

function subjectOf({ program, ranks }: Results): string {
  const what = program
    ? program.map((word, index) => (index === 0 ? word.split('/').at(-1) : word)).join(' ')
    : 'MPI'
  return `${what}, ${ranks} rank${ranks === 1 ? '' : 's'}`
}

function factsOf(results: Results): string[] {
  const { guests, environment, begun } = results
  const accelerators = acceleratorsOf(results)
  return [
    `${begun.slice(0, 16).replace('T', ' ')} UTC`,
    environment.host,
    ...(guests > 0 ? [`${guests} guest${guests === 1 ? '' : 's'} under ${accelerators}`] : []),
    environment.processor,
    ...(environment.mpi ? [environment.mpi] : []),
  ]
}

function acceleratorsOf({ runs }: Results): string {
  const names = [...new Set(runs.flatMap(({ accelerator }) => accelerator ?? []))]
  return names.map((name) => ACCELERATORS[name] ?? name).join(' and ') || 'no accelerator that is known'
}

const ACCELERATORS: Readonly<Record<string, string>> = { kvm: 'KVM', tcg: 'TCG (emulation)' }

function answerCard(results: Results, { short, versus, heads }: Summary): Markup {
  return html`<section class="card" aria-label="Which is faster">
<p class="headline">${short.which}</p>
<p class="how-much">${short.howMuch} <a href="#trust">${short.trust}</a></p>
${versus === undefined ? undefined : html`<p>${versus}</p>`}
<div class="contest">${heads.slice(0, Math.max(3, 2 * mpisOf(results).length)).map((row) => contest(row, baselineOf(results, row.mpi)))}</div>
<p class="soft">Medians; factors are against ${baselineNames(results)}, with ${CONFIDENCE * 100} % intervals.</p>
</section>`
}

/** For those who see such a page for the first time. */
const KIND_MEANINGS: Readonly<Record<Kind, string>> = {
  linux: 'virtual machines with a small Linux that are booted for the job, which runs in them',
  osv: 'the same with OSv, a kernel that runs a program without processes, users or a shell around it',
  host: 'the same launcher, leet-mpirun, on this machine itself, without virtual machines',
  mpirun: 'on this machine itself, started by what comes with Open MPI',
  mpiexec: 'on this machine itself, started by what comes with MPICH',
}

function kindsSection(results: Results): Markup {
  const { kinds, program } = results
  const what = program
    ? 'The program, and a small benchmark of the library (MPI) by which its processes, the ranks, talk to each other'
    : 'A small benchmark of MPI, the library by which the processes of a parallel program, its ranks, talk to each other'
  return html`<section><h2>What was compared</h2>
<div class="card"><p>${what}, on:</p>
<dl>${kinds.map((kind) => html`<dt>${kindLabel(kind)}</dt><dd>${KIND_MEANINGS[kind]}</dd>`)}</dl></div></section>`
}

function contest({ name, figure, cells }: Row, baseline: Kind): Markup {
  const most = Math.max(...cells.map(({ spread }) => spread.median))
  const lines = cells.map(
    (cell) =>
      html`<div>${kindLabel(cell.kind)}${barOf(cell, most)}${valueText(cell.spread.median, figure.unit)}<span class="said">${chip(cell, figure, baseline)}</span></div>`,
  )
  return html`<h3>${name}${figure.better === 'more' ? ' (more is better)' : ''}</h3>${lines}`
}

function chip({ kind, comparison }: Cell, figure: Figure, baseline: Kind): Markup {
  if (comparison) return factorChip(comparison, figure)
  return kind === baseline ? html`<span class="chip base">baseline</span>` : html``
}

function trustCard(results: Results, { doubts, heads }: Summary): Markup {
  const counts = (heads[0]?.cells ?? []).map(({ spread }) => spread.count)
  const least = Math.min(...counts)
  const runs =
    counts.length > 0 ? `${least} counted run${least === 1 ? '' : 's'} of each kind` : 'no counted runs'
  const { warmup } = results
  const warmUp = warmup === 0 ? 'without warm-up' : `after ${warmup} warm-up round${warmup === 1 ? '' : 's'}`
  return trustPart(
    doubts,
    `${runs}, in turn, ${warmUp}. A difference counts when its ${CONFIDENCE * 100} % interval leaves ×1 out.`,
  )
}

function figuresSection(results: Results, { rows }: Summary): Markup {
  if (rows.length === 0) return html``
  const head = results.kinds.map((kind) => html`<th scope="col">${kindLabel(kind)}</th>`)
  const isSplit = rows.some(({ mpi }) => mpi !== undefined)
  // A figure has its name once, for all MPIs.
  const body = [...Map.groupBy(rows, ({ figure }) => figure)].flatMap(([figure, of]) =>
    of.map(({ mpi, cells }, index) => {
      const name =
        index > 0
          ? undefined
          : html`<th scope="rowgroup" rowspan="${of.length}">${titleOf(results, figure)}</th>`
      return html`<tr>${name}${isSplit ? html`<th scope="row">${mpi && MPI_NAMES[mpi]}</th>` : undefined}${results.kinds.map(
        (kind) => {
          const cell = cells.find((each) => each.kind === kind)
          return cell
            ? html`<td>${valueText(cell.spread.median, figure.unit)} ${chip(cell, figure, baselineOf(results, mpi))}</td>`
            : html`<td>–</td>`
        },
      )}</tr>`
    }),
  )
  return html`<section><h2>All figures</h2>
<div class="scroll card" role="region" aria-label="All figures" tabindex="0"><table class="all"><thead><tr><th scope="col">median</th>${isSplit ? html`<th scope="col">MPI</th>` : undefined}${head}</tr></thead><tbody>${body}</tbody></table></div></section>`
}

/** Times whose runs are worth looking at one by one. */
const TIMES: readonly Figure[] = [
  SCALARS.program,
  SCALARS.job,
  SCALARS.boot,
  SCALARS.start,
  SCALARS['launch-last'],
]

/** What a guest takes of the machine, whole and its share. */
const MEMORY: readonly Figure[] = [
  SCALARS['memory-ready'],
  SCALARS['memory-share-ready'],
  SCALARS['memory-peak'],
  SCALARS['memory-share-end'],
]

const IMAGE: readonly Figure[] = [SCALARS.image, SCALARS.compose]

function runsSection(results: Results, { rows }: Summary): Markup {
  const plots = runPlots(results, rows, TIMES)
  if (plots.length === 0) return html``
  return html`<section><h2>Every run</h2>
<p class="soft">A dot is a run, the box holds the middle half of them, the line is the median. A hollow dot is far from the others; it counts like any.</p>
<div class="plots">${plots}</div></section>`
}

function guestsSection(results: Results, { rows }: Summary): Markup {
  const most = Math.max(
    ...rows
      .filter(({ figure }) => MEMORY.includes(figure))
      .flatMap(({ cells }) => cells.map(({ spread }) => spread.most)),
  )
  const plots = [...runPlots(results, rows, MEMORY, most), ...runPlots(results, rows, IMAGE)]
  if (plots.length === 0) return html``
  return html`<section><h2>Memory and image of a guest</h2>
<p class="soft">Of its resident memory a guest may have pages in common with others; a page that two guests have counts half in the share of each, so that all shares add up to what guests take of the machine together. The plots of memory have the same axis.</p>
<div class="plots">${plots}</div></section>`
}

/** A plot of each of the figures that was measured; `most` is the end of an axis that they have in common. */
function runPlots(
  results: Results,
  rows: readonly Row[],
  figures: readonly Figure[],
  most?: number,
): readonly Markup[] {
  return figures.flatMap((figure) => {
    const of = rows.filter((row) => row.figure === figure)
    if (of.length === 0) return []
    const title = titleOf(results, figure)
    return [
      html`<figure class="card"><h3>${title}</h3><p class="soft">${figure.meaning}</p>${stripPlot(title, of, most)}
<details><summary>Table</summary>${spreadTable(figure, of)}</details></figure>`,
    ]
  })
}

function spreadTable(figure: Figure, rows: readonly Row[]): Markup {
  const cells = rows.flatMap(({ mpi, cells: own }) =>
    own.map((cell) => ({ ...cell, name: withMpi(KIND_NAMES[cell.kind], mpi) })),
  )
  const head = [
    '',
    'runs',
    'least',
    'lower quartile',
    'median',
    'upper quartile',
    'most',
    'far from the others',
  ]
  const compared = cells.flatMap(({ name, comparison, medians }) =>
    comparison && medians ? [{ name, comparison, medians }] : [],
  )
  return html`${tableOf(
    head,
    cells.map(({ name, spread }) => [
      name,
      html`<data value="${spread.count}">${spread.count}</data>`,
      ...[spread.least, spread.lowerQuartile, spread.median, spread.upperQuartile, spread.most].map((value) =>
        valueText(value, figure.unit),
      ),
      spread.outliers.length > 0
        ? html`${spread.outliers.map((value) => html`${valueText(value, figure.unit)} `)}`
        : '–',
    ]),
  )}${
    compared.length === 0
      ? undefined
      : tableOf(
          ['against the baseline', 'factor', 'ratio of medians', 'runs to tell it'],
          compared.map(({ name, comparison, medians }) => [
            name,
            factorCell(comparison),
            factorCell(medians),
            comparison.needed === undefined ? '–' : String(comparison.needed),
          ]),
        )
  }`
}

/** The run of a kind whose boot took as long as the median's: what is typical is shown, not the best. */
function typicalRun(results: Results, kind: Kind): Run | undefined {
  const workload = results.program ? 'program' : undefined
  const runs = results.runs.filter(
    (run) =>
      run.kind === kind &&
      run.round > 0 &&
      run.failure === undefined &&
      run.timeline.guests.length > 0 &&
      (workload === undefined || run.workload === workload),
  )
  const bootOf = ({ measurements }: Run) => measurements.find(({ metric }) => metric === 'boot')?.value ?? 0
  if (runs.length === 0) return undefined
  const { median } = spreadOf(runs.map(bootOf))
  return runs.reduce((best, run) =>
    Math.abs(bootOf(run) - median) < Math.abs(bootOf(best) - median) ? run : best,
  )
}

function timelineSection(results: Results): Markup {
  const typical = results.kinds.flatMap((kind) => {
    const run = typicalRun(results, kind)
    return run ? [{ kind, run }] : []
  })
  if (typical.length === 0) return html``
  const rows = typical.flatMap(({ kind, run }): TimelineRow[] => [
    { label: kindLabel(kind), spans: run.timeline.job, words: `${KIND_NAMES[kind]}, the job` },
    ...run.timeline.guests.map(({ stages }, index) => ({
      label: html`<span class="soft">guest ${index}</span>`,
      spans: stages,
      words: `${KIND_NAMES[kind]}, guest ${index}`,
    })),
  ])
  const begins = typical.flatMap(({ run }) =>
    run.timeline.job.filter(({ name }) => name === 'run').map(({ from }) => from),
  )
  const ends = rows.flatMap(({ spans }) =>
    spans.filter(({ name }) => name !== 'run' && name !== 'clean-up').map(({ to }) => to),
  )
  const end = Math.max(...ends, ...begins) * 1.12
  const swatches = (names: readonly string[]) =>
    names.map(
      (name) =>
        html`<span class="kind"><svg class="swatch s-${name}" aria-hidden="true"><rect width="100%" height="100%" rx="2"/></svg>${STAGE_NAMES[name] ?? name}</span>`,
    )
  const stageTable = html`<div class="scroll"><table><thead><tr><th scope="col">guest</th>${GUEST_STAGES.map((name) => html`<th scope="col" class="number">${STAGE_NAMES[name] ?? name}</th>`)}<th scope="col" class="number">ready after</th></tr></thead><tbody>${typical.flatMap(
    ({ kind, run }) =>
      run.timeline.guests.map(
        ({ stages }, index) =>
          html`<tr><th scope="row">${KIND_NAMES[kind]}, guest ${index}</th>${GUEST_STAGES.map((name) => {
            const span = stages.find((each) => each.name === name)
            return html`<td class="number">${span ? valueText(span.to - span.from, 'seconds') : '–'}</td>`
          })}<td class="number">${valueText(stages.at(-1)?.to ?? 0, 'seconds')}</td></tr>`,
      ),
  )}</tbody></table></div>`
  return html`<section><h2>Boot of each guest</h2>
<p class="soft">The run with the median boot of each kind, from the start of its command.</p>
<figure class="card">
<p class="legend">job: ${swatches(['start', 'image', 'boot', 'launch', 'run'])}</p>
<p class="legend">guest: ${swatches(GUEST_STAGES)}</p>
${timelinePlot(rows, end)}
<details><summary>Table</summary>${stageTable}</details></figure></section>`
}

const STAGE_NAMES: Readonly<Record<string, string>> = {
  hypervisor: 'QEMU starts',
  kernel: 'kernel boots',
  'set-up': 'guest sets itself up',
  control: 'ready to be asked',
  start: 'leet-mpirun starts',
}

function curvesSection(results: Results, { curves }: Summary): Markup {
  if (curves.length === 0) return html``
  return html`<section class="long"><h2>MPI over message size</h2>
<p class="soft">Logarithmic axes; lines are medians of the rounds, bands reach from the least to the most.</p>
<div class="plots three">${[...Map.groupBy(curves, ({ figure }) => figure)].map(([figure, of]) => {
    const kinds = results.kinds.filter((kind) =>
      of.some(({ points }) => points.some(({ cells }) => cells.some((cell) => cell.kind === kind))),
    )
    return html`<figure class="card"><h3>${figure.title}${figure.better === 'more' ? ' (more is better)' : ''}</h3><p class="soft">${figure.meaning}</p>
${legend(
  kinds,
  of.map(({ mpi }) => mpi),
)}${curvePlot(of, kinds)}
<details><summary>Table</summary>${curveTable(results, of, kinds)}</details></figure>`
  })}</div></section>`
}

/** A line for each message size, and MPI if there are several: they stand below each other. */
function curveTable(results: Results, curves: readonly Curve[], kinds: readonly Kind[]): Markup {
  const lines = curves
    .flatMap(({ mpi, figure, points }) => points.map(({ size, cells }) => ({ mpi, figure, size, cells })))
    .sort((a, b) => a.size - b.size)
  const isSplit = lines.some(({ mpi }) => mpi !== undefined)
  const head = kinds.map((kind) => html`<th scope="col">${KIND_NAMES[kind]}</th>`)
  return html`<div class="scroll"><table><thead><tr><th scope="col">message</th>${isSplit ? html`<th scope="col">MPI</th>` : undefined}${head}</tr></thead><tbody>${lines.map(
    ({ mpi, figure, size, cells }) =>
      html`<tr><th scope="row">${sizeName(size)}</th>${mpi && html`<td>${MPI_NAMES[mpi]}</td>`}${kinds.map(
        (kind) => {
          const cell = cells.find((each) => each.kind === kind)
          const baseline = baselineOf(results, mpi)
          return cell
            ? html`<td>${valueText(cell.spread.median, figure.unit)} ${cell.kind === baseline ? undefined : chip(cell, figure, baseline)}</td>`
            : html`<td>–</td>`
        },
      )}</tr>`,
  )}</tbody></table></div>`
}

function methodSection(results: Results, { rows, answers }: Summary): Markup {
  const { environment: where, repetitions, warmup, runs } = results
  const facts: [string, string | undefined][] = [
    ['machine', `${where.host}: ${where.cpus} × ${where.processor}, ${formatSize(where.memory)}`],
    ['system', `${where.system}, Linux ${where.kernel}`],
    ['guests', results.guests > 0 ? `${results.guests} of each kind, ${acceleratorsOf(results)}` : 'none'],
    ['hypervisor', where.qemu],
    ['MPI', where.mpi],
    ['nodes', `${where.nodes.join(', ')} (${where.scheduler})`],
    ['load', `${where.load[0].toFixed(2)} before, ${where.load[1].toFixed(2)} after`],
    ['LEET', where.leet],
    ['measured', `${results.begun} to ${results.ended}`],
  ]
  const commands = results.kinds.flatMap((kind) => {
    const own = runs.filter((run) => run.kind === kind)
    return [...Map.groupBy(own, workloadName)].map(([name, [run]]) => {
      const where =
        run?.workload === 'program' && results.case !== undefined
          ? `, in a fresh copy of ${results.case}`
          : ''
      return html`<h3>${KIND_NAMES[kind]}, ${name}${where}</h3><pre>${(run?.command ?? []).map(shellQuote).join(' ')}</pre>`
    })
  })
  const failures = runs.filter(({ failure }) => failure !== undefined)
  const meanings = new Set([...rows.map(({ figure }) => figure), ...Object.values(CURVES)])
  return html`<section class="long"><h2>How it was measured</h2>
<div class="card">
<p>${repetitions} round${repetitions === 1 ? '' : 's'} that count after ${warmup} of warm-up. In each round every kind runs every program once, one after the other. In which order is drawn at random${results.seed === undefined ? '' : ` (--seed ${results.seed} draws the same)`}, and turned and mirrored from round to round, so that the runs of all kinds are interleaved and what changes on the machine over time changes for all alike.</p>
<p>Whether a difference is more than noise is decided by the exact test of Mann and Whitney; the factor is the median of all quotients of two runs, and its interval the one that belongs to the test (Hodges and Lehmann). It takes at least 4 runs of each kind to tell any difference at ${CONFIDENCE * 100} %. The tables below the plots also have the ratio of the medians, with its bootstrap interval (percentiles of 2,000 resamples, always the same), which decides nothing; and, for what is within noise, how many runs of each would tell a difference as large as the one measured in four of five benches.</p>
<ul>${answers.map((answer) => html`<li>${answer}</li>`)}</ul>
</div>
<h2>What the figures mean</h2>
<div class="card"><dl>${[...meanings].map((figure) => html`<dt>${titleOf(results, figure)}</dt><dd>${figure.meaning}</dd>`)}</dl></div>
<h2>Environment</h2>
<div class="card"><dl>${facts.flatMap(([name, text]) => (text === undefined ? [] : [html`<dt>${name}</dt><dd>${text}</dd>`]))}</dl></div>
<h2>Commands</h2>
<div class="card"><h3>This bench</h3><pre>${results.command.map(shellQuote).join(' ')}</pre>
${commands}</div>
${failures.length > 0 ? html`<h2>Runs that failed</h2><div class="card">${failures.map(({ number, kind, workload, mpi, failure }) => html`<h3>Run ${number}: ${workloadName({ workload, mpi })} on ${KIND_NAMES[kind]}</h3><pre>${failure}</pre>`)}</div>` : undefined}
</section>`
}
