// results.json in a file: always whole, whenever the bench that writes it is ended.
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError, messageOf } from '../../common/index.ts'
import { FORMAT, type Results } from './results.ts'
import { RESULTS_FILE, type ResultsFile } from './results-shape.ts'

/** Its name in the directory of a bench. */
export const RESULTS_NAME = 'results.json'

/** Replaces the results in a directory. */
export function writeResults(directory: string, results: ResultsFile): void {
  const file = join(directory, RESULTS_NAME)
  writeFileSync(`${file}.new`, `${JSON.stringify(results, undefined, 1)}\n`)
  renameSync(`${file}.new`, file)
}

/** Reads results, given their file or the directory of the bench. `LEET_E_BENCH` when they cannot be understood. */
export function readResults(path: string): Results {
  const file = isDirectory(path) ? join(path, RESULTS_NAME) : path
  const refuse = (what: string, why?: string) =>
    new LeetError({
      code: 'LEET_E_BENCH',
      what,
      where: file,
      ...(why === undefined ? {} : { why }),
      hint: `the directory of a leet bench, or its ${RESULTS_NAME}; leet bench --schema prints what is in it`,
      exitCode: 2,
    })
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw refuse('holds no results of a bench that can be read', messageOf(error))
  }
  const format = typeof value === 'object' && value !== null && 'format' in value ? value.format : undefined
  if (typeof format === 'number' && format !== FORMAT)
    throw refuse(`is of format ${format}`, `this version of LEET reads format ${FORMAT}`)
  if (RESULTS_FILE.is(value)) return value
  throw refuse('is no results.json of leet bench', RESULTS_FILE.complaint(value, ''))
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
