// The exit status and the words that a job ends with.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { outcomeOf, type RankObservation, rankFailure, rankTable } from '../../../mpi-bridge/outcome.ts'

const well: RankObservation = {
  job: 0,
  rank: 0,
  guest: 'g0',
  usesMpi: true,
  connected: true,
  initialised: true,
  finalised: true,
  end: { kind: 'exit', status: 0 },
  endedAt: 10,
}
const at = (rank: number, change: Partial<RankObservation> = {}): RankObservation => ({
  ...well,
  rank,
  ...change,
})
const killed = (signal: number, core = false) => ({ kind: 'signal', signal, core }) as const
const exited = (status: number) => ({ kind: 'exit', status }) as const

describe('the exit status', () => {
  it('is 0 when all went well, without a word', () => {
    expect(outcomeOf({ ranks: [at(0), at(1)] })).toMatchObject({
      status: 0,
      firstFailure: undefined,
      summary: [],
    })
  })

  it('is that of the first rank that failed in time, not in number', () => {
    const ranks = [at(0, { end: exited(3), endedAt: 12 }), at(1, { end: exited(5), endedAt: 11 })]
    expect(outcomeOf({ ranks })).toMatchObject({ status: 5, firstFailure: { rank: 1 } })
  })

  it('is 128 and the signal', () => {
    expect(outcomeOf({ ranks: [at(0, { end: killed(11, true), finalised: false })] })).toMatchObject({
      status: 139,
      summary: ['rank 0 in g0: was killed by signal 11 (SIGSEGV, core dumped) [LEET_E_RANK]'],
    })
  })

  // What Open MPI 4.1.4 and Hydra 4.0.2 return, but for the last two, where they return 0.
  it.each([
    [42, 42],
    [300, 44],
    [-1, 255],
    [0, 1],
    [256, 1],
  ])('of MPI_Abort(%i) is %i', (code, status) => {
    const aborted = { at: 5, status: code, message: '' }
    const ranks = [at(0, { aborted, end: killed(15), endedAt: 9 }), at(1, { end: killed(15), endedAt: 8 })]
    expect(outcomeOf({ ranks, stoppedAt: 5 })).toMatchObject({ status, firstFailure: { rank: 0 } })
  })

  it('does not count what ranks do once the job is being ended', () => {
    const ranks = [
      at(0, { end: killed(9), endedAt: 20 }),
      at(1, { end: exited(7), endedAt: 10 }),
      at(2, { aborted: { at: 11, status: 9, message: '' }, endedAt: 12 }),
    ]
    expect(outcomeOf({ ranks, stoppedAt: 10 })).toMatchObject({ status: 7, firstFailure: { rank: 1 } })
  })

  it('is that of what ended the job from outside', () => {
    const stoppedFor = new LeetError({
      code: 'LEET_E_TIMEOUT',
      what: 'too long',
      exitCode: 124,
      hint: 'more',
    })
    const outcome = outcomeOf({ ranks: [at(0, { end: killed(15), endedAt: 9 })], stoppedAt: 5, stoppedFor })
    expect(outcome).toMatchObject({ status: 124, summary: ['too long [LEET_E_TIMEOUT]', '  try: more'] })
  })

  it('is that of a start that failed', () => {
    const error = new LeetError({ code: 'LEET_E_RANK_START', what: 'no program', exitCode: 127 })
    const ranks = [at(0, { error, end: undefined, connected: false, initialised: false, finalised: false })]
    expect(outcomeOf({ ranks })).toMatchObject({ status: 127, summary: ['no program [LEET_E_RANK_START]'] })
  })

  it('is an error for MPI ranks of which none ever connected, and only then', () => {
    const alone = { connected: false, initialised: false, finalised: false }
    const status = (...ranks: RankObservation[]) => outcomeOf({ ranks }).status
    expect(status(at(0, alone), at(1, alone))).toBe(1)
    expect(outcomeOf({ ranks: [at(0, alone), at(1, alone)] }).summary[0]).toContain(
      'LEET_E_NO_RANK_CONNECTED',
    )
    expect(status(at(0, alone))).toBe(0)
    const hostname = { ...alone, usesMpi: false }
    expect(status(at(0, hostname), at(1, hostname))).toBe(0)
  })

  it('is never 0 when a rank failed, and always one byte', () => {
    const observations = fc.record({
      job: fc.nat(1),
      rank: fc.nat(5),
      guest: fc.constant('g0'),
      usesMpi: fc.boolean(),
      connected: fc.boolean(),
      initialised: fc.boolean(),
      finalised: fc.boolean(),
      end: fc.oneof(
        fc.constant(undefined),
        fc.nat(255).map(exited),
        fc.integer({ min: 1, max: 64 }).map((n) => killed(n)),
      ),
      endedAt: fc.oneof(fc.constant(undefined), fc.nat(20)),
      aborted: fc.oneof(
        fc.constant(undefined),
        fc.record({ at: fc.nat(20), status: fc.integer(), message: fc.string() }),
      ),
    })
    fc.assert(
      fc.property(fc.array(observations), fc.option(fc.nat(20), { nil: undefined }), (ranks, stoppedAt) => {
        const { status, firstFailure, summary, ranks: results } = outcomeOf({ ranks, stoppedAt })
        expect(status).toBeGreaterThanOrEqual(0)
        expect(status).toBeLessThanOrEqual(255)
        if (firstFailure) expect(status).toBe(firstFailure.status)
        expect(status === 0).toBe(summary.length === 0)
        expect(results).toHaveLength(ranks.length)
      }),
    )
  })
})

describe('the end of one rank', () => {
  it.each<[string, Partial<RankObservation>, boolean, string | undefined, boolean?]>([
    ['in order', {}, true, undefined],
    ['still at work', { end: undefined, endedAt: undefined }, true, undefined],
    ['a status after finalize', { end: exited(3) }, false, 'ended with exit status 3', false],
    ['a status before it', { end: exited(3), finalised: false }, false, 'ended with exit status 3', true],
    ['no finalize', { finalised: false }, false, 'without MPI_Finalize', true],
    [
      'no init while others wait',
      { connected: false, initialised: false, finalised: false },
      true,
      'before MPI_Init',
      true,
    ],
    [
      'no init while none waits',
      { connected: false, initialised: false, finalised: false },
      false,
      undefined,
    ],
    [
      'no MPI at all',
      { usesMpi: false, connected: false, initialised: false, finalised: false },
      true,
      undefined,
    ],
    [
      'lost, with no end known',
      { end: undefined, endedAt: undefined, finalised: false, lost: { at: 4, why: 'connection reset' } },
      false,
      'left the job without MPI_Finalize: connection reset',
      true,
    ],
    [
      'lost, then its end, which says more',
      { end: killed(11), finalised: false, lost: { at: 4, why: 'connection reset' } },
      false,
      'signal 11',
      true,
    ],
  ])('%s', (_, change, othersWait, reason, fatal) => {
    const failure = rankFailure(at(0, change), othersWait)
    if (reason === undefined) return void expect(failure).toBeUndefined()
    expect(failure?.error.message).toContain(reason)
    expect(failure?.fatal).toBe(fatal)
  })
})

describe('the table of ranks', () => {
  it('joins ranks that ended alike', () => {
    const ranks = [
      at(0, { end: killed(15), endedAt: 12 }),
      at(1, { end: killed(9), endedAt: 13 }),
      at(2, { end: killed(11), endedAt: 10, guest: 'g1', finalised: false }),
      at(3, { guest: 'g1', endedAt: 12 }),
    ]
    expect(rankTable(outcomeOf({ ranks, stoppedAt: 10 }))).toEqual([
      'rank  guest  end',
      '0-1   g0     ended by leet',
      '2     g1     signal 11 (SIGSEGV)  <- first to fail',
      '3     g1     exit status 0',
    ])
  })

  it('is left out when leet ended everybody', () => {
    const ranks = [at(0, { end: killed(15), endedAt: 12 }), at(1, { end: killed(9), endedAt: 13 })]
    expect(rankTable(outcomeOf({ ranks, stoppedAt: 10 }))).toEqual([])
  })

  it('has one line for an error of many', () => {
    const error = new LeetError({ code: 'LEET_E_MACHINE', what: 'ended', why: 'panic\nlast lines\n  | oops' })
    const table = rankTable(outcomeOf({ ranks: [at(0, { end: undefined, error })], stoppedAt: 10 }))
    expect(table).toEqual(['rank  guest  end', '0     g0     ended: panic  <- first to fail'])
  })

  it('stays short, and keeps the first to fail', () => {
    const ranks = Array.from({ length: 60 }, (_, rank) =>
      at(rank, { end: exited(rank + 1), endedAt: 100 - rank }),
    )
    const table = rankTable(outcomeOf({ ranks }))
    expect(table).toHaveLength(22)
    expect(table[1]).toBe('59    g0     exit status 60  <- first to fail')
    expect(table.at(-1)).toBe('and 40 more such lines')
  })
})
