// A world for adapters: recorded environments, files and command output, given as values.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AdapterInputs, AllocationRequest } from '../../../scheduler-adapters/index.ts'

/** A recorded file of this folder. */
export function fixture(name: string): string {
  return readFileSync(join(import.meta.dirname, 'fixtures', name), 'utf8')
}

/** A recorded environment, `NAME=VALUE` a line. */
export function recorded(name: string): Record<string, string> {
  return Object.fromEntries(
    fixture(`${name}.env`)
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

/** A request on a host of eight CPUs called node1; files and commands are looked up in the given tables. */
export function request(
  env: AdapterInputs['env'],
  more: Partial<AllocationRequest> & {
    files?: Record<string, string>
    answers?: Record<string, string>
  } = {},
): AllocationRequest {
  const { files = {}, answers = {}, ...rest } = more
  return {
    env,
    cwd: '/home/user/case',
    hostname: 'node1',
    cpus: 8,
    now: 1_000_000,
    readFile: (path) =>
      path in files ? Promise.resolve(files[path] as string) : Promise.reject(new Error(`ENOENT: ${path}`)),
    query: (argv) => Promise.resolve(answers[argv.join(' ')]),
    ...rest,
  }
}
