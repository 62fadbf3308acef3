// When progress is shown, and that it is gone before anybody else writes.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lineLog } from '../../../common/index.ts'
import { clearing, Progress } from '../../../launcher/cli/progress.ts'
import type { GuestState } from '../../../launcher/node/worker.ts'
import { Screen } from '../../support/screen.ts'

const GUESTS = [
  { name: 'g0', ranks: [0, 1] },
  { name: 'g1', ranks: [2] },
]

describe('progress on a terminal', () => {
  let screen: Screen
  let progress: Progress
  beforeEach(() => {
    vi.useFakeTimers()
    screen = new Screen(60, 24)
    screen.write('$ leet-mpirun solver\n')
    progress = new Progress(screen, false, 'xterm')
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const told = (guest: string, state: GuestState, detail?: string) =>
    progress.listener({ event: 'guest', guest, state, ...(detail ? { detail } : {}) })
  const phase = (name: 'image' | 'boot' | 'launch' | 'run', state: 'begin' | 'end') =>
    progress.listener({ event: 'phase', phase: name, state })
  /** What is shown below the command. */
  const shown = () => screen.text.split('\n').slice(1)
  const soon = () => vi.advanceTimersByTime(100)

  it('is kept up to date from the image to the ranks, and leaves one line', () => {
    progress.expect(GUESTS)
    phase('image', 'begin')
    vi.advanceTimersByTime(2_100)
    expect(shown()).toEqual(['leet: composing the image (2 s)'])
    phase('image', 'end')
    phase('boot', 'begin')
    told('g0', 'starting')
    told('g0', 'booting', 'seed')
    soon()
    expect(shown()).toEqual(['leet: g0  booting          0 s  seed', 'leet: g1  waiting          2 s'])
    vi.advanceTimersByTime(1_000)
    expect(shown()[0]).toBe('leet: g0  booting          1 s  seed')
    told('g0', 'ready')
    told('g1', 'ready')
    phase('boot', 'end')
    expect(shown()).toEqual(['leet: 2 guests ready after 3.2 s'])
    phase('launch', 'begin')
    progress.listener({ event: 'rank', job: 0, rank: 1, guest: 'g0', state: 'started' })
    soon()
    expect(shown().slice(1)).toEqual(['leet: g0  1 of 2 ranks started', 'leet: g1  0 of 1 ranks started'])
    phase('launch', 'end')
    vi.runAllTimers()
    expect(shown()).toEqual(['leet: 2 guests ready after 3.2 s'])
  })

  it('tells of a guest that hung, and that it is booted again', () => {
    progress.expect(GUESTS)
    told('g1', 'hung', 'made no progress for 10 s: booted again (1 of 2)')
    told('g1', 'starting')
    soon()
    expect(shown()).toEqual([
      'leet: guest g1 made no progress for 10 s: booted again (1 of',
      ' 2)',
      'leet: g0  waiting          0 s',
      'leet: g1  hung             0 s  starting again',
    ])
  })

  it('makes room for a line of the log, and comes again', () => {
    const log = clearing(
      lineLog((text) => screen.write(text), 'leet: ', false),
      progress,
    )
    progress.expect(GUESTS.slice(0, 1))
    soon()
    log.warn('the clock is wrong')
    expect(shown()).toEqual(['leet: warning: the clock is wrong'])
    log.detail('not shown')
    soon()
    expect(shown()).toEqual(['leet: warning: the clock is wrong', 'leet: g0  waiting          0 s'])
  })

  it('is gone for good before a rank writes, though others are still being handed over', () => {
    progress.expect(GUESTS)
    phase('boot', 'end')
    phase('launch', 'begin')
    soon()
    progress.end()
    screen.write('output of a rank\n')
    progress.listener({ event: 'rank', job: 0, rank: 2, guest: 'g1', state: 'started' })
    told('g0', 'hung', 'late')
    progress.clear()
    vi.advanceTimersByTime(5_000)
    expect(shown()).toEqual(['leet: 2 guests ready after 0.0 s', 'output of a rank'])
  })

  it('is none where no guests are booted', () => {
    phase('boot', 'begin')
    phase('boot', 'end')
    phase('launch', 'begin')
    vi.advanceTimersByTime(5_000)
    expect(shown()).toEqual([])
  })
})

describe('progress elsewhere', () => {
  const run = (stream: { isTTY: boolean }, verbose: boolean, terminal: string) => {
    vi.useFakeTimers()
    let text = ''
    const write = (more: string) => {
      text += more
    }
    const progress = new Progress({ ...stream, write }, verbose, terminal)
    progress.expect(GUESTS)
    progress.listener({ event: 'phase', phase: 'boot', state: 'begin' })
    progress.listener({ event: 'guest', guest: 'g0', state: 'booting', detail: 'seed' })
    progress.listener({ event: 'guest', guest: 'g1', state: 'hung', detail: 'booted again (1 of 2)' })
    vi.advanceTimersByTime(5_000)
    progress.listener({ event: 'phase', phase: 'boot', state: 'end' })
    progress.end()
    vi.useRealTimers()
    return text
  }

  it.each([
    ['a file', { isTTY: false }, 'xterm'],
    ['a terminal that cannot go back', { isTTY: true }, 'dumb'],
  ])('is what a user must know, in plain lines: %s', (_, stream, terminal) => {
    expect(run(stream, false, terminal)).toBe('leet: guest g1 booted again (1 of 2)\n')
    expect(run(stream, true, terminal)).toBe(
      'leet: g0: booting (seed)\nleet: guest g1 booted again (1 of 2)\nleet: 2 guests ready after 5.0 s\n',
    )
  })
})
