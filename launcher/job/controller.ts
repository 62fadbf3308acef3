// A job from its plan to its end: boots the guests, starts the ranks, watches them, ends all when one fails, and
// tells what became of each. It knows nodes only as NodeWorkers, so one node and a thousand are the same to it.
import { randomBytes } from 'node:crypto'
import { abortReason, LeetError } from '../../common/index.ts'
import {
  answerNames,
  answerSpawn,
  createNameServer,
  describeEnd,
  type Exchange,
  type InputSink,
  type JobLayout,
  type Outcome,
  outcomeOf,
  placeVariables,
  type RankObservation,
  type RankReport,
  rankFailure,
  type SpawnRequest,
  type SpawnResult,
} from '../../mpi-bridge/index.ts'
import {
  type BootOrder,
  bootGuests,
  type NodeEvent,
  type NodeWorker,
  type RankOrder,
} from '../node/worker.ts'
import { type GuestPlan, type JobPlan, type PlanProgram, programOf } from '../plan/plan.ts'
import type { EventListener, RankState } from './events.ts'
import { spawnedEnvironment, spawnedPlaces, spawnedPrograms } from './spawned.ts'

/** What a controller needs besides the plan. */
export interface ControllerContext {
  readonly plan: JobPlan
  /** One worker for each node of the plan, in its order. */
  readonly workers: readonly NodeWorker[]
  readonly exchange: Exchange
  /** Address of each guest, where that is known before the guests are booted. */
  readonly addresses?: readonly string[]
  /** The order of a node; it holds the secrets. */
  readonly bootOrder: (node: number, addresses: readonly string[]) => BootOrder
  /** Variables that ranks of a program get besides those of the process manager. */
  readonly environmentOf: (
    program: PlanProgram,
    guest: number,
    addresses: readonly string[],
  ) => Readonly<Record<string, string>>
  readonly onEvent: EventListener
  /** Output of a rank; the controller never keeps it. */
  readonly onOutput: (task: TaskName, stream: 'stdout' | 'stderr', data: Uint8Array) => void
  /** All that the task wrote has been told. */
  readonly onTaskEnd: (task: TaskName) => void
}

/** A process of the job: `job` is 0 for the first job and counts the spawned ones after it. */
export interface TaskName {
  readonly task: number
  readonly job: number
  readonly rank: number
  readonly guest: number
}

/** A process with what was seen of it so far. */
interface Task extends TaskName {
  readonly node: number
  seen: RankObservation
}

/** How long ranks have between SIGTERM and SIGKILL, and how long a lost rank's end is awaited, in milliseconds. */
const TERM_GRACE = 1_000
const LOST_GRACE = 1_000
/** How long ranks may take to be gone after SIGKILL before they are given up, in milliseconds. */
const KILL_GRACE = 5_000

interface Job {
  readonly number: number
  readonly layout: JobLayout
  readonly tasks: readonly Task[]
}

/** The controller of one leet-mpirun. */
export interface Controller {
  /** Boots all guests; rejects when one does not become ready. */
  boot(signal: AbortSignal): Promise<void>
  /** Starts the ranks and waits for the end of the last; ends everything at the first failure or when the signal fires. */
  run(signal: AbortSignal): Promise<Outcome>
  /** What ranks do, from the exchange. */
  onReport(report: RankReport): void
  /** What nodes tell. */
  onNodeEvent(node: number, event: NodeEvent): void
  /** A node is gone, with all that ran there. */
  onNodeLost(node: number, error: LeetError): void
  /** Input for the ranks of the first job that read it; what comes before they are started waits. */
  readonly input: InputSink
  /** Passes a signal on to all ranks. */
  signalRanks(signal: NodeJS.Signals): void
  holdOutput(hold: boolean): void
  /** Ends ranks and guests; nothing is left. */
  stop(): Promise<void>
}

/** Makes the controller of a job; nothing is started yet. */
export function createController(context: ControllerContext): Controller {
  const { plan, workers, exchange, onEvent } = context
  const tasks: Task[] = []
  /** Of each guest, by its index. */
  const addresses: string[] = [...(context.addresses ?? [])]
  const jobs = new Map<string, Job>()
  const lostTimers = new Set<NodeJS.Timeout>()
  let stoppedAt: number | undefined
  let stoppedFor: LeetError | undefined
  let running = 0
  let launched = false
  let launchSignal: AbortSignal = new AbortController().signal
  let finish: () => void = () => {}
  let killTimer: NodeJS.Timeout | undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })

  const started = Promise.withResolvers<void>()
  const readers = () =>
    tasks.filter(
      (task) => task.job === 0 && readsInput(plan.stdin, task.rank) && task.seen.endedAt === undefined,
    )

  const guestName = (guest: number) => plan.guests[guest]?.name ?? `guest ${guest}`
  const nodeOf = (guest: number) => plan.guests[guest]?.node ?? 0
  const tellRank = (task: Task, state: RankState, detail?: string) =>
    onEvent({
      event: 'rank',
      job: task.job,
      rank: task.rank,
      guest: guestName(task.guest),
      state,
      ...(detail ? { detail } : {}),
    })

  // TERM first, so that programs can say goodbye; what remains after the grace is killed.
  function endAll(why?: LeetError): void {
    if (stoppedAt !== undefined) return
    stoppedAt = performance.now()
    stoppedFor = why
    if (running === 0) {
      finishIfDone()
      return
    }
    for (const worker of workers) worker.signal('SIGTERM', 'all')
    killTimer = setTimeout(() => {
      for (const worker of workers) worker.signal('SIGKILL', 'all')
      killTimer = setTimeout(giveUp, KILL_GRACE)
    }, TERM_GRACE)
  }

  // A process that waits for a file system whose server is dead is not even ended by SIGKILL: only its guest's end is.
  function giveUp(): void {
    for (const task of tasks) {
      if (task.seen.endedAt !== undefined) continue
      const error = new LeetError({
        code: 'LEET_E_RANK_STUCK',
        where: `rank ${task.rank} in ${guestName(task.guest)}`,
        what: `did not end within ${KILL_GRACE / 1000} s of SIGKILL`,
        hint: 'it may wait for a file server that does not answer',
      })
      endTask(task, { error })
    }
  }

  function finishIfDone(): void {
    if (launched && running === 0) finish()
  }

  function endTask(task: Task, end: Pick<RankObservation, 'end' | 'error'>): void {
    if (task.seen.endedAt !== undefined) return
    task.seen = { ...task.seen, ...end, endedAt: performance.now() }
    running--
    context.onTaskEnd(task)
    judge(task)
    finishIfDone()
  }

  // Whether what a rank did is the end of the job.
  function judge(task: Task): void {
    if (stoppedAt !== undefined) return
    const peers = [...jobs.values()].find((job) => job.number === task.job)?.tasks ?? []
    const { seen } = task
    // Asked only where it matters: it looks at all ranks.
    const othersWait =
      seen.usesMpi &&
      !seen.connected &&
      peers.some((other) => other.seen.connected && other.seen.endedAt === undefined)
    if (rankFailure(seen, othersWait)?.fatal) endAll()
  }

  function onReport(report: RankReport): void {
    names.observe(report)
    const task = jobs.get(report.job)?.tasks[report.rank]
    if (!task) return
    switch (report.kind) {
      case 'connected':
      case 'initialised':
      case 'finalised':
        task.seen = { ...task.seen, [report.kind]: true }
        tellRank(task, report.kind)
        return
      case 'aborted':
        task.seen = {
          ...task.seen,
          aborted: { at: performance.now(), status: report.status, message: report.message },
        }
        tellRank(task, 'aborted', `status ${report.status}`)
        judge(task)
        return
      case 'lost': {
        tellRank(task, 'lost', report.why)
        const lost = { at: performance.now(), why: report.why }
        // Its end, which says more, usually follows at once.
        const timer = setTimeout(() => {
          lostTimers.delete(timer)
          if (task.seen.endedAt !== undefined) return
          task.seen = { ...task.seen, lost }
          judge(task)
        }, LOST_GRACE)
        lostTimers.add(timer)
      }
    }
  }

  function onNodeEvent(_node: number, event: NodeEvent): void {
    if (event.kind === 'guest') {
      onEvent({
        event: 'guest',
        guest: guestName(event.guest),
        state: event.state,
        ...(event.detail ? { detail: event.detail } : {}),
      })
      return
    }
    if (event.kind === 'address') {
      addresses[event.guest] = event.address
      return
    }
    // Whoever keeps guests for others wants to know.
    if (event.kind === 'held') return
    if (event.kind === 'machine') {
      const { cpus, memory } = plan.guests[event.guest] as GuestPlan
      onEvent({
        event: 'machine',
        guest: guestName(event.guest),
        accelerator: event.accelerator,
        cpus,
        memory,
      })
      return
    }
    if (event.kind === 'resident') {
      const { now, peak } = event
      onEvent({ event: 'resident', guest: guestName(event.guest), now, peak })
      return
    }
    if (event.kind === 'guest-lost') {
      onEvent({ event: 'guest-lost', guest: guestName(event.guest), message: event.error.message })
      for (const task of tasks) if (task.guest === event.guest) endTask(task, { error: event.error })
      endAll(event.error)
      return
    }
    const task = tasks[event.task]
    if (!task) return
    switch (event.kind) {
      case 'output':
        context.onOutput(task, event.stream, event.data)
        return
      case 'bound':
        tellRank(task, 'bound', event.how)
        return
      case 'began':
        tellRank(task, 'started', `pid ${event.pid}`)
        return
      case 'failed':
        tellRank(task, 'failed', event.error.message)
        endTask(task, { error: event.error })
        return
      case 'ended':
        tellRank(task, 'ended', describeEnd(event.end))
        endTask(task, { end: event.end })
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
    const ranksOf = new Map(layout.guests.map((guest) => [guest.guest, guest.ranks] as const))
    const first = tasks.length
    const records = Array.from({ length: layout.size }, (_, rank): Task => {
      const guest = guestOf.get(rank) as number
      return {
        task: first + rank,
        job: jobs.size,
        rank,
        guest,
        node: nodeOf(guest),
        seen: {
          job: jobs.size,
          rank,
          guest: guestName(guest),
          usesMpi: programOf({ programs }, rank).program.mpi !== 'none',
          connected: false,
          initialised: false,
          finalised: false,
        },
      }
    })
    const job: Job = { number: jobs.size, layout, tasks: records }
    jobs.set(layout.id, job)
    tasks.push(...records)
    running += records.length
    await Promise.all(workers.map((worker) => worker.openJob(layout, request?.preput ?? [])))
    const orderOf = (task: Task): RankOrder => {
      const { program, index } = programOf({ programs }, task.rank)
      const command = request?.commands[index]
      const inherited = {
        ...placeVariables(program.mpi, {
          rank: task.rank,
          size: layout.size,
          guest: ranksOf.get(task.guest) as readonly number[],
          universe: plan.universe,
        }),
        ...context.environmentOf(program, task.guest, addresses),
      }
      return {
        task: task.task,
        rank: task.rank,
        guest: task.guest,
        argv: program.argv,
        environment: command ? spawnedEnvironment(command, inherited) : inherited,
        workDir: program.workDir,
        stdin: task.job === 0 && readsInput(plan.stdin, task.rank),
        terminal: program.mpi === 'openmpi',
      }
    }
    // Orders are made for one node at a time: those of all nodes at once would be this process' largest piece of memory.
    const ofNode = Map.groupBy(records, ({ node }) => node)
    await Promise.all(
      workers.map((worker, node) => {
        const own = ofNode.get(node)
        return own && worker.start(layout.id, own.map(orderOf), launchSignal)
      }),
    )
    return job
  }

  // After a failure what can still be had is brought back, but the failure is what the user is told.
  async function collect(signal: AbortSignal): Promise<void> {
    const collected = Promise.all(workers.map((worker) => worker.collect(signal)))
    await (stoppedAt === undefined ? collected : collected.catch(() => {}))
  }

  async function spawn(request: SpawnRequest): Promise<SpawnResult> {
    if (stoppedAt !== undefined) throw new LeetError({ code: 'LEET_E_SPAWN', what: 'the job is ending' })
    const parent = jobs.get(request.job)
    if (!parent) throw new LeetError({ code: 'LEET_E_SPAWN', what: 'an unknown job asked for more ranks' })
    const caller = plan.programs[0] as PlanProgram
    const programs = spawnedPrograms(request.commands, caller)
    const ranks = spawnedPlaces(plan, request.commands)
    const layout = layoutOf(plan, ranks, programs, { job: request.job, rank: request.rank })
    const job = await startJob(layout, programs, request)
    onEvent({ event: 'spawn', job: job.number, ranks: layout.size })
    return { job: layout.id, errcodes: job.tasks.map(() => 0) }
  }

  answerSpawn(exchange, spawn)
  const names = createNameServer()
  answerNames(exchange, names)

  return {
    async boot(signal) {
      onEvent({ event: 'phase', phase: 'boot', state: 'begin' })
      await bootGuests(plan, workers, (node) => context.bootOrder(node, addresses), signal)
      onEvent({ event: 'phase', phase: 'boot', state: 'end' })
      // A guest may have died after it was ready.
      if (stoppedFor) throw stoppedFor
    },

    async run(signal) {
      launchSignal = signal
      const onAbort = () => endAll(abortReason(signal) as LeetError)
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
          if (stoppedAt === undefined) throw error
        })
        onEvent({ event: 'phase', phase: 'launch', state: 'end' })
        onEvent({ event: 'phase', phase: 'run', state: 'begin' })
        launched = true
        started.resolve()
        finishIfDone()
        await finished
        await collect(signal)
        onEvent({ event: 'phase', phase: 'run', state: 'end' })
      } finally {
        signal.removeEventListener('abort', onAbort)
        clearTimeout(killTimer)
        for (const timer of lostTimers) clearTimeout(timer)
      }
      return outcomeOf({
        ranks: tasks.map((task) => task.seen),
        ...(stoppedAt === undefined ? {} : { stoppedAt }),
        ...(stoppedFor === undefined ? {} : { stoppedFor }),
      })
    },

    onReport,
    onNodeEvent,
    onNodeLost(node, error) {
      for (const task of tasks) if (task.node === node) endTask(task, { error })
      endAll(error)
    },
    input: {
      async write(data) {
        await started.promise
        await Promise.all(readers().map((task) => workers[task.node]?.write(task.task, data)))
      },
      end() {
        void started.promise.then(() => {
          for (const task of readers()) workers[task.node]?.endInput(task.task)
        })
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
      names.close()
      await Promise.allSettled(workers.map((worker) => worker.stop()))
      onEvent({ event: 'phase', phase: 'stop', state: 'end' })
    },
  }
}

function readsInput(stdin: JobPlan['stdin'], rank: number): boolean {
  return stdin === 'all' || stdin === rank
}

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
    ...(plan.universe === undefined ? {} : { universeSize: plan.universe }),
    ...(spawnedBy ? { spawnedBy } : {}),
  }
}
