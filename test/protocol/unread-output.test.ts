// A reader that stops reading does not keep a job whose end has come; one that is only slow has all that ranks wrote.
import { execFileSync, spawn } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ChildEnd, Deadline, endOf, pause, poll, processorUse } from '../../common/index.ts'
import { BIN, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { buildPrograms } from './programs/build.ts'

describe('a job whose output nobody reads', () => {
  let place: Playground
  let fifo: number
  beforeAll(() => {
    place = playground()
  })
  beforeEach(() => {
    const path = join(place.directory, 'fifo')
    execFileSync('sh', ['-c', 'rm -f "$0" && mkfifo "$0"', path])
    // Its one reader, which never reads.
    fifo = openSync(path, constants.O_RDWR)
  })
  afterEach(() => {
    closeSync(fifo)
    expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
  })
  afterAll(() => place.remove())

  function start(...argv: string[]): { readonly end: Promise<ChildEnd>; kill(signal: NodeJS.Signals): void } {
    const child = spawn(join(BIN, 'leet-mpirun'), ['--guest', 'host', ...argv], {
      cwd: place.directory,
      env: { ...process.env, ...place.env },
      stdio: ['ignore', fifo, 'ignore'],
    })
    return { end: endOf(child), kill: (signal) => child.kill(signal) }
  }

  /** Resolves once the ranks wait for somebody to read on. */
  async function full(): Promise<void> {
    const commandOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0', 1)[0]
    const yes = () => place.processes().filter((pid) => commandOf(pid)?.endsWith('yes'))
    const waits = () => {
      const pids = yes()
      return pids.length === 2 && pids.every((pid) => processorUse(pid)?.active === false) ? true : undefined
    }
    // Twice in a row: between two writes they wait for a moment, too.
    const twice = () => (waits() && waits() ? true : undefined)
    await poll(twice, 50, { deadline: Deadline.after(60_000) }, { what: 'the ranks to fill the pipe' })
  }

  it('ends by its time limit', async () => {
    expect(await start('-n', '2', '--timeout', '3', 'yes').end).toEqual({ kind: 'exit', status: 124 })
  })

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends by %s', async (signal, status) => {
    const job = start('-n', '2', 'yes')
    await full()
    job.kill(signal)
    expect(await job.end).toEqual({ kind: 'exit', status })
  })

  it('ends by a second SIGINT, though its ranks heed none', async () => {
    const job = start('-n', '2', 'sh', '-c', 'trap "" TERM INT; exec yes')
    await full()
    job.kill('SIGINT')
    job.kill('SIGINT')
    expect(await job.end).toEqual({ kind: 'exit', status: 130 })
  })
})

describeWith(['mpicc.mpich'], 'a job whose output is read slowly', () => {
  it('gives its reader the last words of a rank that ends it', async () => {
    const place = playground()
    const programs = await buildPrograms('mpicc.mpich', ['last-words'])
    const child = spawn(
      join(BIN, 'leet-mpirun'),
      ['--guest', 'host', '-n', '2', programs.path('last-words')],
      {
        cwd: place.directory,
        env: { ...process.env, ...place.env },
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    const end = endOf(child)
    let bytes = 0
    let last = ''
    for await (const data of child.stdout) {
      bytes += data.length
      last = (last + data.toString('latin1')).slice(-100)
      await pause(10)
    }
    expect({ end: await end, bytes, last }).toEqual({
      end: { kind: 'exit', status: 42 },
      bytes: 8_600_015,
      last: expect.stringMatching(/\nthe last words\n$/),
    })
    programs.remove()
    place.remove()
  })
})
