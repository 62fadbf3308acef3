// The report of leet bench in a real browser: light, dark, on a phone and on paper, without a network.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseSize } from '../../common/index.ts'
import { type BenchComparison, compareBenches, comparisonJson } from '../../launcher/bench/compare.ts'
import { CURVES, formatValue, SCALARS, type Unit } from '../../launcher/bench/figures.ts'
import { comparePage } from '../../launcher/bench/report/compare-page.ts'
import { reportPage } from '../../launcher/bench/report/page.ts'
import {
  KIND_NAMES,
  type Kind,
  type Results,
  type Run,
  type ScalarName,
} from '../../launcher/bench/results.ts'
import { readResults, writeResults } from '../../launcher/bench/results-file.ts'
import { medianOf, spreadOf } from '../../launcher/bench/statistics.ts'
import { summarise } from '../../launcher/bench/summary.ts'
import { benchResults } from '../support/bench-results.ts'
import { describeWith } from '../support/needs.ts'

/** Far from all other runs of the program. */
const FAR = 2.75
const kinds = ['linux', 'osv', 'host', 'mpirun'] as const
const results = spoilt(benchResults({ kinds, accelerator: 'tcg', repetitions: 6 }))
/** Without a program, of two MPIs. */
const both = benchResults({
  kinds: ['linux', 'osv', 'host', 'mpirun', 'mpiexec'],
  program: undefined,
  mpis: ['openmpi', 'mpich'],
})
const other = benchResults({ kinds, seconds: { linux: 1.5, host: 1.001 } })
const SCREEN = { width: 1280, height: 800 }
const PHONE = { width: 390, height: 844 }

describeWith(['chromium'], 'the report of leet bench in a browser', () => {
  let browser: Browser
  let folder: string
  let file: string
  let compared: string
  let split: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-report-'))
    file = join(folder, 'report.html')
    compared = join(folder, 'compare.html')
    const summary = summarise(results)
    writeResults(folder, { ...results, summary })
    writeFileSync(file, reportPage(results, summary))
    writeFileSync(compared, comparePage(comparison()))
    split = join(folder, 'both.html')
    writeFileSync(split, reportPage(both, summarise(both)))
    browser = await chromium.launch({
      executablePath: execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim(),
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    })
  })

  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Opens the report; whatever the page complains of or asks for is collected. */
  async function open(options: BrowserContextOptions, shown = file) {
    const page = await (await browser.newContext(options)).newPage()
    const said: string[] = []
    const asked: string[] = []
    page.on('console', (message) => said.push(message.text()))
    page.on('pageerror', (error) => said.push(String(error)))
    page.on('request', (request) => asked.push(request.url()))
    await page.goto(pathToFileURL(shown).href)
    return { page, said, asked }
  }

  it.each([
    ['on a screen', { viewport: SCREEN }],
    ['on a dark screen', { viewport: SCREEN, colorScheme: 'dark' }],
    ['on a phone', { viewport: PHONE }],
    ['on a small phone', { viewport: { width: 320, height: 600 }, colorScheme: 'dark' }],
  ] as const)(
    'is whole %s: nothing is asked for, nothing complained of, nothing sticks out',
    async (_, how) => {
      for (const shown of [file, compared, split]) {
        const { page, said, asked } = await open(how, shown)
        expect({ said, asked }).toEqual({ said: [], asked: [pathToFileURL(shown).href] })
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(how.viewport.width)
        expect(await faintTexts(page)).toEqual([])
        await page.context().close()
      }
    },
  )

  it('answers in its first screen which is faster, by how much, and whether to trust it', async () => {
    const { page } = await open({ viewport: SCREEN })
    for (const [selector, text] of [
      ['.headline', 'solver is fastest on the bare host'],
      ['.how-much', 'in Linux guests it takes 2.'],
      ['.how-much', 'Trust it only with care'],
      ['.contest .chip.worse', '×2.'],
      ['.trust .verdict', 'Only with care.'],
      ['.trust li.grave', 'emulated (TCG)'],
    ] as const) {
      const part = page.locator(selector).first()
      expect(await part.textContent()).toContain(text)
      const box = await part.boundingBox()
      expect((box?.y ?? Infinity) + (box?.height ?? 0), selector).toBeLessThan(SCREEN.height)
    }
    await page.context().close()
  })

  it('says in words and in a table below what each plot shows', async () => {
    const { page } = await open({ viewport: SCREEN })
    const plots = await page.locator('figure').all()
    expect(plots.length).toBeGreaterThan(7)
    for (const plot of plots) {
      expect(await plot.locator('[role=img]').getAttribute('aria-label')).toMatch(/Linux guests/)
      expect(await plot.locator('table tbody tr').count()).toBeGreaterThan(0)
    }
    await page.context().close()
  })

  it('has the figures of results.json in its tables', async () => {
    const { page } = await open({ viewport: SCREEN })
    const { runs } = readResults(folder)
    const seen = (await page.evaluate(`(() => {
      const valueOf = (element) => element && [Number(element.value), element.textContent]
      const rows = (table) => [...table.tBodies[0].rows].map(({ cells }) =>
        [...cells].map((cell) => [cell.textContent, valueOf(cell.querySelector('data'))]))
      const plots = [...document.querySelectorAll('figure')].map((figure) =>
        [figure.querySelector('h3')?.textContent, rows(figure.querySelector('table'))])
      return { all: rows(document.querySelector('[aria-label="All figures"] table')), plots }
    })()`)) as { all: Cell[][]; plots: [string | undefined, Cell[][]][] }

    const metrics = new Map(Object.entries(SCALARS).map(([metric, { title }]) => [title, metric]))
    metrics.set('solver', 'program')
    const unitOf = (metric: string) => ({ ...SCALARS, ...CURVES })[metric as ScalarName]?.unit as Unit
    const shown = (metric: string, value: number): Cell[1] => [value, formatValue(value, unitOf(metric))]
    let checked = 0
    for (const [[title], ...cells] of seen.all as [Cell, ...Cell[]][]) {
      const metric = metrics.get(title) as string
      for (const [index, [, value]] of cells.entries()) {
        const values = valuesOf(runs, kinds[index] as Kind, metric)
        expect(value, `${title} ${kinds[index]}`).toEqual(
          values.length > 0 ? shown(metric, medianOf(values)) : null,
        )
        checked++
      }
    }
    expect(checked).toBe(kinds.length * 10)

    const names = new Map<string, Kind>(
      Object.entries(KIND_NAMES).map(([kind, name]) => [name, kind as Kind]),
    )
    for (const [title = '', rows] of seen.plots) {
      const metric = metrics.get(title)
      const curve = Object.keys(CURVES).find((name) => title.startsWith(name))
      for (const [[head], ...cells] of rows as [Cell, ...Cell[]][]) {
        const numbers = cells.map(([, value]) => value)
        if (metric) {
          const spread = spreadOf(valuesOf(runs, names.get(head) as Kind, metric))
          const { count, least, lowerQuartile, median, upperQuartile, most, outliers } = spread
          const parts = [least, lowerQuartile, median, upperQuartile, most, ...outliers]
          expect(numbers.filter(Boolean)).toEqual([
            [count, String(count)],
            ...parts.map((value) => shown(metric, value)),
          ])
        } else if (curve) {
          const size = parseSize(head.replace(/ |iB|B/g, ''), 'a table')
          const medians = kinds.map((kind) => shown(curve, medianOf(valuesOf(runs, kind, curve, size))))
          expect(numbers).toEqual(medians)
        }
        checked++
      }
    }
    expect(seen.plots.filter(([title = '']) => metrics.has(title))).toHaveLength(10)
    expect(checked).toBeGreaterThan(28 + 3 * 19)
    await page.context().close()
  })

  it('draws what results.json has, each mark where its value is', async () => {
    const { page } = await open({ viewport: SCREEN })
    const { runs } = readResults(folder)
    const plots = (await page.evaluate(`[...document.querySelectorAll('figure')].map((figure) => ({
      title: figure.querySelector('h3')?.textContent ?? '',
      dots: [...figure.querySelectorAll('.dot')].map((dot) => {
        const [own, area] = [dot, dot.closest('.area')].map((element) => element.getBoundingClientRect())
        return { kind: dot.closest('[data-kind]').dataset.kind, value: Number(dot.dataset.value),
          at: (own.x + own.width / 2 - area.x) / area.width, isFar: dot.classList.contains('outlier') }
      }),
      marks: [...figure.querySelectorAll('.plane .mark')].map((mark) => ({
        kind: mark.closest('[data-kind]').dataset.kind, size: Number(mark.dataset.size),
        value: Number(mark.dataset.value), x: mark.x.baseVal.value, y: mark.y.baseVal.value })),
      bars: [...figure.querySelectorAll('.stage')].map((bar) => ({ from: Number(bar.dataset.from),
        to: Number(bar.dataset.to), x: bar.x.baseVal.value, width: bar.width.baseVal.value })),
    }))`)) as Drawn[]

    const strips = plots.filter(({ dots }) => dots.length > 0)
    expect(strips).toHaveLength(10)
    for (const { title, dots } of strips) {
      const metric = title === 'solver' ? 'program' : metricOf(title)
      for (const kind of kinds) {
        const drawn = dots.filter((dot) => dot.kind === kind).map(({ value }) => value)
        expect(drawn, `${title} ${kind}`).toEqual(valuesOf(runs, kind, metric))
      }
      // A linear axis from 0.
      const scale = (dots[0] as (typeof dots)[0]).at / (dots[0] as (typeof dots)[0]).value
      for (const { value, at } of dots) expect(at / (value * scale)).toBeCloseTo(1, 2)
    }
    expect(
      strips
        .flatMap(({ dots }) => dots)
        .filter(({ isFar }) => isFar)
        .map(({ value }) => value),
    ).toContain(FAR)

    const curves = plots.filter(({ marks }) => marks.length > 0)
    expect(curves).toHaveLength(3)
    for (const { title, marks } of curves) {
      for (const { kind, size, value } of marks)
        expect(value).toBe(medianOf(valuesOf(runs, kind, title.split(' ')[0] as string, size)))
      const [xs, ys] = [marks.map(({ size, x }) => [size, x]), marks.map(({ value, y }) => [value, y])]
      expect(offTheLine(xs as [number, number][])).toBeLessThan(0.5)
      expect(offTheLine(ys as [number, number][])).toBeLessThan(0.5)
    }

    const timeline = plots.find(({ bars }) => bars.length > 0) as Drawn
    const spans = runs.flatMap(({ timeline: { job, guests } }) => [
      ...job,
      ...guests.flatMap(({ stages }) => stages),
    ])
    const { from, to, width } = timeline.bars[0] as Drawn['bars'][0]
    for (const bar of timeline.bars) {
      expect(spans.some((span) => span.from === bar.from && span.to === bar.to)).toBe(true)
      expect(bar.x).toBeCloseTo((bar.from * width) / (to - from), 1)
    }
    await page.context().close()
  })

  it('tells MPIs apart: each figure is of its own, and lines and marks look otherwise', async () => {
    const { page } = await open({ viewport: SCREEN }, split)
    const { dots, marks, rows } = (await page.evaluate(`(() => {
      const drawn = (selector) => [...document.querySelectorAll(selector)].map((mark) => {
        const { kind, mpi } = mark.closest('[data-kind]').dataset
        return { title: mark.closest('figure').querySelector('h3').textContent, kind, mpi,
          size: Number(mark.dataset.size), value: Number(mark.dataset.value),
          fill: getComputedStyle(mark).fill,
          dash: getComputedStyle(mark.closest('[data-kind]').querySelector('.line') ?? mark).strokeDasharray }
      })
      const rows = [...document.querySelectorAll('figure:has(.plane) tbody tr')].map((row) => ({
        title: row.closest('figure').querySelector('h3').textContent, size: row.cells[0].textContent,
        mpi: row.cells[1].textContent, values: [...row.cells].slice(2).map((cell) => cell.querySelector('data')?.value) }))
      return { dots: drawn('.dot'), marks: drawn('.plane .mark'), rows }
    })()`)) as { dots: SplitMark[]; marks: SplitMark[]; rows: SplitRow[] }

    const ofMpi = (mpi: string) => both.runs.filter((run) => run.mpi === mpi)
    const pairs = both.kinds.flatMap((kind) => (['openmpi', 'mpich'] as const).map((mpi) => ({ kind, mpi })))
    for (const { kind, mpi } of pairs) {
      const own = dots.filter(
        (dot) => dot.title === SCALARS.start.title && dot.kind === kind && dot.mpi === mpi,
      )
      expect(own.map(({ value }) => value)).toEqual(valuesOf(ofMpi(mpi), kind, 'start'))
    }
    for (const { title, kind, mpi, size, value } of marks)
      expect(value).toBe(medianOf(valuesOf(ofMpi(mpi), kind, title.split(' ')[0] as string, size)))
    expect(new Set(marks.map(({ kind, mpi }) => `${kind} ${mpi}`)).size).toBe(8)
    // Solid and filled against dashed and hollow, whatever the kind.
    const looks = (mpi: string) => marks.filter((each) => each.mpi === mpi)
    expect(new Set(looks('openmpi').map(({ dash }) => dash))).toEqual(new Set(['none']))
    expect(looks('mpich').every(({ dash }) => dash !== 'none')).toBe(true)
    expect(new Set(looks('openmpi').map(({ fill }) => fill)).size).toBe(4)
    expect(new Set(looks('mpich').map(({ fill }) => fill)).size).toBe(1)

    expect(rows.length).toBeGreaterThan(2 * 19 * 3)
    for (const { title, size, mpi, values } of rows) {
      const bytes = parseSize(size.replace(/ |iB|B/g, ''), 'a table')
      const runs = ofMpi(mpi === 'MPICH' ? 'mpich' : 'openmpi')
      const medians = both.kinds.map((kind) => {
        const own = valuesOf(runs, kind, title.split(' ')[0] as string, bytes)
        return own.length > 0 ? String(medianOf(own)) : undefined
      })
      expect(values.map((value) => value ?? undefined)).toEqual(medians)
    }
    await page.context().close()
  })

  it('has two benches side by side with the figures of both', async () => {
    const { page } = await open({ viewport: SCREEN }, compared)
    const { figures } = JSON.parse(JSON.stringify(comparisonJson(comparison()))) as Pick<
      BenchComparison,
      'figures'
    >
    const rows = (await page.evaluate(`[...document.querySelectorAll('figure table tbody tr')].map((row) =>
      [...row.querySelectorAll('data')].slice(0, 3).map(({ value }) => Number(value)))`)) as number[][]
    expect(rows).toEqual(
      figures.map(({ a, b, comparison: { ratio } }) => [a.spread.median, b.spread.median, ratio]),
    )
    const marks = (await page.evaluate(
      `[...document.querySelectorAll('figure .mark')].map(({ dataset }) => Number(dataset.value)).sort()`,
    )) as number[]
    expect(marks).toEqual(figures.map(({ comparison: { ratio } }) => ratio).sort())
    expect(await page.locator('.headline').textContent()).toContain(
      'solver is faster in B than in A in Linux guests',
    )
    await page.context().close()
  })

  it('has all tables and light colours on paper', async () => {
    const { page } = await open({ viewport: SCREEN, colorScheme: 'dark' })
    await page.emulateMedia({ media: 'print' })
    for (const table of await page.locator('details table').all())
      expect((await table.boundingBox())?.height).toBeGreaterThan(20)
    // A4 without its margins. What sticks out of a card would be cut off or cover the next one.
    await page.setViewportSize({ width: 688, height: 1017 })
    const outside = await page.evaluate(`[...document.querySelectorAll('.card table')]
      .filter((table) => table.getBoundingClientRect().right > table.closest('.card').getBoundingClientRect().right)
      .map((table) => table.closest('.card').innerText.split('\\n')[0])`)
    expect(outside).toEqual([])
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)')
    expect(await faintTexts(page)).toEqual([])
    const pdf = await page.pdf({ format: 'A4', printBackground: true })
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-')
    await page.context().close()
  })
})

/** Of a table: its text, and the value and text of its first figure. */
type Cell = [string, [number, string] | null]

/** A mark of a report about several MPIs. */
interface SplitMark {
  readonly title: string
  readonly kind: Kind
  readonly mpi: string
  readonly size: number
  readonly value: number
  readonly fill: string
  readonly dash: string
}

interface SplitRow {
  readonly title: string
  readonly size: string
  readonly mpi: string
  readonly values: readonly (string | null)[]
}

interface Drawn {
  readonly title: string
  readonly dots: readonly {
    readonly kind: Kind
    readonly value: number
    readonly at: number
    readonly isFar: boolean
  }[]
  readonly marks: readonly {
    readonly kind: Kind
    readonly size: number
    readonly value: number
    readonly x: number
    readonly y: number
  }[]
  readonly bars: readonly {
    readonly from: number
    readonly to: number
    readonly x: number
    readonly width: number
  }[]
}

/** With one run that is far from the others. */
function spoilt(usual: Results): Results {
  const run = usual.runs.findLast(({ kind, workload }) => kind === 'linux' && workload === 'program')
  const measurements = (run?.measurements ?? []).map((each) =>
    each.metric === 'program' ? { ...each, value: FAR } : each,
  )
  return { ...usual, runs: usual.runs.map((each) => (each === run ? { ...each, measurements } : each)) }
}

function comparison(): BenchComparison {
  return compareBenches({ path: 'old', results }, { path: 'new', results: other })
}

function metricOf(title: string): string {
  return Object.entries(SCALARS).find(([, figure]) => figure.title === title)?.[0] as string
}

/** What was measured in the runs that count. */
function valuesOf(runs: readonly Run[], kind: Kind, metric: string, size?: number): number[] {
  return runs
    .filter((run) => run.kind === kind && run.round > 0 && run.failure === undefined)
    .flatMap(({ measurements }) => measurements)
    .filter((each) => each.metric === metric && each.size === size)
    .map(({ value }) => value)
}

/** How far, in pixels, marks are at most from where a logarithmic axis through its two ends has them. */
function offTheLine(marks: readonly [number, number][]): number {
  const sorted = marks.map(([value, at]) => [Math.log(value), at] as const).sort(([a], [b]) => a - b)
  const [[from, first], [to, last]] = [sorted[0], sorted.at(-1)] as [[number, number], [number, number]]
  return Math.max(
    ...sorted.map(([log, at]) => Math.abs(at - first - ((last - first) * (log - from)) / (to - from))),
  )
}

/** Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3). */
function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number)
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = rgb(getComputedStyle(at).backgroundColor)
        if (color.length === 3 || color[3] === 1) return color
      }
      return [255, 255, 255]
    }
    const faint = []
    for (const element of document.querySelectorAll('main *')) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
      if (!own || element.closest('svg')) continue
      const [a, b] = [luminance(rgb(getComputedStyle(element).color)), luminance(behind(element))]
      if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) faint.push(element.className + ': ' + element.textContent)
    }
    return faint
  })()`)
}
