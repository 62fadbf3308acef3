// A job from its plan to its end: boots the guests, starts the ranks, watches them, ends all when one fails, and
// tells what became of each. It knows nodes only as NodeWorkers, so one node and a thousand are the same to it.
import { randomBytes } from 'node:crypto'
import { LeetError, messageOf } from '../../common/index.ts'
import {
  answerSpawn,
  type Exchange,
  type JobLayout,
  mapRanks,
  type RankEnd,
  type RankReport,
  type SpawnCommand,
  type SpawnRequest,
  type SpawnResult,
} from '../../mpi-bridge/index.ts'
import type { BootOrder, NodeEvent, NodeWorker, RankOrder } from '../node/worker.ts'
import { type JobPlan, type MpiFlavour, type PlanProgram, programOf } from '../plan/plan.ts'
import type { EventListener, RankState } from './events.ts'

/** What a controller needs besides the plan. */
export interface ControllerContext {
  readonly plan: JobPlan
  /** One worker for each node of the plan, in its order. */
  readonly workers: readonly NodeWorker[]
  readonly exchange: Exchange
  /** The order of a node; it holds the secrets. */
  readonly bootOrder: (node: number) => BootOrder
  /** Variables that ranks of a program get besides those of the process manager. */
  readonly environmentOf: (
    program: PlanProgram,
    rank: number,
    guest: number,
  ) => Readonly<Record<string, string>>
  readonly environment: NodeJS.ProcessEnv
  readonly onEvent: EventListener
  /** Output of a rank; the controller never keeps it. */
  readonly onOutput: (task: TaskName, stream: 'stdout' | 'stderr', data: Uint8Array) => void
  /** All that task wrote has been told. */
  readonly onTaskEnd: (task: TaskName) => void
}

/** A process of the job: `job` is 0 for the first job and counts the spawned ones after it. */
export interface TaskName {
  readonly task: number
  readonly job: number
  readonly rank: number
  readonly guest: number
}

/** What is known of a process in the end. */
export interface TaskRecord extends TaskName {
  readonly node: number
  readonly mpi: MpiFlavour
  started: boolean
  connected: boolean
  initialised: boolean
  finalised: boolean
  end: RankEnd | undefined
  /** Why it could not be started, or was lost with its guest. */
  error: LeetError | undefined
  /** The order in which tasks ended, from 1; 0 while it runs. */
  endedAs: number
  /** It was signalled by LEET, so its end says nothing. */
  endedByUs: boolean
}

/** Why a job was ended before its ranks were done. */
export interface JobFailure {
  readonly task: number | undefined
  readonly error: LeetError
  /** Exit status that the failure stands for, unless the task's own end says better. */
  readonly status: number
}

/** What became of a job. */
export interface JobRecord {
  readonly tasks: readonly TaskRecord[]
  readonly failure: JobFailure | undefined
}

/** How long ranks have between SIGTERM and SIGKILL, and how long a lost rank's end is awaited, in milliseconds. */
const TERM_GRACE = 1_000
const LOST_GRACE = 1_000

interface Job {
  readonly number: number
  readonly layout: JobLayout
  readonly tasks: readonly TaskRecord[]
}

/** The controller of one leet-mpirun. */
export interface Controller {
  /** Boots all guests; rejects when one does not become ready. */
  boot(signal: AbortSignal): Promise<void>
  /** Starts the ranks and waits for the end of the last; ends everything at the first failure or when the signal fires. */
  run(signal: AbortSignal): Promise<JobRecord>
  /** What ranks do, from the exchange. */
  onReport(report: RankReport): void
  /** What nodes tell. */
  onNodeEvent(node: number, event: NodeEvent): void
  /** Input for rank 0 of the first job. */
  readonly input: { write(data: Uint8Array): Promise<void>; end(): void }
  /** Passes a signal on to all ranks. */
  signalRanks(signal: NodeJS.Signals): void
  holdOutput(hold: boolean): void
  /** Ends ranks and guests; nothing is left. */
  stop(): Promise<void>
}

/** Makes the controller of a job; nothing is started yet. */
export function createController(context: ControllerContext): Controller {
  const { plan, workers, exchange, onEvent } = context
  const tasks: TaskRecord[] = []
  const jobs = new Map<string, Job>()
  const lostTimers = new Set<NodeJS.Timeout>()
  let failure: JobFailure | undefined
  let ends = 0
  let running = 0
  let launched = false
  let launchSignal: AbortSignal = new AbortController().signal
  let finish: () => void = () => {}
  let killTimer: NodeJS.Timeout | undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })

  const guestName = (guest: number) => plan.guests[guest]?.name ?? `guest ${guest}`
  const nodeOf = (guest: number) => plan.guests[guest]?.node ?? 0
  const workerOf = (task: TaskRecord) => workers[task.node] as NodeWorker

  const tellRank = (task: TaskRecord, state: RankState, detail?: string) =>
    onEvent({
      event: 'rank',
      job: task.job,
      rank: task.rank,
      guest: guestName(task.guest),
      state,
      ...(detail ? { detail } : {}),
    })

  function fail(task: TaskRecord | undefined, error: LeetError, status: number): void {
    if (failure) return
    failure = { task: task?.task, error, status }
    endAll()
  }

  // TERM first, so that programs can say goodbye; what remains after the grace is killed.
  function endAll(): void {
    if (running === 0) {
      finishIfDone()
      return
    }
    for (const task of tasks) if (task.endedAs === 0) task.endedByUs = true
    for (const worker of workers) worker.signal('SIGTERM', 'all')
    killTimer ??= setTimeout(() => {
      for (const worker of workers) worker.signal('SIGKILL', 'all')
    }, TERM_GRACE)
  }

  function finishIfDone(): void {
    if (launched && running === 0) finish()
  }

  function taskEnded(task: TaskRecord): void {
    if (task.endedAs > 0) return
    task.endedAs = ++ends
    running--
    context.onTaskEnd(task)
    judge(task)
    finishIfDone()
  }

  // Whether the end of one rank is the end of the job: as mpirun, unless the rank had finalised in order.
  function judge(task: TaskRecord): void {
    const othersWait = () => jobOf(task)?.tasks.some((other) => other.connected && other.endedAs === 0)
    const verdict = judgeEnd(task, guestName(task.guest), othersWait)
    if (verdict) fail(task, verdict.error, verdict.status)
  }

  function jobOf(task: TaskRecord): Job | undefined {
    return [...jobs.values()].find((job) => job.number === task.job)
  }

  function onReport(report: RankReport): void {
    const task = jobs.get(report.job)?.tasks[report.rank]
    if (!task) return
    switch (report.kind) {
      case 'connected':
      case 'initialised':
      case 'finalised':
        task[report.kind] = true
        tellRank(task, report.kind)
        return
      case 'aborted': {
        tellRank(task, 'aborted', `status ${report.status}`)
        // A status is one byte; an abort with 0 is still a failure.
        const status = report.status & 0xff || 1
        const why = report.message.trim()
        fail(
          task,
          rankError(
            `rank ${task.rank} in ${guestName(task.guest)}`,
            `called MPI_Abort with ${report.status}`,
            why,
          ),
          status,
        )
        return
      }
      case 'lost': {
        tellRank(task, 'lost', report.why)
        if (failure || task.endedAs > 0) return
        // Its end, which says more, usually follows at once.
        const timer = setTimeout(() => {
          lostTimers.delete(timer)
          if (task.endedAs === 0)
            fail(
              task,
              rankError(
                `rank ${task.rank} in ${guestName(task.guest)}`,
                'left the job without MPI_Finalize',
                report.why,
              ),
              1,
            )
        }, LOST_GRACE)
        lostTimers.add(timer)
      }
    }
  }

  function onNodeEvent(_node: number, event: NodeEvent): void {
    switch (event.kind) {
      case 'guest':
        onEvent({
          event: 'guest',
          guest: guestName(event.guest),
          state: event.state,
          ...(event.detail ? { detail: event.detail } : {}),
        })
        return
      case 'guest-lost': {
        onEvent({ event: 'guest-lost', guest: guestName(event.guest), message: event.error.message })
        const victims = tasks.filter((task) => task.guest === event.guest && task.endedAs === 0)
        for (const task of victims) task.error ??= event.error
        fail(victims[0], event.error, 1)
        for (const task of victims) taskEnded(task)
        return
      }
      case 'output': {
        const task = tasks[event.task]
        if (task) context.onOutput(task, event.stream, event.data)
        return
      }
      case 'began': {
        const task = tasks[event.task]
        if (!task) return
        task.started = true
        tellRank(task, 'started', `pid ${event.pid}`)
        return
      }
      case 'failed': {
        const task = tasks[event.task]
        if (!task || task.endedAs > 0) return
        task.error = event.error
        tellRank(task, 'failed', event.error.message)
        taskEnded(task)
        return
      }
      case 'ended': {
        const task = tasks[event.task]
        if (!task || task.endedAs > 0) return
        task.end = event.end
        tellRank(
          task,
          'ended',
          event.end.kind === 'exit' ? `status ${event.end.status}` : `signal ${event.end.signal}`,
        )
        taskEnded(task)
      }
    }
  }

  // Announces a job to all nodes, then hands its ranks over.
  async function startJob(
    layout: JobLayout,
    programs: readonly PlanProgram[],
    request?: SpawnRequest,
  ): Promise<Job> {
    const guestOf = new Map(
      layout.guests.flatMap((guest) => guest.ranks.map((rank) => [rank, guest.guest] as const)),
    )
    const first = tasks.length
    const records = Array.from({ length: layout.size }, (_, rank): TaskRecord => {
      const guest = guestOf.get(rank) as number
      return {
        task: first + rank,
        job: jobs.size,
        rank,
        guest,
        node: nodeOf(guest),
        mpi: programOf({ programs }, rank).program.mpi,
        started: false,
        connected: false,
        initialised: false,
        finalised: false,
        end: undefined,
        error: undefined,
        endedAs: 0,
        endedByUs: false,
      }
    })
    const job: Job = { number: jobs.size, layout, tasks: records }
    jobs.set(layout.id, job)
    tasks.push(...records)
    running += records.length
    await Promise.all(workers.map((worker) => worker.openJob(layout, request?.preput ?? [])))
    const orders = records.map((task): RankOrder => {
      const { program, index } = programOf({ programs }, task.rank)
      return {
        task: task.task,
        rank: task.rank,
        guest: task.guest,
        argv: program.argv,
        environment: {
          ...context.environmentOf(program, task.rank, task.guest),
          ...(request ? (request.commands[index] as SpawnCommand).env : {}),
        },
        workDir: program.workDir,
        stdin: task.task === 0,
        terminal: program.mpi === 'openmpi',
      }
    })
    await Promise.all(
      workers.map((worker, node) => {
        const own = orders.filter((order) => nodeOf(order.guest) === node)
        return own.length > 0 ? worker.start(layout.id, own, launchSignal) : undefined
      }),
    )
    return job
  }

  async function spawn(request: SpawnRequest): Promise<SpawnResult> {
    if (failure) throw new LeetError({ code: 'LEET_E_SPAWN', what: 'the job is ending' })
    const parent = jobs.get(request.job)
    if (!parent) throw new LeetError({ code: 'LEET_E_SPAWN', what: 'an unknown job asked for more ranks' })
    const caller = plan.programs[0] as PlanProgram
    const programs = request.commands.map((command): PlanProgram => {
      const [path, ...rest] = command.argv
      if (!path || command.maxprocs < 1 || command.maxprocs > MOST_SPAWNED) {
        throw new LeetError({
          code: 'LEET_E_SPAWN',
          what: `cannot start ${command.maxprocs} ranks of "${path ?? ''}"`,
        })
      }
      return {
        ...caller,
        argv: [path, ...rest],
        ranks: command.maxprocs,
        workDir: command.info.wdir ?? command.info['pmix.wdir'] ?? command.cwd ?? caller.workDir,
      }
    })
    const size = programs.reduce((sum, program) => sum + program.ranks, 0)
    const ranks = mapRanks({
      ranks: size,
      slots: plan.guests.map((guest) => guest.ranks.length),
      spread: false,
    })
    const layout = layoutOf(plan, ranks, programs, { job: request.job, rank: request.rank })
    const job = await startJob(layout, programs, request)
    onEvent({ event: 'spawn', job: job.number, ranks: size })
    return { job: layout.id, errcodes: job.tasks.map(() => 0) }
  }

  answerSpawn(exchange, spawn)

  return {
    async boot(signal) {
      onEvent({ event: 'phase', phase: 'boot', state: 'begin' })
      await Promise.all(workers.map((worker, node) => worker.boot(context.bootOrder(node), signal)))
      onEvent({ event: 'phase', phase: 'boot', state: 'end' })
      // A guest may have died after it was ready.
      if (failure) throw failure.error
    },

    async run(signal) {
      launchSignal = signal
      const onAbort = () => fail(undefined, cancelled(signal), cancelled(signal).exitCode)
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        signal.throwIfAborted()
        onEvent({ event: 'phase', phase: 'launch', state: 'begin' })
        const layout = layoutOf(
          plan,
          plan.guests.map((guest) => guest.ranks),
          plan.programs,
        )
        await startJob(layout, plan.programs).catch((error) => {
          if (!failure) throw error
        })
        onEvent({ event: 'phase', phase: 'launch', state: 'end' })
        onEvent({ event: 'phase', phase: 'run', state: 'begin' })
        launched = true
        finishIfDone()
        await finished
        onEvent({ event: 'phase', phase: 'run', state: 'end' })
      } finally {
        signal.removeEventListener('abort', onAbort)
        clearTimeout(killTimer)
        for (const timer of lostTimers) clearTimeout(timer)
      }
      return { tasks, failure }
    },

    onReport,
    onNodeEvent,
    input: {
      write: (data) => {
        const first = tasks[0]
        return first && first.endedAs === 0 ? workerOf(first).write(0, data) : Promise.resolve()
      },
      end: () => {
        const first = tasks[0]
        if (first && first.endedAs === 0) workerOf(first).endInput(0)
      },
    },
    signalRanks(signal) {
      for (const worker of workers) worker.signal(signal, 'all')
    },
    holdOutput(hold) {
      for (const worker of workers) worker.holdOutput(hold)
    },
    async stop() {
      onEvent({ event: 'phase', phase: 'stop', state: 'begin' })
      await Promise.allSettled(workers.map((worker) => worker.stop()))
      onEvent({ event: 'phase', phase: 'stop', state: 'end' })
    },
  }
}

/** What the end of a rank means for the job; undefined: nothing. */
function judgeEnd(
  task: TaskRecord,
  guest: string,
  othersWait: () => boolean | undefined,
): { error: LeetError; status: number } | undefined {
  const { end, error } = task
  const who = `rank ${task.rank}${task.job > 0 ? ` of spawned job ${task.job}` : ''} in ${guest}`
  const because = (what: string, status: number) => ({ error: rankError(who, what), status })
  if (error) return { error, status: error.exitCode }
  if (!end) return undefined
  if (end.kind === 'signal') return because(`was ended by signal ${end.signal}`, 128 + end.signal)
  if (end.status !== 0) {
    // Others that finalised too may have more to say; the first status is the job's all the same.
    return task.finalised ? undefined : because(`ended with status ${end.status}`, end.status)
  }
  if (task.initialised && !task.finalised) return because('ended after MPI_Init without MPI_Finalize', 1)
  if (!task.connected && task.mpi !== 'none' && othersWait()) {
    return because('ended before MPI_Init, for which the other ranks wait', 1)
  }
  return undefined
}

// A spawn of more than this is a mistake or an attack, not a job.
const MOST_SPAWNED = 65_536

function layoutOf(
  plan: JobPlan,
  ranks: readonly (readonly number[])[],
  programs: readonly PlanProgram[],
  spawnedBy?: { job: string; rank: number },
): JobLayout {
  return {
    // 128 random bits: whoever knows the name of a job may join it.
    id: `leet-${plan.jobId}-${randomBytes(16).toString('hex')}`,
    size: programs.reduce((sum, program) => sum + program.ranks, 0),
    guests: plan.guests.map((guest, index) => ({
      guest: guest.index,
      name: guest.name,
      agent: guest.node,
      ranks: ranks[index] as readonly number[],
    })),
    appnums: programs.flatMap((program, index) => Array.from({ length: program.ranks }, () => index)),
    ...(spawnedBy ? { spawnedBy } : {}),
  }
}

function rankError(who: string, what: string, why?: string): LeetError {
  return new LeetError({ code: 'LEET_E_RANK', what, where: who, ...(why ? { why } : {}) })
}

function cancelled(signal: AbortSignal): LeetError {
  return signal.reason instanceof LeetError
    ? signal.reason
    : new LeetError({
        code: 'LEET_E_CANCELLED',
        what: 'the job was cancelled',
        why: messageOf(signal.reason),
      })
}
