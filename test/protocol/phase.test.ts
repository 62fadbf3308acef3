// The phases of a test run: a hanging one ends at its limit, says what it was at, and leaves no process.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { identify } from '../../common/index.ts'
import { runPhase } from '../support/phase.ts'
import type { Entry } from '../support/record.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-phase-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const entry = (one: Entry) => `echo '${JSON.stringify(one)}' >>"$LEET_TEST_RECORD"`
const started = (name: string) => entry({ kind: 'started', name })
const ended = (name: string, state: 'passed' | 'failed', ...errors: string[]) =>
  entry({ kind: 'ended', name, state, took: 1, errors })
const run = (limit: number, ...script: string[]) => {
  const record = join(folder, 'record')
  return runPhase({ name: 'trial', argv: ['sh', '-c', script.join('\n')], limit, record })
}

it('ends a phase at its limit, with the processes that left its session, and keeps what it had found', async () => {
  const said = vi.spyOn(console, 'log').mockImplementation(() => {})
  const daemon = join(folder, 'daemon')
  const outcome = await run(
    2000,
    started('a'),
    ended('a', 'passed'),
    started('b'),
    `setsid sh -c 'echo $$ >${daemon}; exec sleep 1000' &`,
    'sleep 1000',
  )
  const text = said.mock.calls.flat().join('\n')
  said.mockRestore()
  expect(outcome).toMatchObject({ passed: 1, failed: 1, running: ['b'] })
  expect(outcome.failures).toEqual([expect.stringMatching(/^trial: did not end .*it was at\n {2}b$/s)])
  expect(text).toContain('sleep 1000')
  expect(text).toMatch(/sockets of net:/)
  expect(identify(Number(readFileSync(daemon, 'utf8')))).toBeUndefined()
})

it('tells failures once, also one outside any test', async () => {
  expect(await run(60_000, ended('a', 'failed', 'why'), 'exit 1')).toMatchObject({
    failed: 1,
    failures: ['a\nwhy'],
  })
  rmSync(join(folder, 'record'))
  expect(await run(60_000, ended('a', 'passed'), 'exit 3')).toMatchObject({
    passed: 1,
    failures: ['trial: ended with status 3 outside any test'],
  })
})
