// Runs every test project, or those named, and ends with the plain line `N passed, N failed, N skipped`.
// Fast projects come first, so that a plain mistake shows within seconds.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PROJECTS = ['unit', 'protocol', 'guest', 'cluster', 'browser']

interface Counts {
  passed: number
  failed: number
  skipped: number
}

function runProject(project: string, folder: string): Counts {
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
  const counts = readCounts(report)
  // A run that broke outside any test, such as a file that cannot be loaded, is a failure too.
  if (run.status !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

function readCounts(report: string): Counts {
  let text: string
  try {
    text = readFileSync(report, 'utf8')
  } catch {
    return { passed: 0, failed: 1, skipped: 0 }
  }
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(text)
  return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests }
}

const wanted = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
const sum: Counts = { passed: 0, failed: 0, skipped: 0 }
for (const project of wanted.length > 0 ? wanted : PROJECTS) {
  console.log(`\n== ${project}`)
  const counts = runProject(project, folder)
  sum.passed += counts.passed
  sum.failed += counts.failed
  sum.skipped += counts.skipped
}
rmSync(folder, { recursive: true, force: true })
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
process.exitCode = sum.failed > 0 ? 1 : 0
