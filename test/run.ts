// Runs every test project, or those named, and ends with the plain line `N passed, N failed, N skipped`.
// Fast projects come first, so that a plain mistake shows within seconds. What failed is told again before the last
// line, since a log of thousands of lines is often read, and kept, from its end only.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

const PROJECTS = ['unit', 'protocol', 'guest', 'cluster', 'browser']

/** How the tests of a project went, and of each failure the file, the test and what was wrong. */
interface Outcome {
  passed: number
  failed: number
  skipped: number
  failures: string[]
}

function runProject(project: string, folder: string): Outcome {
  const report = join(folder, `${project}.json`)
  const vitest = new URL('../node_modules/vitest/vitest.mjs', import.meta.url).pathname
  const run = spawnSync(
    process.execPath,
    [
      vitest,
      'run',
      '--project',
      project,
      '--passWithNoTests',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { stdio: 'inherit' },
  )
  const outcome = readOutcome(report)
  // A run that broke outside any test, such as an error that no test waited for, is a failure too.
  if (run.status !== 0 && outcome.failed === 0) {
    outcome.failed = 1
    outcome.failures.push(`${project}: ended with status ${run.status ?? run.signal} outside any test`)
  }
  return outcome
}

/** The part of vitest's JSON report that is looked at. */
interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: {
    name: string
    status: string
    message: string
    assertionResults: { status: string; fullName: string; failureMessages: string[] | null }[]
  }[]
}

function readOutcome(path: string): Outcome {
  let report: Report
  try {
    report = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return { passed: 0, failed: 1, skipped: 0, failures: [`${path}: no report was written`] }
  }
  const failures: string[] = []
  for (const file of report.testResults) {
    const name = relative(process.cwd(), file.name)
    // A file that cannot be loaded has a message and no test.
    if (file.status === 'failed' && file.assertionResults.length === 0)
      failures.push(`${name}\n${file.message}`)
    for (const test of file.assertionResults)
      if (test.status === 'failed')
        failures.push([`${name}: ${test.fullName}`, ...(test.failureMessages ?? []).map(brief)].join('\n'))
  }
  return {
    passed: report.numPassedTests,
    failed: Math.max(report.numFailedTests, failures.length),
    skipped: report.numPendingTests + report.numTodoTests,
    failures,
  }
}

/** A failure's message without the calls inside libraries. */
function brief(message: string): string {
  return message
    .split('\n')
    .filter((line) => !/^\s+at .*(node_modules|new Promise)/.test(line))
    .join('\n')
}

const wanted = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
const sum: Outcome = { passed: 0, failed: 0, skipped: 0, failures: [] }
for (const project of wanted.length > 0 ? wanted : PROJECTS) {
  console.log(`\n== ${project}`)
  const outcome = runProject(project, folder)
  sum.passed += outcome.passed
  sum.failed += outcome.failed
  sum.skipped += outcome.skipped
  sum.failures.push(...outcome.failures)
}
rmSync(folder, { recursive: true, force: true })
if (sum.failures.length > 0) console.log(`\n== what failed\n${sum.failures.join('\n\n')}\n`)
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
process.exitCode = sum.failed > 0 ? 1 : 0
