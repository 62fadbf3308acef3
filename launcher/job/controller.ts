// A job from its plan to its end: boots the guests, starts the ranks, watches them, ends all when one fails, and
// tells what became of each. It knows nodes only as NodeWorkers, so one node and a thousand are the same to it.
import { randomBytes } from 'node:crypto'
import {
  abortReason,
  describeError,
  eachInTurn,
  failureOf,
  LeetError,
  messageOf,
  setTimer,
  type Timer,
} from '../../common/index.ts'
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
  type RankReport,
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
import { BEGIN, type Command, type Happening, type PlannedRank, step } from './job-state.ts'
import { spawnedEnvironment, spawnedPlaces, spawnedPrograms } from './spawned.ts'
import { isOver, type Task, type TaskName } from './tasks.ts'

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
  /** The job is being ended: output that nobody takes must not keep it. */
  readonly onEnding: () => void
}

/** Codes of errors that say where results are which did not come back. */
const LOST_RESULTS: ReadonlySet<string> = new Set(['LEET_E_STAGING', 'LEET_E_RESULTS'])

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
  /** A job that is ending gives its ranks no more time; nor, once they have ended, results to be brought back. */
  hurry(): void
  /** Passes a signal on to all ranks. */
  signalRanks(signal: NodeJS.Signals): void
  holdOutput(hold: boolean): void
  /** Ends ranks and guests; nothing is left. */
  stop(): Promise<void>
}

/** Makes the controller of a job; nothing is started yet. */
export function createController(context: ControllerContext): Controller {
  const { plan, workers, exchange, onEvent } = context
  /** Of each guest, by its index. */
  const addresses: string[] = [...(context.addresses ?? [])]
  const orders: JobOrders[] = []
  const numbers = new Map<string, number>()
  const clocks = new Clocks()
  const finished = Promise.withResolvers<void>()
  const inputOpen = Promise.withResolvers<void>()
  /** Whether results are on their way, and that nobody waits for them any more. */
  let collecting = false
  const unwanted = new AbortController()
  let state = BEGIN
  const happenings: Happening[] = []
  let lastAt = 0

  const guestName = (guest: number) => plan.guests[guest]?.name ?? `guest ${guest}`
  const tellRank = (task: TaskName, rankState: RankState, detail?: string) =>
    onEvent({
      event: 'rank',
      job: task.job,
      rank: task.rank,
      guest: guestName(task.guest),
      state: rankState,
      ...(detail ? { detail } : {}),
    })

  // What a command brings about at once waits until the commands of its step are done.
  function happen(happening: Untimed<Happening>): void {
    // No two are at the same time, so that one is the first.
    lastAt = Math.max(performance.now(), lastAt + 0.001)
    happenings.push({ ...happening, at: lastAt } as Happening)
    if (happenings.length > 1) return
    for (let next = happenings[0]; next; happenings.shift(), next = happenings[0]) {
      const after = step(state, next)
      state = after.state
      for (const command of after.commands) perform(command)
    }
  }

  function perform(command: Command): void {
    switch (command.kind) {
      case 'announce':
        announce(command.job)
        return
      case 'hand over':
        handOver(command.job, command.tasks)
        return
      case 'launched': {
        const { launched } = orders[command.job] as JobOrders
        if (command.error) launched.reject(command.error)
        else launched.resolve()
        if (command.job === 0) inputOpen.resolve()
        return
      }
      case 'await end': {
        const { task, why } = command
        const since = performance.now()
        clocks.set(`task ${task}`, command.ms, () => happen({ kind: 'left for good', task, since, why }))
        return
      }
      case 'end ranks':
        context.onEnding()
        for (const worker of workers) worker.end(command.graceMs)
        return
      case 'set clock':
        clocks.set('end', command.ms, () => happen({ kind: 'time is up' }))
        return
      case 'task over':
        context.onTaskEnd(command.task)
        return
      case 'finish':
        clocks.stop()
        inputOpen.resolve()
        finished.resolve()
    }
  }

  async function announce(job: number): Promise<void> {
    const { layout, request } = orders[job] as JobOrders
    const error = await Promise.all(
      workers.map((worker) => worker.openJob(layout, request?.preput ?? [])),
    ).then(() => undefined, asLeetError)
    happen({ kind: 'announced', job, ...(error ? { error } : {}) })
  }

  // Orders are made for one node at a time: those of all nodes at once would be this process' largest piece of memory.
  function handOver(job: number, tasks: readonly Task[]): void {
    const { layout } = orders[job] as JobOrders
    const orderOf = orderMaker(orders[job] as JobOrders)
    for (const [node, own] of Map.groupBy(tasks, (task) => task.node)) {
      const answered = (error?: LeetError) =>
        happen({ kind: 'handed over', job, node, ...(error ? { error } : {}) })
      const worker = workers[node] as NodeWorker
      const handing = async () => worker.start(layout.id, own.map(orderOf))
      handing().then(
        () => answered(),
        (error) => answered(asLeetError(error)),
      )
    }
  }

  function orderMaker({ layout, programs, request }: JobOrders): (task: Task) => RankOrder {
    const ranksOf = new Map(layout.guests.map((guest) => [guest.guest, guest.ranks] as const))
    return (task) => {
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
  }

  /** Starts the ranks of a job; resolves with its number when all nodes have them. */
  async function startJob(
    layout: JobLayout,
    programs: readonly PlanProgram[],
    request?: SpawnRequest,
  ): Promise<number> {
    const job = orders.length
    const launched = Promise.withResolvers<void>()
    orders.push({ layout, programs, request, launched })
    numbers.set(layout.id, job)
    happen({ kind: 'planned', ranks: plannedRanks(layout, programs) })
    await launched.promise
    return job
  }

  async function spawn(request: SpawnRequest): Promise<SpawnResult> {
    if (!numbers.has(request.job)) {
      throw new LeetError({ code: 'LEET_E_COMM_SPAWN', what: 'an unknown job asked for more ranks' })
    }
    const caller = plan.programs[0] as PlanProgram
    const programs = spawnedPrograms(request.commands, caller)
    const ranks = spawnedPlaces(plan, request.commands)
    const layout = layoutOf(plan, ranks, programs, { job: request.job, rank: request.rank })
    const job = await startJob(layout, programs, request)
    onEvent({ event: 'spawn', job, ranks: layout.size })
    return { job: layout.id, errcodes: Array.from({ length: layout.size }, () => 0) }
  }

  function onReport(report: RankReport): void {
    names.observe(report)
    const job = numbers.get(report.job)
    const task =
      job === undefined ? undefined : state.tasks.at((state.jobs[job]?.firstTask ?? -1) + report.rank)
    if (!task || task.job !== job) return
    switch (report.kind) {
      case 'connected':
      case 'initialised':
      case 'finalised':
        tellRank(task, report.kind)
        happen({ kind: 'reached', task: task.task, what: report.kind })
        return
      case 'aborted': {
        tellRank(task, 'aborted', `status ${report.status}`)
        const { status, message } = report
        happen({ kind: 'aborted', task: task.task, status, message })
        return
      }
      case 'lost':
        tellRank(task, 'lost', report.why)
        happen({ kind: 'left', task: task.task, why: report.why })
        return
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
      case 'address':
        addresses[event.guest] = event.address
        return
      // Whoever keeps guests for others wants to know.
      case 'held':
        return
      case 'machine': {
        const { cpus, memory } = plan.guests[event.guest] as GuestPlan
        const { accelerator } = event
        onEvent({ event: 'machine', guest: guestName(event.guest), accelerator, cpus, memory })
        return
      }
      case 'resident': {
        const { kind, guest, ...memory } = event
        onEvent({ event: kind, guest: guestName(guest), ...memory })
        return
      }
      case 'guest-lost':
        onEvent({ event: 'guest-lost', guest: guestName(event.guest), message: event.error.message })
        happen({ kind: 'guest lost', guest: event.guest, error: event.error })
        return
    }
    const task = state.tasks.at(event.task)
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
        happen({ kind: 'began', task: event.task })
        return
      case 'failed':
        tellRank(task, 'failed', event.error.message)
        happen({ kind: 'failed', task: event.task, error: event.error })
        return
      case 'ended':
        tellRank(task, 'ended', describeEnd(event.end))
        happen({ kind: 'ended', task: event.task, end: event.end })
        return
    }
  }

  const readers = () =>
    [...state.tasks].filter((task) => task.job === 0 && readsInput(plan.stdin, task.rank) && !isOver(task))

  // However the job ended what can still be had is brought back. How it ended is what the user is told, and where results
  // still are. Only who ends it now, while they are on their way, does not want to wait for them.
  async function collect(ended: AbortSignal): Promise<string[]> {
    if (plan.guestKind !== 'osv' && !plan.mirrored) return []
    const signal = ended.aborted ? unwanted.signal : AbortSignal.any([ended, unwanted.signal])
    collecting = true
    const ends = await Promise.allSettled(workers.map((worker) => worker.collect(signal)))
    const merging = eachInTurn(workers.map((worker) => () => worker.merge(signal)))
    ends.push(...(await Promise.allSettled([merging])))
    collecting = false
    const failed = failureOf(ends)
    if (!failed) return []
    if (!state.ending) throw ended.aborted ? endedFor(abortReason(ended), failed) : failed
    const { also = [], ...first } = failed.details
    const told = [first, ...also].filter(({ code }) => LOST_RESULTS.has(code))
    return told.map((details) => describeError(new LeetError(details)))
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
      if (state.ending?.why) throw state.ending.why
    },

    async run(signal) {
      signal.throwIfAborted()
      const onAbort = () => happen({ kind: 'cancelled', error: asLeetError(abortReason(signal)) })
      signal.addEventListener('abort', onAbort, { once: true })
      let lost: string[] = []
      try {
        onEvent({ event: 'phase', phase: 'launch', state: 'begin' })
        const ranks = plan.guests.map((guest) => guest.ranks)
        // Why it could not be started is in the state, and so in the outcome.
        const started = startJob(layoutOf(plan, ranks, plan.programs), plan.programs).catch(() => {})
        await Promise.race([started, finished.promise])
        onEvent({ event: 'phase', phase: 'launch', state: 'end' })
        onEvent({ event: 'phase', phase: 'run', state: 'begin' })
        await finished.promise
        lost = await collect(signal)
        onEvent({ event: 'phase', phase: 'run', state: 'end' })
      } finally {
        signal.removeEventListener('abort', onAbort)
        clocks.stop()
      }
      const outcome = outcomeOf({
        ranks: [...state.tasks].map((task) => task.seen),
        ...(state.ending ? { stoppedAt: state.ending.at } : {}),
        ...(state.ending?.why ? { stoppedFor: state.ending.why } : {}),
      })
      return { ...outcome, summary: [...outcome.summary, ...lost] }
    },

    onReport,
    onNodeEvent,
    onNodeLost: (node, error) => happen({ kind: 'node lost', node, error }),
    hurry() {
      happen({ kind: 'hurried' })
      if (collecting) unwanted.abort(endedAgain())
    },
    input: {
      async write(data) {
        await inputOpen.promise
        await Promise.all(readers().map((task) => workers[task.node]?.write(task.task, data)))
      },
      end() {
        void inputOpen.promise.then(() => {
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
      const stops = await Promise.allSettled(workers.map((worker) => worker.stop()))
      onEvent({ event: 'phase', phase: 'stop', state: 'end' })
      // That a node is gone was told.
      const failed = stops.flatMap((stop) => (stop.status === 'rejected' ? [asLeetError(stop.reason)] : []))
      const told = failed.find(({ code }) => code !== 'LEET_E_AGENT_LOST')
      if (told) throw told
    },
  }
}

/** What the ranks of a job are started with. */
interface JobOrders {
  readonly layout: JobLayout
  readonly programs: readonly PlanProgram[]
  readonly request: SpawnRequest | undefined
  readonly launched: PromiseWithResolvers<void>
}

type Untimed<T> = T extends unknown ? Omit<T, 'at'> : never

// Timers by what they are for; setting one again replaces it.
class Clocks {
  readonly #timers = new Map<string, Timer>()

  set(name: string, ms: number, then: () => void): void {
    this.#timers.get(name)?.cancel()
    const fire = () => {
      this.#timers.delete(name)
      then()
    }
    this.#timers.set(name, setTimer(ms, fire))
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
  }
}

function endedAgain(): LeetError {
  return new LeetError({
    code: 'LEET_E_CANCELLED',
    what: 'the job was ended a second time while they were on their way',
  })
}

/** Why a job was ended, and what was lost by that. */
function endedFor(reason: Error, { details: { also = [], ...first } }: LeetError): LeetError {
  return new LeetError({ ...asLeetError(reason).details, also: [first, ...also] })
}

function asLeetError(error: unknown): LeetError {
  if (error instanceof LeetError) return error
  return new LeetError({ code: 'LEET_E_AGENT', what: messageOf(error), cause: error })
}

function plannedRanks(layout: JobLayout, programs: readonly PlanProgram[]): PlannedRank[] {
  return layout.guests
    .flatMap(({ guest, name, agent, ranks }) =>
      ranks.map((rank) => {
        const { program, index } = programOf({ programs }, rank)
        const usesMpi = program.mpi !== 'none'
        return { rank, guest, guestName: name, node: agent, program: index, usesMpi }
      }),
    )
    .toSorted((one, other) => one.rank - other.rank)
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
