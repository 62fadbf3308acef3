import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import {
  atMost,
  Deadline,
  describeError,
  eachInTurn,
  exitCodeOf,
  failureOf,
  formatSize,
  identify,
  isRunning,
  LeetError,
  parseDuration,
  parseSize,
  pause,
  poll,
  processorUse,
  residentMemory,
  runCommand,
  setTimer,
  waitFor,
} from '../../../common/index.ts'

describe('units', () => {
  it('reads sizes and durations as people write them', () => {
    expect(parseSize('2G', 'x')).toBe(2 ** 31)
    expect(parseSize('512MiB', 'x')).toBe(2 ** 29)
    expect(parseDuration('5m', 'x')).toBe(300_000)
    expect(parseDuration('30d', 'x')).toBe(30 * 86_400_000)
    expect(parseDuration('1:30:00', 'x')).toBe(5_400_000)
    expect(formatSize(3 * 2 ** 29)).toBe('1.5 GiB')
    for (const bad of ['', '-1G', '1X', '0', '1e9G']) expect(() => parseSize(bad, 'x')).toThrow(LeetError)
    for (const bad of ['', '1:2:3:4', '-5', '0s']) expect(() => parseDuration(bad, 'x')).toThrow(LeetError)
  })
})

describe('waiting', () => {
  it('says what it waited for when the deadline passes', async () => {
    const never = new Promise<void>(() => {})
    await expect(waitFor(never, { deadline: Deadline.after(5) }, { what: 'the moon' })).rejects.toMatchObject(
      {
        code: 'LEET_E_DEADLINE',
        message: expect.stringContaining('the moon'),
      },
    )
    await expect(
      poll(() => undefined, 1, { deadline: Deadline.after(5) }, { what: 'the sun' }),
    ).rejects.toMatchObject({
      code: 'LEET_E_DEADLINE',
    })
  })
  it('ends with the signal’s reason', async () => {
    const reason = new LeetError({ code: 'LEET_E_SIGNAL', what: 'ended by SIGINT', exitCode: 130 })
    const signal = AbortSignal.abort(reason)
    await expect(
      waitFor(new Promise(() => {}), { deadline: Deadline.never, signal }, { what: '' }),
    ).rejects.toBe(reason)
  })

  it('has nobody surprised by the end of what was given up before', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    try {
      const late = Promise.withResolvers<void>()
      const limits = { deadline: Deadline.never, signal: AbortSignal.abort() }
      await expect(waitFor(late.promise, limits, { what: '' })).rejects.toThrow('cancelled')
      late.reject(new Error('too late'))
      await new Promise((resolve) => setImmediate(resolve))
      expect(unhandled).not.toHaveBeenCalled()
    } finally {
      process.off('unhandledRejection', unhandled)
    }
  })

  it('takes longer than a timer of Node.js can, if it must', () => {
    vi.useFakeTimers()
    try {
      const run = vi.fn()
      const month = 31 * 24 * 3_600_000
      setTimer(month, run)
      setTimer(Number.POSITIVE_INFINITY, run)
      setTimer(month, run).cancel()
      vi.advanceTimersByTime(month - 1)
      expect(run).not.toHaveBeenCalled()
      vi.advanceTimersByTime(1)
      expect(run).toHaveBeenCalledOnce()
      vi.advanceTimersByTime(month)
      expect(run).toHaveBeenCalledOnce()
    } finally {
      vi.useRealTimers()
    }
  })

  it('leaves no timer that would keep the process from ending', async () => {
    vi.useFakeTimers()
    try {
      expect(await atMost(60_000, Promise.resolve('came'), 'late')).toBe('came')
      expect(vi.getTimerCount()).toBe(0)
      const late = atMost(1, new Promise(() => {}), 'late')
      await vi.advanceTimersByTimeAsync(1)
      expect(await late).toBe('late')
      const cut = new AbortController()
      const cutShort = pause(60_000, cut.signal)
      expect(vi.getTimerCount()).toBe(1)
      cut.abort()
      await expect(cutShort).rejects.toThrow('cancelled')
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('processes', () => {
  it('are identified by pid and start time', () => {
    const self = identify(process.pid)
    expect(self && isRunning(self)).toBe(true)
    expect(self && isRunning({ ...self, startTime: self.startTime + 1 })).toBe(false)
  })
  it('tell the CPU time that they have used, and that they are at work', () => {
    const before = processorUse(process.pid)
    for (let used = 0; used < 30_000; ) used = process.cpuUsage().user
    const after = processorUse(process.pid)
    expect(after).toMatchObject({ active: true })
    expect(after?.ms).toBeGreaterThan(0)
    expect(after?.ms).toBeGreaterThanOrEqual(before?.ms as number)
    // Beyond the largest pid of Linux.
    expect(processorUse(2 ** 22 + 1)).toBeUndefined()
  })
  it('tell the memory that they have, and their share of it', () => {
    const memory = residentMemory(process.pid)
    expect(memory?.now).toBeGreaterThan(2 ** 24)
    expect(memory?.peak).toBeGreaterThanOrEqual(memory?.now as number)
    expect(memory?.proportional).toBeGreaterThan(2 ** 23)
    expect(memory?.proportional).toBeLessThanOrEqual(memory?.peak as number)
    expect(residentMemory(2 ** 22 + 1)).toBeUndefined()
  })
  it('are not waited for when only what they started has their output', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'leet-test-'))
    const pids = join(directory, 'pids')
    // The shell starts one that ignores its end, and neither ends.
    const script = `sleep 600 & echo $! >${pids}; wait`
    try {
      const run = runCommand(['sh', '-c', script], { deadline: Deadline.after(300) })
      await expect(run).rejects.toMatchObject({ code: 'LEET_E_DEADLINE' })
      process.kill(Number(readFileSync(pids, 'utf8')), 'SIGKILL')
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
  it('are ended at their deadline, and a missing one is named', async () => {
    await expect(runCommand(['sleep', '60'], { deadline: Deadline.after(20) })).rejects.toMatchObject({
      code: 'LEET_E_DEADLINE',
    })
    await expect(runCommand(['leet-no-such-command'], { deadline: Deadline.never })).rejects.toMatchObject({
      code: 'LEET_E_COMMAND_MISSING',
    })
    await expect(runCommand(['cat'], { deadline: Deadline.never, input: 'x' })).resolves.toEqual({
      status: 0,
      stdout: 'x',
      stderr: '',
    })
  })
})

describe('what the system refuses', () => {
  const refusal = (act: () => unknown): unknown => {
    try {
      return act()
    } catch (error) {
      return error
    }
  }
  it('is told as a message, without a stack', () => {
    const error = refusal(() => readFileSync('/no/such/file'))
    expect(describeError(error)).toBe(
      '/no/such/file: the system refused open: no such file or directory [LEET_E_SYSTEM]',
    )
    expect(exitCodeOf(error)).toBe(1)
  })
  it('is told apart from a bug', () => {
    const error = refusal(() => (undefined as unknown as string).length)
    expect(describeError(error)).toMatch(/TypeError.*\n +at /s)
    expect(exitCodeOf(error)).toBe(70)
  })
})

describe('failures of several tasks', () => {
  const settle = (...errors: unknown[]) => Promise.allSettled(errors.map((error) => Promise.reject(error)))
  const lost = (where: string, more = {}) =>
    new LeetError({ code: 'LEET_E_RESULTS', what: 'lost', where, ...more })

  it('are one error that tells all of them, with the status of the first', async () => {
    const inner = failureOf(await settle(lost('g1', { hint: 'look' }), lost('g2')))
    const all = failureOf([...(await settle(lost('g0', { exitCode: 3 }), inner, 'odd'))])
    expect(describeError(all).split('\n')).toEqual([
      'g0: lost [LEET_E_RESULTS]',
      'g1: lost [LEET_E_RESULTS]',
      '  try: look',
      'g2: lost [LEET_E_RESULTS]',
      'odd [LEET_E_AGENT]',
    ])
    expect(exitCodeOf(all)).toBe(3)
    expect(failureOf(await Promise.allSettled([1, 2]))).toBeUndefined()
  })

  it('keep none of those behind them from being done', async () => {
    const done: string[] = []
    const task = (name: string, fails: boolean) => async () => {
      await Promise.resolve()
      done.push(name)
      if (fails) throw lost(name)
    }
    const all = eachInTurn([task('g0', true), task('g1', false), task('g2', true)])
    await expect(all).rejects.toMatchObject({ details: { where: 'g0', also: [{ where: 'g2' }] } })
    expect(done).toEqual(['g0', 'g1', 'g2'])
  })

  it('are counted when they are many', async () => {
    const many = failureOf(await settle(...Array.from({ length: 100 }, (_, i) => lost(`g${i}`))))
    expect(describeError(many).split('\n').slice(-2)).toEqual(['g16: lost [LEET_E_RESULTS]', 'and 83 more'])
  })
})
