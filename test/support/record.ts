// The record of a test run: a line of JSON for each test, hook and failure as it happens, so that what a run was at is
// known even when the run has to be killed. Written by a reporter of vitest, read by test/run.ts.
import { appendFileSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { SerializedError } from 'vitest'
import type { ReportedHookContext, Reporter, TestCase, TestModule, TestSuite } from 'vitest/node'

/** The variable that names the file of a run's record. */
export const RECORD = 'LEET_TEST_RECORD'

/** The tag of tests that are not part of `npm test`. */
export const LONG = 'long'

/** One line of a record. `name` is a test's full name, or what else failed. */
export type Entry =
  | { readonly kind: 'started'; readonly name: string }
  | { readonly kind: 'hook ended'; readonly name: string }
  | {
      readonly kind: 'ended'
      readonly name: string
      readonly state: 'passed' | 'failed' | 'skipped'
      /** Milliseconds. */
      readonly took: number
      readonly errors: readonly string[]
    }
  /** What failed outside any test: a file that cannot be loaded, a hook of a suite, an error that nobody waited for. */
  | { readonly kind: 'failed'; readonly name: string; readonly errors: readonly string[] }

/** How the tests of a record went. */
export interface Outcome {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** The name of each failure and what was wrong, a text of several lines. */
  readonly failures: readonly string[]
  /** What had begun and not ended. */
  readonly running: readonly string[]
  readonly durations: readonly { readonly name: string; readonly took: number }[]
}

/** A reporter that writes the record. */
export function recorder(file: string): Reporter {
  // Tests that the run's filter of tags leaves out are skipped to vitest; here they are no part of the run.
  let filtered: (test: TestCase) => boolean = () => false
  const write = (entry: Entry) => appendFileSync(file, `${JSON.stringify(entry)}\n`)
  const fileOf = (module: TestModule) => relative(process.cwd(), module.moduleId)
  const nameOf = (test: TestCase | TestSuite) => `${fileOf(test.module)}: ${test.fullName}`
  const failure = (name: string, errors: readonly SerializedError[]) => {
    if (errors.length > 0) write({ kind: 'failed', name, errors: errors.map(messageOf) })
  }
  const hookName = ({ name, entity }: ReportedHookContext) =>
    `${name} of ${entity.type === 'module' ? fileOf(entity) : nameOf(entity)}`
  return {
    onInit({ config }) {
      const wanted = config.tagsFilter?.includes(LONG)
      const unwanted = config.tagsFilter?.includes(`!${LONG}`)
      filtered = ({ tags }) => (tags.includes(LONG) ? unwanted === true : wanted === true)
    },
    onTestCaseReady(test) {
      if (!filtered(test)) write({ kind: 'started', name: nameOf(test) })
    },
    onTestCaseResult(test) {
      if (filtered(test)) return
      const { state, errors = [] } = test.result()
      const took = test.diagnostic()?.duration ?? 0
      write({
        kind: 'ended',
        name: nameOf(test),
        state: state === 'pending' ? 'failed' : state,
        took,
        errors: errors.map(messageOf),
      })
    },
    onHookStart: (hook) => write({ kind: 'started', name: hookName(hook) }),
    // A hook's failure is told by its suite, file or test.
    onHookEnd: (hook) => write({ kind: 'hook ended', name: hookName(hook) }),
    onTestSuiteResult: (suite) => failure(nameOf(suite), suite.errors()),
    onTestModuleEnd: (module) => failure(fileOf(module), module.errors()),
    onTestRunEnd: (_modules, errors) => failure('outside any test', errors),
  }
}

/** An error's text without the calls inside libraries. */
function messageOf({ name = 'Error', message, stack = '' }: SerializedError): string {
  const calls = stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line) && !/node_modules|new Promise/.test(line))
  return [`${name}: ${message}`, ...calls].join('\n')
}

/** Reads a record, also one whose last line is not whole because its writer was killed. */
export function readRecord(text: string): Outcome {
  const running = new Set<string>()
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const failures: string[] = []
  const durations: { name: string; took: number }[] = []
  for (const line of text.split('\n').slice(0, -1)) {
    const entry: Entry = JSON.parse(line)
    if (entry.kind === 'started') running.add(entry.name)
    else running.delete(entry.name)
    if (entry.kind === 'ended') {
      counts[entry.state] += 1
      durations.push({ name: entry.name, took: entry.took })
    }
    if (entry.kind === 'failed') counts.failed += 1
    if ('errors' in entry && entry.errors.length > 0) failures.push([entry.name, ...entry.errors].join('\n'))
  }
  return { ...counts, failures, running: [...running], durations }
}

/** Reads a record's file; a run that wrote none has an empty one. */
export function readRecordFile(file: string): Outcome {
  try {
    return readRecord(readFileSync(file, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return readRecord('')
    throw error
  }
}
