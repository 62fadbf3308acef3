// A job's ranks from the plan to the end, as a pure function: `step` is told what happened and says what the job is at then,
// and what is to be done about it. There is no clock, no process and no promise in here; controller.ts has them.
//
// A job that is ending always ends: what was not handed over ends at once, what runs is asked to and then killed, and what
// is not gone after that is given up.
import { LeetError } from '../../common/index.ts'
import { type RankEnd, type RankObservation, rankFailure } from '../../mpi-bridge/index.ts'
import { isOver, type Task, TaskList, type TaskName } from './tasks.ts'

/** How long ranks have between SIGTERM and SIGKILL, and how long a lost rank's end is awaited, in milliseconds. */
export const TERM_GRACE_MS = 1_000
const LOST_GRACE_MS = 1_000
/** How long ranks may take to be gone after SIGKILL before they are given up, in milliseconds. */
export const KILL_GRACE_MS = 5_000

/** What a job is at. */
export interface JobState {
  readonly tasks: TaskList
  /** The first job, and the spawned ones in their order. */
  readonly jobs: readonly JobRecord[]
  /** Tasks of which more is expected. */
  readonly left: number
  /** Since when the job is being ended, and why, if it was not for what a rank did. */
  readonly ending?: Ending
  /** Nothing more is expected of any task. */
  readonly over: boolean
}

interface Ending {
  readonly at: number
  readonly why?: LeetError
  /** When ranks that did not end by themselves are killed. */
  readonly killAt: number
}

/** A job that is or was handed over to the nodes. */
interface JobRecord {
  readonly firstTask: number
  readonly size: number
  /** Nodes that were asked to start their ranks and have not answered; undefined before any was asked. */
  readonly awaited: ReadonlySet<number> | undefined
  /** Why it cannot be started as a whole. */
  readonly refused?: LeetError
  /** How many of its ranks ended before they joined it. */
  readonly absent: number
}

/** A rank of a job to come. Its task number is its place behind those that there are. */
export interface PlannedRank {
  readonly rank: number
  readonly guest: number
  /** Name of the guest. */
  readonly guestName: string
  readonly node: number
  /** Number of its program in its job. */
  readonly program: number
  /** Whether the program is seen to use MPI; that one of its ranks joins the job shows it, too. */
  readonly usesMpi: boolean
}

/** What happened, and when: milliseconds of a clock that only grows, and never stands. */
export type Happening = { readonly at: number } & (
  | { readonly kind: 'planned'; readonly ranks: readonly PlannedRank[] }
  /** All nodes know the job, or one cannot. */
  | { readonly kind: 'announced'; readonly job: number; readonly error?: LeetError }
  /** A node has answered: it has the orders for its ranks, or could not start them. */
  | { readonly kind: 'handed over'; readonly job: number; readonly node: number; readonly error?: LeetError }
  | { readonly kind: 'began'; readonly task: number }
  | { readonly kind: 'ended'; readonly task: number; readonly end: RankEnd }
  | { readonly kind: 'failed'; readonly task: number; readonly error: LeetError }
  /** What a rank did in its process manager. */
  | {
      readonly kind: 'reached'
      readonly task: number
      readonly what: 'connected' | 'initialised' | 'finalised'
    }
  | { readonly kind: 'aborted'; readonly task: number; readonly status: number; readonly message: string }
  /** A rank left its process manager without a word; and it has not ended for as long as that would usually take. */
  | { readonly kind: 'left'; readonly task: number; readonly why: string }
  | { readonly kind: 'left for good'; readonly task: number; readonly since: number; readonly why: string }
  | { readonly kind: 'guest lost'; readonly guest: number; readonly error: LeetError }
  | { readonly kind: 'node lost'; readonly node: number; readonly error: LeetError }
  /** A time limit, a signal, an output that cannot be written. */
  | { readonly kind: 'cancelled'; readonly error: LeetError }
  /** Whoever cancelled does not want to wait for last words. */
  | { readonly kind: 'hurried' }
  /** Ranks had their time to be gone after SIGKILL. */
  | { readonly kind: 'time is up' }
)

/** What is to be done. */
export type Command =
  /** Tell all nodes of the job, then its `announced`. */
  | { readonly kind: 'announce'; readonly job: number }
  /** Have each node start its ranks, then its `handed over`. */
  | { readonly kind: 'hand over'; readonly job: number; readonly tasks: readonly Task[] }
  /** All ranks of the job are with their nodes; or it cannot be started. */
  | { readonly kind: 'launched'; readonly job: number; readonly error?: LeetError }
  /** `left for good`, in a moment. */
  | { readonly kind: 'await end'; readonly task: number; readonly why: string; readonly ms: number }
  /** All nodes end their ranks, with so much time for last words, and start no more; nobody waits for the reader of output. */
  | { readonly kind: 'end ranks'; readonly graceMs: number }
  /** `time is up`, then. A later one replaces it. */
  | { readonly kind: 'set clock'; readonly ms: number }
  /** The task has written all. */
  | { readonly kind: 'task over'; readonly task: TaskName }
  /** Nothing is left to wait for. The last command but for that of jobs that were asked for too late. */
  | { readonly kind: 'finish' }

/** A job of which nothing is known yet. */
export const BEGIN: JobState = { tasks: TaskList.none, jobs: [], left: 0, over: false }

/** What the job is at after something happened, and what is to be done. What comes too late changes nothing. */
export function step(state: JobState, event: Happening): { state: JobState; commands: readonly Command[] } {
  const course = new Course(state)
  course.take(event)
  return { state: course.state, commands: course.commands }
}

// One step at work: the state so far and the commands so far.
class Course {
  state: JobState
  readonly commands: Command[] = []

  constructor(state: JobState) {
    this.state = state
  }

  /** Nothing more is started. */
  get isClosed(): boolean {
    return this.state.ending !== undefined || this.state.over
  }

  take(event: Happening): void {
    switch (event.kind) {
      case 'planned':
        this.plan(event.ranks)
        return
      case 'announced':
        this.announced(event.job, event.error, event.at)
        return
      case 'handed over':
        this.handedOver(event.job, event.node, event.error, event.at)
        return
      case 'began':
        this.change(event.task, (task) => ({ ...task, stage: 'running' }))
        return
      case 'ended':
        this.endTask(event.task, event.at, { end: event.end })
        return
      case 'failed':
        this.endTask(event.task, event.at, { error: event.error })
        return
      case 'reached':
        this.change(event.task, ({ seen, ...task }) => ({
          ...task,
          seen: { ...seen, [event.what]: true },
        }))
        if (event.what === 'connected') this.joined(event.task, event.at)
        return
      case 'aborted': {
        const { at, status, message } = event
        this.change(event.task, ({ seen, ...task }) => ({
          ...task,
          seen: { ...seen, aborted: { at, status, message } },
        }))
        this.judge(event.task, at)
        return
      }
      case 'left':
        // Its end, which says more, usually follows at once.
        this.commands.push({ kind: 'await end', task: event.task, why: event.why, ms: LOST_GRACE_MS })
        return
      case 'left for good': {
        const task = this.state.tasks.at(event.task)
        // In a job that ends for something else nobody can say any more what would have become of it.
        if (!task || isOver(task) || this.isClosed) return
        const lost = { at: event.since, why: event.why }
        this.change(event.task, ({ seen, ...rest }) => ({ ...rest, seen: { ...seen, lost } }))
        this.judge(event.task, event.at)
        return
      }
      case 'guest lost':
        this.lose((task) => task.guest === event.guest, event)
        return
      case 'node lost':
        this.lose((task) => task.node === event.node, event)
        return
      case 'cancelled':
        this.endJob(event.at, event.error)
        return
      case 'hurried':
        this.hurry(event.at)
        return
      case 'time is up':
        this.giveUp(event.at)
        return
    }
  }

  plan(ranks: readonly PlannedRank[]): void {
    const job = this.state.jobs.length
    const { tasks } = this.state
    const firstTask = tasks.length
    const planned = ranks.map(
      ({ rank, guest, guestName, node, program, usesMpi }, index): Task => ({
        ...{ task: firstTask + index, job, rank, guest, node, program, stage: 'planned' },
        seen: {
          ...{ job, rank, guest: guestName, usesMpi },
          ...{ connected: false, initialised: false, finalised: false },
        },
      }),
    )
    const record: JobRecord = { firstTask, size: ranks.length, awaited: undefined, absent: 0 }
    this.state = {
      ...this.state,
      jobs: [...this.state.jobs, record],
      tasks: tasks.concat(planned),
      left: this.state.left + planned.length,
    }
    if (!this.isClosed) {
      this.commands.push({ kind: 'announce', job })
      return
    }
    this.endPlanned()
    this.commands.push({ kind: 'launched', job, error: ENDING })
  }

  announced(job: number, error: LeetError | undefined, at: number): void {
    if (error && !this.isClosed) {
      this.refuse(job, error)
      this.endJob(at, error)
    }
    const { refused } = this.state.jobs[job] as JobRecord
    if (this.isClosed) {
      this.commands.push({ kind: 'launched', job, error: refused ?? ENDING })
      return
    }
    const tasks = this.tasksOf(job)
    for (const { task } of tasks) this.change(task, (one) => ({ ...one, stage: 'handed over' }))
    this.changeJob(job, { awaited: new Set(tasks.map(({ node }) => node)) })
    this.commands.push({ kind: 'hand over', job, tasks })
    this.launchedIfAll(job)
  }

  handedOver(job: number, node: number, error: LeetError | undefined, at: number): void {
    const record = this.state.jobs[job]
    if (!record?.awaited?.has(node)) return
    const awaited = new Set(record.awaited)
    awaited.delete(node)
    this.changeJob(job, { awaited })
    if (error) {
      this.refuse(job, error)
      // Those that began will be heard of.
      for (const task of this.tasksOf(job)) {
        if (task.node === node && task.stage === 'handed over') this.endTask(task.task, at, { error })
      }
    }
    this.launchedIfAll(job)
  }

  launchedIfAll(job: number): void {
    const { awaited, refused } = this.state.jobs[job] as JobRecord
    if (awaited?.size !== 0) return
    const error = refused ?? (this.isClosed ? ENDING : undefined)
    this.commands.push({ kind: 'launched', job, ...(error ? { error } : {}) })
    this.finishIfOver()
  }

  endTask(number: number, at: number, end: Pick<RankObservation, 'end' | 'error'>): void {
    const task = this.state.tasks.at(number)
    if (!task || isOver(task)) return
    this.close({ ...task, stage: 'ended', seen: { ...task.seen, ...end, endedAt: at } })
    if (!task.seen.connected) {
      this.changeJob(task.job, { absent: (this.state.jobs[task.job] as JobRecord).absent + 1 })
    }
    this.judge(number, at)
    this.finishIfOver()
  }

  // The others of its program are MPI's ranks, too; and it will wait for those that have ended in MPI_Init for ever.
  joined(number: number, at: number): void {
    const { job, program, seen } = this.state.tasks.at(number) as Task
    if (!seen.usesMpi) {
      for (const { task, program: own } of this.tasksOf(job)) {
        if (own !== program) continue
        this.change(task, (one) => ({ ...one, seen: { ...one.seen, usesMpi: true } }))
      }
    }
    if (this.state.jobs[job]?.absent === 0) return
    for (const task of this.tasksOf(job)) if (isOver(task) && !task.seen.connected) this.judge(task.task, at)
  }

  // A process that waits for a file system whose server is dead is not even ended by SIGKILL: only its guest's end is.
  giveUp(at: number): void {
    if (!this.state.ending) return
    for (const task of this.state.tasks) {
      if (isOver(task)) continue
      const error = new LeetError({
        code: 'LEET_E_RANK_STUCK',
        where: `rank ${task.rank} in ${task.seen.guest}`,
        what: `did not end within ${KILL_GRACE_MS / 1000} s of SIGKILL`,
        hint: 'it may wait for a file server that does not answer',
      })
      this.close({ ...task, stage: 'given up', seen: { ...task.seen, error, endedAt: at } })
    }
    this.finishIfOver()
  }

  lose(
    where: (task: Task) => boolean,
    { at, error }: { readonly at: number; readonly error: LeetError },
  ): void {
    // Why they ended is known: that they did must not end the job before that is said.
    const gone = [...this.state.tasks].filter((task) => where(task) && !isOver(task))
    for (const task of gone) {
      this.close({ ...task, stage: 'ended', seen: { ...task.seen, error, endedAt: at } })
    }
    this.endJob(at, error)
  }

  // Whether what a rank did is the end of the job.
  judge(number: number, at: number): void {
    const task = this.state.tasks.at(number)
    if (!task || this.state.ending) return
    const { seen } = task
    // Asked only where it matters: it looks at all ranks.
    const othersWait =
      seen.usesMpi &&
      !seen.connected &&
      this.tasksOf(task.job).some((other) => other.seen.connected && !isOver(other))
    if (rankFailure(seen, othersWait)?.fatal) this.endJob(at)
  }

  endJob(at: number, why?: LeetError): void {
    if (!this.isClosed) {
      this.state = { ...this.state, ending: { at, killAt: at + TERM_GRACE_MS, ...(why ? { why } : {}) } }
      this.endPlanned()
      // TERM first, so that programs can say goodbye; what remains after the grace is killed.
      this.commands.push(
        { kind: 'end ranks', graceMs: TERM_GRACE_MS },
        { kind: 'set clock', ms: TERM_GRACE_MS + KILL_GRACE_MS },
      )
    }
    this.finishIfOver()
  }

  // Not again: who is impatient all the time must not put off the end.
  hurry(at: number): void {
    const { ending, over } = this.state
    if (!ending || over || at >= ending.killAt) return
    this.state = { ...this.state, ending: { ...ending, killAt: at } }
    this.commands.push({ kind: 'end ranks', graceMs: 0 }, { kind: 'set clock', ms: KILL_GRACE_MS })
  }

  // Nobody was asked to start them, and nobody will be.
  endPlanned(): void {
    for (const task of this.state.tasks) {
      if (task.stage === 'planned') this.close({ ...task, stage: 'ended' })
    }
  }

  finishIfOver(): void {
    const { left, over, ending, jobs } = this.state
    const launched = jobs.length > 0 && jobs.every(({ awaited }) => awaited?.size === 0)
    if (over || left > 0 || !(ending || launched)) return
    this.state = { ...this.state, over: true }
    this.commands.push({ kind: 'finish' })
  }

  refuse(job: number, error: LeetError): void {
    if (!this.state.jobs[job]?.refused) this.changeJob(job, { refused: error })
  }

  close(task: Task): void {
    this.state = { ...this.state, tasks: this.state.tasks.with(task), left: this.state.left - 1 }
    this.commands.push({ kind: 'task over', task })
  }

  change(number: number, how: (task: Task) => Task): void {
    const task = this.state.tasks.at(number)
    if (!task) return
    const changed = how(task)
    // What is over stays so, whatever is still heard of it.
    const tasks = this.state.tasks.with(isOver(task) ? { ...changed, stage: task.stage } : changed)
    this.state = { ...this.state, tasks }
  }

  changeJob(job: number, change: Partial<JobRecord>): void {
    const record = this.state.jobs[job] as JobRecord
    this.state = { ...this.state, jobs: this.state.jobs.with(job, { ...record, ...change }) }
  }

  tasksOf(job: number): Task[] {
    const { firstTask, size } = this.state.jobs[job] as JobRecord
    return Array.from({ length: size }, (_, index) => this.state.tasks.at(firstTask + index) as Task)
  }
}

const ENDING = new LeetError({ code: 'LEET_E_CANCELLED', what: 'the job is ending' })
