// The report of leet bench in a real browser: light, dark, on a phone and on paper, without a network.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { reportPage } from '../../launcher/bench/report/page.ts'
import { summarise } from '../../launcher/bench/summary.ts'
import { benchResults } from '../support/bench-results.ts'
import { describeWith } from '../support/needs.ts'

const results = benchResults({ kinds: ['linux', 'osv', 'host', 'mpirun'], accelerator: 'tcg' })
const SCREEN = { width: 1280, height: 800 }
const PHONE = { width: 390, height: 844 }

describeWith(['chromium'], 'the report of leet bench in a browser', () => {
  let browser: Browser
  let folder: string
  let file: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-report-'))
    file = join(folder, 'report.html')
    writeFileSync(file, reportPage(results, summarise(results)))
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
  async function open(options: BrowserContextOptions) {
    const page = await (await browser.newContext(options)).newPage()
    const said: string[] = []
    const asked: string[] = []
    page.on('console', (message) => said.push(message.text()))
    page.on('pageerror', (error) => said.push(String(error)))
    page.on('request', (request) => asked.push(request.url()))
    await page.goto(pathToFileURL(file).href)
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
      const { page, said, asked } = await open(how)
      expect({ said, asked }).toEqual({ said: [], asked: [pathToFileURL(file).href] })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(how.viewport.width)
      expect(await faintTexts(page)).toEqual([])
      await page.context().close()
    },
  )

  it('answers in its first screen which is faster, by how much, and whether to trust it', async () => {
    const { page } = await open({ viewport: SCREEN })
    for (const [selector, text] of [
      ['.headline', 'solver is fastest on the bare host'],
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
