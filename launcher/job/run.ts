// One job of leet-mpirun on the nodes of its plan: joins journal, image, secrets, workers, controller, output and
// outcome, and takes everything apart again whatever happened.
import { Deadline, LeetError, type Log, Scope } from '../../common/index.ts'
import {
  FilesOfRanks,
  forwardEnvironment,
  forwardInput,
  linePrefix,
  type OutputOrigin,
  outputPath,
  RankOutput,
  rankTable,
} from '../../mpi-bridge/index.ts'
import type { Allocation } from '../../scheduler-adapters/index.ts'
import { Journal } from '../journal/journal.ts'
import { reap } from '../journal/reaper.ts'
import type {
  BootOrder,
  DiskImageFile,
  GuestAccess,
  GuestImage,
  HeldGuest,
  JobSecrets,
  OsvImageFiles,
} from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'
import { environmentOf, settingsFor } from '../plan/rank-environment.ts'
import type { Settings } from '../plan/settings.ts'
import { type Controller, createController } from './controller.ts'
import { Emulation } from './emulation.ts'
import { endSignal } from './end-signal.ts'
import type { EventListener } from './events.ts'
import { findImage } from './guest-image.ts'
import { mayHaveDevices, openNodes } from './nodes.ts'
import { makeSecrets } from './secrets.ts'

/** Guests that are up, and stay so. */
export interface HeldGuests {
  readonly plan: Pick<JobPlan, 'guests'>
  /** In the order of the plan. `address`: by which the other guests know it. */
  readonly guests: readonly (HeldGuest & { readonly address: string })[]
  /** What leads into them. */
  readonly access: GuestAccess
  /** A distribution's own image, where they booted one. */
  readonly disk?: DiskImageFile
  /** The image of OSv guests. */
  readonly osv?: { readonly image: OsvImageFiles }
}

/** What `runJob` needs. */
export interface JobOrder {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly settings: Settings
  /** Whose guests are used; undefined when the job boots its own. */
  readonly session?: HeldGuests
  readonly log: Log
  readonly onEvent: EventListener
  /** What a rank wrote is about to be written to the user's streams. */
  readonly beforeOutput: () => void
  readonly cancel: AbortSignal
  /** Registers who passes signals such as SIGUSR1 on to the ranks. */
  readonly forwarded: (listener: (signal: NodeJS.Signals) => void) => void
  /** Registers who hears that the user will not wait for the last words of the ranks. */
  readonly hurried: (listener: () => void) => void
}

/** What leet-mpirun prints and returns in the end. */
export interface JobResult {
  readonly status: number
  readonly summary: readonly string[]
  /** The reader of the output does not take it: there is nothing to wait for any more. */
  readonly unread: boolean
}

/** How long guests and agents may take to be gone, in milliseconds: longer than a node takes, and than it is waited for. */
const STOP_MS = 30_000
/** Exit status of a job that --timeout ended, as timeout(1) has it. */
const EXIT_TIMEOUT = 124

/** Runs a job to its end. Rejects with LeetError when it could not be started. */
export async function runJob(order: JobOrder): Promise<JobResult> {
  const { log } = order
  // What killed jobs of this user left is removed on the way; without any it costs one look at a directory.
  await reap({ log })
  const options = { name: 'the job', warn: (line: string) => log.warn(line) }
  return Scope.run(options, (scope) => runIn(scope, order))
}

async function runIn(scope: Scope, order: JobOrder): Promise<JobResult> {
  const { plan, settings, log, onEvent } = order
  const journal = await Journal.open({ jobId: plan.jobId })
  scope.onEnd('what is in its journal', (limits) => journal.close(limits))
  const files = new FilesOfRanks()
  scope.onEnd('the files of its output', () => files.close())
  const emulation = new Emulation(plan)
  let controller: Controller | undefined
  const boots = plan.guestKind !== 'host' && !order.session
  const programs = plan.programs.map(({ argv }) => argv[0])
  let image = imageOf(order.session)
  let secrets: JobSecrets = { kind: 'host' }
  if (boots) {
    image = await findImage({ ...order, programs })
    secrets = await makeSecrets(plan, image)
  }
  const held = order.session && { access: order.session.access, guests: heldGuestsOf(order.session) }
  const { signal, onAgentSignal } = endSignal(order)
  const nodes = await openNodes(
    {
      plan,
      allocation: order.allocation,
      ...{ journal, log, scope },
      onReport: (report) => controller?.onReport(report),
      onEvent: (node, event) => {
        emulation.hear(node, event)
        controller?.onNodeEvent(node, event)
      },
      onLost: (node, error) => controller?.onNodeLost(node, error),
      onSignal: onAgentSignal,
    },
    { deadline: Deadline.after(plan.limits.boot), signal },
  )
  if (image && plan.nodes.length > 1) {
    const { serveImage } = await import('./serve-image.ts')
    serveImage(image, { plan, exchange: nodes.exchange, log })
  }
  if (plan.mirrored) {
    const { serveMirrors } = await import('./mirrors.ts')
    serveMirrors({ plan, exchange: nodes.exchange, journal, log, scope })
  }
  const forwarded = forwardEnvironment(process.env, plan.guestKind !== 'host')
  for (const { name, why } of forwarded.denied) log.detail(`not given to the ranks: ${name} (${why})`)
  const devices = mayHaveDevices(order)
  const broken = new AbortController()
  const prefix = linePrefix(settings.output.tags, () => new Date())
  const output = new RankOutput({
    stdout: process.stdout,
    stderr: process.stderr,
    prefix: prefix && ((source, stream) => prefix(originOf(plan, source, stream))),
    ranks: plan.size,
    hold: (hold) => controller?.holdOutput(hold),
    onBroken: (_stream, error) => broken.abort(error),
  })
  const intoFile = (path: string, data: Uint8Array) => {
    try {
      files.write(path, data)
    } catch (error) {
      broken.abort(error)
    }
  }
  controller = createController({
    plan,
    workers: nodes.workers,
    exchange: nodes.exchange,
    bootOrder: (node, addresses): BootOrder => ({
      ...{ plan, node, image, addresses, secrets },
      ...(held ? { held } : {}),
    }),
    ...(held
      ? {
          addresses: plan.guests.map(
            ({ name }) => (held.guests[name] as HeldGuests['guests'][number]).address,
          ),
        }
      : {}),
    environmentOf: (program, guest, addresses) =>
      environmentOf(
        plan,
        program,
        settingsFor(plan, program, addresses, guest, devices),
        forwarded.variables,
        process.env,
      ),
    onEvent,
    onOutput: (task, from, data) => {
      const stream = settings.output.merge ? 'stdout' : from
      const path =
        settings.output.files && outputPath(settings.output.files, originOf(plan, task, stream), plan.size)
      if (path !== undefined) intoFile(path, data)
      if (path !== undefined && settings.output.files?.copy === false) return
      if (settings.outputFrom !== undefined && (task.job > 0 || task.rank !== settings.outputFrom)) return
      order.beforeOutput()
      output.write(task, stream, data)
    },
    onTaskEnd: (task) => output.end(task),
    onEnding: () => output.leaveStalled(),
  })
  const ofJob = controller
  scope.onEnd('its guests', () => ofJob.stop(), STOP_MS)
  if (plan.finalizeRescue) {
    log.note(
      'MPICH 4.0 over UCX may wait for ever in MPI_Finalize: ranks that do are let go (--no-finalize-rescue: they are not)',
    )
  }
  order.forwarded((signal) => controller?.signalRanks(signal))
  await controller.boot(signal)
  emulation.tell(log)
  const input = plan.stdin === 'none' ? undefined : forwardInput(process.stdin, [controller.input])
  order.hurried(() => ofJob.hurry())
  if (input) scope.onEnd('its input', () => input.stop())
  const outcome = await controller.run(runSignal(scope, [signal, broken.signal], settings.timeout))
  input?.stop()
  const unread = !(await output.flush())
  const asked = settings.exitCodes || (outcome.status !== 0 && plan.size > 1)
  const summary = [...outcome.summary, ...(asked ? rankTable(outcome) : [])]
  return { status: outcome.status, summary, unread }
}

function originOf(
  plan: JobPlan,
  { job, rank, guest }: { job: number; rank: number; guest: number },
  stream: 'stdout' | 'stderr',
): OutputOrigin {
  const { name = '', ranks = [] } = plan.guests[guest] ?? {}
  const together = plan.guestKind === 'osv' && ranks.length > 1
  return { job, rank, guest, host: name, stream, ...(together ? { together } : {}) }
}

function heldGuestsOf({ plan, guests }: HeldGuests): Readonly<Record<string, HeldGuests['guests'][number]>> {
  return Object.fromEntries(
    plan.guests.map(({ name, index }) => [name, guests[index] as HeldGuests['guests'][number]]),
  )
}

/** What the guests of a session booted, where its jobs must know. */
function imageOf(session: HeldGuests | undefined): GuestImage | undefined {
  if (session?.disk) return { kind: 'disk', ...session.disk }
  return session?.osv && { kind: 'osv', ...session.osv.image }
}

function runSignal(scope: Scope, cancels: AbortSignal[], timeout: number | undefined): AbortSignal {
  if (timeout === undefined) return AbortSignal.any(cancels)
  const late = new AbortController()
  const end = () =>
    late.abort(
      new LeetError({
        code: 'LEET_E_TIMEOUT',
        what: `timeout: the job did not end within ${timeout / 1000} s`,
        hint: 'a longer --timeout',
        exitCode: EXIT_TIMEOUT,
      }),
    )
  scope.timer(timeout, end, { unref: true })
  return AbortSignal.any([...cancels, late.signal])
}
