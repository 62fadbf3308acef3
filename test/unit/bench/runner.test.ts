// How the runs of a bench are done: what fails is told and not tried for ever, and how long the rest will take.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { lineLog } from '../../../common/index.ts'
import { missingRuns, planRuns } from '../../../launcher/bench/plan.ts'
import type { Kind, Run } from '../../../launcher/bench/results.ts'
import { doRuns, restText } from '../../../launcher/bench/runner.ts'
import { Journal } from '../../../launcher/journal/journal.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'leet-runner-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

async function run(scripts: Partial<Record<Kind, string>>, repetitions: number, before: readonly Run[] = []) {
  const journal = await Journal.open({ jobId: 'test', root: join(directory, 'root') })
  const said: string[] = []
  const planned = planRuns({
    kinds: Object.keys(scripts) as Kind[],
    programs: [{ workload: 'program', mpi: 'openmpi' }],
    repetitions,
    warmup: 0,
    seed: 1,
  })
  try {
    const kept: number[] = []
    const runs = await doRuns(planned, before, {
      journal,
      log: lineLog((text) => said.push(text), '', false),
      directory,
      commandOf: ({ kind }) => ['sh', '-c', scripts[kind] as string],
      case: undefined,
      prepare: undefined,
      keep: ({ length }) => kept.push(length),
      signal: new AbortController().signal,
    })
    return { runs, left: missingRuns(planned, runs).length, kept, said: said.join('') }
  } finally {
    await journal.close()
  }
}

it('leaves out what failed twice and never succeeded, and says once why', async () => {
  const broken = 'echo "leet: a note" >&2; echo "no such table" >&2; exit 3'
  const { runs, left, said } = await run({ host: 'true', mpirun: broken }, 4)
  expect(left).toBe(0)
  expect(runs.filter(({ kind }) => kind === 'host')).toHaveLength(4)
  expect(runs.filter(({ kind }) => kind === 'mpirun').map(({ failure }) => failure)).toEqual(
    Array(2).fill('status 3\nno such table'),
  )
  expect(said.match(/failed, status 3/g)).toHaveLength(2)
  expect(said.match(/ {2}no such table/g)).toHaveLength(1)
  const first = runs.find(({ kind }) => kind === 'mpirun')?.number
  expect(said).toContain(join(directory, `00${first}-mpirun-program.err`))
})

it('tries again what failed after a success', async () => {
  const sometimes = `test ! -e ${directory}/was || exit 1; touch ${directory}/was`
  expect((await run({ host: sometimes }, 4)).runs).toHaveLength(4)
})

it('keeps what was done after each run, and goes on with what is missing', async () => {
  const { runs, kept } = await run({ host: 'true', mpirun: 'true' }, 2)
  expect(kept).toEqual([1, 2, 3, 4])
  const [first, , third] = runs as [Run, Run, Run, Run]
  const again = await run({ host: 'exit 1', mpirun: 'true' }, 2, [first, third])
  expect(again.kept).toEqual([3, 4])
  expect(again.runs.slice(0, 1)).toEqual([first])
  // Which kind comes first is drawn: what was missing now failed on the host, and what was kept is as it was.
  expect(again.runs.map(({ number, failure }) => [number, failure])).toEqual(
    runs.map(({ number, kind }) => [number, number % 2 === 0 && kind === 'host' ? 'status 1' : undefined]),
  )
  expect(again.runs.some(({ failure }) => failure !== undefined)).toBe(true)
})

it('tells how long the rest takes when each kind of run was done', async () => {
  const { runs } = await run({ host: 'true' }, 1)
  const done = runs.map((each) => ({ ...each, seconds: 100 }))
  const rest = (kinds: readonly Kind[]) =>
    planRuns({
      kinds,
      programs: [{ workload: 'program', mpi: 'openmpi' }],
      repetitions: 3,
      warmup: 0,
      seed: 1,
    })
  expect(restText(rest(['host']), done)).toBe('; about 5 min to go')
  expect(restText(rest(['host', 'linux']), done)).toBe('')
  expect(restText([], done)).toBe('')
})
