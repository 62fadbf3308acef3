// That every job ends, soon after it is being ended, and with the outcome of what failed first: for whatever happens to ranks,
// nodes and guests in whatever order. Time is simulated, and so is all that carries commands out.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  BEGIN,
  type Command,
  type Happening,
  type JobState,
  KILL_GRACE_MS,
  type PlannedRank,
  step,
  TERM_GRACE_MS,
} from '../../../launcher/job/job-state.ts'
import { outcomeOf } from '../../../mpi-bridge/index.ts'

const NODES = 3

/** What answers a command: after so many milliseconds, well or with an error; or never. */
const answer = fc.oneof(
  { weight: 5, arbitrary: fc.record({ after: fc.nat(3_000), fails: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ after: fc.nat(3_000), fails: fc.constant(true) }) },
  { weight: 1, arbitrary: fc.constant(undefined) },
)

/** How a rank lives: when it begins after its node was asked to start it, what it does then, and which signal it heeds. */
const fate = fc.record({
  begins: fc.nat(2_000),
  lives: fc.nat(4_000),
  ends: fc.constantFrom('well', 'badly', 'silently', 'killed', 'not started', 'aborted', 'left', 'never'),
  heeds: fc.constantFrom('SIGTERM', 'SIGKILL', 'nothing'),
})

const disturbance = fc.record({
  at: fc.nat(8_000),
  kind: fc.constantFrom('guest lost', 'node lost', 'cancelled', 'hurried', 'spawn'),
  which: fc.nat(NODES - 1),
})

const history = fc.record({
  ranks: fc.integer({ min: 1, max: 6 }),
  announces: fc.array(answer, { minLength: 2, maxLength: 2 }),
  handsOver: fc.array(answer, { minLength: NODES, maxLength: NODES }),
  fates: fc.array(fate, { minLength: 4, maxLength: 12 }),
  disturbances: fc.array(disturbance, { maxLength: 4 }),
})
type History = typeof history extends fc.Arbitrary<infer T> ? T : never

/** By when the user has lost patience in any history, in milliseconds. */
const PATIENCE_MS = 60_000

/** A job in simulated time. */
class World {
  state: JobState = BEGIN
  now = 0
  finishedAt: number | undefined
  readonly done: { readonly at: number; readonly command: Command }[] = []
  /** What happened when the job began to end. */
  cause: Happening | undefined
  readonly #history: History
  readonly #agenda: { at: number; readonly run: () => void }[] = []
  #clock = 0
  #signalled: 'SIGTERM' | 'SIGKILL' | undefined
  #errors = 0
  #lastAt = 0

  constructor(history: History) {
    this.#history = history
  }

  run(): void {
    this.#after(0, () => this.#happen({ kind: 'planned', ranks: this.#planned(this.#history.ranks) }))
    for (const { at, kind, which } of this.#history.disturbances)
      this.#after(at, () => this.#disturb(kind, which))
    this.#after(PATIENCE_MS, () => this.#happen({ kind: 'cancelled', error: this.#error() }))
    while (this.#agenda.length > 0) {
      // Of what is at the same time, what was planned first comes first.
      const next = this.#agenda.reduce((one, other) => (other.at < one.at ? other : one))
      this.#agenda.splice(this.#agenda.indexOf(next), 1)
      this.now = next.at
      next.run()
    }
  }

  #planned(ranks: number): PlannedRank[] {
    return Array.from({ length: ranks }, (_, rank) => {
      const node = rank % NODES
      return { rank, guest: node, guestName: `g${node}`, node, program: 0, usesMpi: false }
    })
  }

  #after(ms: number, run: () => void): void {
    this.#agenda.push({ at: this.now + ms, run })
  }

  // Each stands for another exit status.
  #error(): LeetError {
    this.#errors++
    return new LeetError({
      code: 'LEET_E_JOB',
      what: `failure ${this.#errors}`,
      exitCode: 100 + this.#errors,
    })
  }

  #happen(what: Happening extends infer T ? (T extends unknown ? Omit<T, 'at'> : never) : never): void {
    this.#lastAt = Math.max(this.now, this.#lastAt + 0.001)
    const happening = { ...what, at: this.#lastAt } as Happening
    const before = this.state
    const { state, commands } = step(before, happening)
    this.state = state
    if (state.ending && !before.ending) this.cause = happening
    for (const command of commands) this.#perform(command)
  }

  #disturb(kind: History['disturbances'][number]['kind'], which: number): void {
    if (kind === 'guest lost') this.#happen({ kind, guest: which, error: this.#error() })
    else if (kind === 'node lost') this.#happen({ kind, node: which, error: this.#error() })
    else if (kind === 'cancelled') this.#happen({ kind, error: this.#error() })
    else if (kind === 'hurried') this.#happen({ kind })
    // Somebody must be there to ask for more ranks.
    else if (!this.state.over) this.#happen({ kind: 'planned', ranks: this.#planned(2) })
  }

  #perform(command: Command): void {
    this.done.push({ at: this.now, command })
    switch (command.kind) {
      case 'announce': {
        const { job } = command
        const how = this.#history.announces[job % 2]
        if (!how) return
        this.#after(how.after, () =>
          this.#happen({ kind: 'announced', job, ...(how.fails ? { error: this.#error() } : {}) }),
        )
        return
      }
      case 'hand over': {
        const { job } = command
        for (const [node, tasks] of Map.groupBy(command.tasks, (task) => task.node)) {
          const how = this.#history.handsOver[node]
          if (how) {
            this.#after(how.after, () =>
              this.#happen({
                kind: 'handed over',
                job,
                node,
                ...(how.fails ? { error: this.#error() } : {}),
              }),
            )
          }
          if (!how?.fails) for (const { task } of tasks) this.#live(task)
        }
        return
      }
      case 'await end': {
        const { task, why, ms } = command
        const since = this.now
        this.#after(ms, () => this.#happen({ kind: 'left for good', task, since, why }))
        return
      }
      case 'end ranks':
        this.#signal('SIGTERM')
        this.#after(command.graceMs, () => this.#signal('SIGKILL'))
        return
      case 'set clock': {
        const clock = ++this.#clock
        this.#after(command.ms, () => {
          if (clock === this.#clock) this.#happen({ kind: 'time is up' })
        })
        return
      }
      case 'finish':
        this.finishedAt = this.now
    }
  }

  #fate(task: number): History['fates'][number] {
    return this.#history.fates[task % this.#history.fates.length] as History['fates'][number]
  }

  #live(task: number): void {
    const { begins, lives, ends } = this.#fate(task)
    this.#after(begins, () => {
      // A node that is ending its ranks starts none.
      if (this.#signalled) return
      if (ends === 'not started') {
        this.#happen({ kind: 'failed', task, error: this.#error() })
        return
      }
      this.#happen({ kind: 'began', task })
      if (ends === 'silently') return
      this.#happen({ kind: 'reached', task, what: 'connected' })
      this.#happen({ kind: 'reached', task, what: 'initialised' })
    })
    this.#after(begins + lives, () => {
      const isGone = this.state.tasks.at(task)?.stage !== 'running'
      if (isGone || ends === 'never' || ends === 'not started') return
      if (ends === 'aborted') this.#happen({ kind: 'aborted', task, status: 42, message: '' })
      else if (ends === 'left') this.#happen({ kind: 'left', task, why: 'it closed its connection' })
      else if (ends === 'killed')
        this.#happen({ kind: 'ended', task, end: { kind: 'signal', signal: 11, core: false } })
      else {
        if (ends === 'well') this.#happen({ kind: 'reached', task, what: 'finalised' })
        this.#happen({ kind: 'ended', task, end: { kind: 'exit', status: ends === 'badly' ? 7 : 0 } })
      }
    })
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#signalled = signal
    const number = signal === 'SIGTERM' ? 15 : 9
    for (const { task, stage } of this.state.tasks) {
      const { heeds } = this.#fate(task)
      if (stage !== 'running' || heeds === 'nothing' || (heeds === 'SIGKILL' && signal === 'SIGTERM'))
        continue
      this.#after(10, () =>
        this.#happen({ kind: 'ended', task, end: { kind: 'signal', signal: number, core: false } }),
      )
    }
  }
}

/** Exit status that what ended the job stands for. */
function statusOf(cause: Happening, { tasks }: JobState): number {
  switch (cause.kind) {
    case 'ended':
      return cause.end.kind === 'signal' ? 128 + cause.end.signal : cause.end.status || 1
    case 'aborted':
      return cause.status
    case 'reached':
      // Somebody came, and waits for one that has gone.
      return 1
    case 'left for good':
      // Its guest may have been dying: why says more, even when it is known later.
      return tasks.at(cause.task)?.seen.error?.exitCode ?? 1
    default:
      return 'error' in cause && cause.error ? cause.error.exitCode : Number.NaN
  }
}

function after(...histories: Happening[]): { state: JobState; commands: Command[] } {
  let state = BEGIN
  const commands: Command[] = []
  for (const happening of histories) {
    const next = step(state, happening)
    state = next.state
    commands.push(...next.commands)
  }
  return { state, commands }
}

const RANKS: PlannedRank[] = [0, 1].map((rank) => ({
  ...{ rank, guest: rank, guestName: `g${rank}`, node: rank, program: 0, usesMpi: false },
}))
const PLANNED: Happening = { kind: 'planned', at: 0, ranks: RANKS }
const ANNOUNCED: Happening = { kind: 'announced', at: 1, job: 0 }
const LOST = new LeetError({ code: 'LEET_E_AGENT_LOST', what: 'the agent is gone', where: 'node1' })
const kinds = (commands: readonly Command[]) => commands.map(({ kind }) => kind)

describe('a job', () => {
  it('ends in every history, once, soon, and with the outcome of what failed first', () => {
    fc.assert(
      fc.property(history, (one) => {
        const world = new World(one)
        world.run()
        const { state, done, cause, finishedAt } = world
        expect(done.filter(({ command }) => command.kind === 'finish')).toHaveLength(1)
        expect(state).toMatchObject({ over: true, left: 0 })

        const { ending } = state
        if (ending) {
          expect(finishedAt).toBeLessThanOrEqual(ending.at + TERM_GRACE_MS + KILL_GRACE_MS + 1)
          const late = done.filter(
            ({ at, command }) => at > ending.at && /^(announce|hand over)$/.test(command.kind),
          )
          expect(late).toEqual([])
        }
        const over = done.flatMap(({ command }) => (command.kind === 'task over' ? [command.task.task] : []))
        expect(over.toSorted((a, b) => a - b)).toEqual([...state.tasks].map(({ task }) => task))
        // Whoever asked for ranks has an answer, unless the nodes gave none.
        const jobs = done.flatMap(({ command }) => (command.kind === 'launched' ? [command.job] : []))
        expect(new Set(jobs).size).toBe(jobs.length)

        const outcome = outcomeOf({
          ranks: [...state.tasks].map(({ seen }) => seen),
          ...(ending ? { stoppedAt: ending.at } : {}),
          ...(ending?.why ? { stoppedFor: ending.why } : {}),
        })
        expect(outcome.status).toBe(cause ? statusOf(cause, state) & 0xff : 0)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is over when all of its ranks have ended well, and not before all nodes have answered', () => {
    const ended = [0, 1].map(
      (task): Happening => ({ kind: 'ended', at: 5, task, end: { kind: 'exit', status: 0 } }),
    )
    const early = after(PLANNED, ANNOUNCED, ...ended, { kind: 'handed over', at: 6, job: 0, node: 0 })
    expect(early.state).toMatchObject({ over: false, left: 0 })
    const { state, commands } = step(early.state, { kind: 'handed over', at: 7, job: 0, node: 1 })
    expect({ over: state.over, commands: kinds(commands) }).toEqual({
      over: true,
      commands: ['launched', 'finish'],
    })
  })

  it('ends when a node is lost while ranks are handed over, and starts nothing any more', () => {
    const { commands, state } = after(PLANNED, { kind: 'node lost', at: 1, node: 1, error: LOST }, ANNOUNCED)
    expect(kinds(commands)).not.toContain('hand over')
    expect(kinds(commands).at(-1)).toBe('launched')
    expect(state).toMatchObject({ over: true, ending: { why: LOST } })
  })

  it('ends when its spawned ranks cannot be started, and says so to who asked', () => {
    const error = new LeetError({ code: 'LEET_E_RANK_START', what: 'no more processes' })
    const { commands, state } = after(
      ...[PLANNED, ANNOUNCED],
      ...[0, 1].map((node): Happening => ({ kind: 'handed over', at: 2, job: 0, node })),
      ...[0, 1].map((task): Happening => ({ kind: 'began', at: 3, task })),
      { kind: 'planned', at: 4, ranks: RANKS },
      { kind: 'announced', at: 5, job: 1 },
      { kind: 'handed over', at: 6, job: 1, node: 0, error },
      { kind: 'handed over', at: 6, job: 1, node: 1 },
      { kind: 'time is up', at: 9_000 },
    )
    expect(commands).toContainEqual({ kind: 'launched', job: 1, error })
    expect([...state.tasks].map(({ stage }) => stage)).toEqual(['given up', 'given up', 'ended', 'given up'])
    expect(state.over).toBe(true)
  })

  it('ends when a rank waits in MPI_Init for one that never came, though nobody knew that its program uses MPI', () => {
    const running: Happening[] = [
      ...[PLANNED, ANNOUNCED],
      ...[0, 1].map((node): Happening => ({ kind: 'handed over', at: 2, job: 0, node })),
      ...[0, 1].map((task): Happening => ({ kind: 'began', at: 3, task })),
      { kind: 'ended', at: 4, task: 1, end: { kind: 'exit', status: 0 } },
    ]
    expect(after(...running).state.ending).toBeUndefined()
    const { state } = after(...running, { kind: 'reached', at: 5, task: 0, what: 'connected' })
    expect(state.ending).toMatchObject({ at: 5 })
  })

  it('refuses ranks that are asked for while it ends', () => {
    const ending = after(PLANNED, ANNOUNCED, { kind: 'cancelled', at: 2, error: LOST })
    const { commands } = step(ending.state, { kind: 'planned', at: 3, ranks: RANKS })
    expect(commands).toContainEqual(
      expect.objectContaining({
        kind: 'launched',
        job: 1,
        error: expect.objectContaining({ code: 'LEET_E_CANCELLED' }),
      }),
    )
  })

  it('kills at once when somebody is in a hurry, but only once it ends', () => {
    const running = after(PLANNED, ANNOUNCED)
    expect(step(running.state, { kind: 'hurried', at: 2 }).commands).toEqual([])
    const ending = step(running.state, { kind: 'cancelled', at: 3, error: LOST })
    expect(step(ending.state, { kind: 'hurried', at: 4 }).commands).toEqual([
      { kind: 'end ranks', graceMs: 0 },
      { kind: 'set clock', ms: KILL_GRACE_MS },
    ])
  })
})
