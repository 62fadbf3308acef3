// Runs the phases of the tests, all or those named, and ends with the plain line `N passed, N failed, N skipped`.
// Fast phases come first, so that a plain mistake shows within seconds. What failed is told again before the last
// line, since a log of thousands of lines is often read, and kept, from its end only. A phase that takes longer than it
// may is ended with a word on what it was at, and the others still run.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runPhase } from './support/phase.ts'
import { LONG, type Outcome } from './support/record.ts'

/** The phases in their order, and how many minutes each may take: at least twice what it needs on two idle cores. */
const PHASES: Readonly<Record<string, number>> = { unit: 5, protocol: 10, guest: 22, cluster: 18, browser: 4 }
/** What takes longer than everyday tests may: `npm run test:long`. */
const LONG_PHASES: Readonly<Record<string, number>> = { protocol: 15, guest: 90, cluster: 90 }
const MINUTE_MS = 60_000
const SLOWEST = 10

const [first, ...more] = process.argv.slice(2)
const long = first === 'long'
const phases = long ? LONG_PHASES : PHASES
const words = long ? more : process.argv.slice(2)
const wanted = words.length > 0 ? words : Object.keys(phases)
const unknown = wanted.find((name) => phases[name] === undefined)
if (unknown !== undefined)
  throw new Error(`there is no phase ${unknown}, only ${Object.keys(phases).join(', ')}`)

const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url))
const outcomes: Outcome[] = []
for (const name of wanted) {
  console.log(`\n== ${name}`)
  const tags = long ? LONG : `!${LONG}`
  const argv = [process.execPath, vitest, 'run', '--project', name, '--tags-filter', tags] as const
  outcomes.push(
    await runPhase({ name, argv, limit: (phases[name] as number) * MINUTE_MS, record: join(folder, name) }),
  )
}
rmSync(folder, { recursive: true, force: true })

const slowest = outcomes
  .flatMap(({ durations }) => durations)
  .sort((a, b) => b.took - a.took)
  .slice(0, SLOWEST)
console.log(
  `\n== the slowest\n${slowest.map(({ name, took }) => `${(took / 1000).toFixed(1).padStart(7)} s  ${name}`).join('\n')}`,
)
const failures = outcomes.flatMap((outcome) => outcome.failures)
if (failures.length > 0) console.log(`\n== what failed\n${failures.join('\n\n')}\n`)
const sum = (count: 'passed' | 'failed' | 'skipped') =>
  outcomes.reduce((total, outcome) => total + outcome[count], 0)
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
process.exitCode = sum('failed') > 0 ? 1 : 0
