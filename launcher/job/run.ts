// One job of leet-mpirun on the nodes of its plan: joins journal, image, secrets, workers, controller, output and
// outcome, and takes everything apart again whatever happened.
import { constants } from 'node:os'
import { abortReason, Deadline, LeetError, type Log, type WaitLimits } from '../../common/index.ts'
import {
  type ExplainedVariable,
  exportedVariables,
  forwardEnvironment,
  forwardInput,
  mpiSettings,
  osvSettings,
  RankOutput,
  rankTable,
} from '../../mpi-bridge/index.ts'
import type { Allocation } from '../../scheduler-adapters/index.ts'
import type { Settings } from '../cli/settings.ts'
import type { ProgramFacts } from '../images/inspect.ts'
import { Journal } from '../journal/journal.ts'
import { reap } from '../journal/reaper.ts'
import type { BootOrder, GuestImage, JobSecrets } from '../node/worker.ts'
import { hasDevices } from '../plan/devices.ts'
import { isMounted } from '../plan/mounts.ts'
import { surroundingsOf } from '../plan/network.ts'
import type { JobPlan, PlanProgram } from '../plan/plan.ts'
import { type Controller, createController } from './controller.ts'
import type { EventListener } from './events.ts'
import { isHere, type JobNodes, openNodes } from './nodes.ts'

/** What `runJob` needs. */
export interface JobOrder {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly settings: Settings
  readonly facts: readonly ProgramFacts[]
  readonly log: Log
  readonly onEvent: EventListener
  readonly cancel: AbortSignal
  /** Registers who passes signals such as SIGUSR1 on to the ranks. */
  readonly forwarded: (listener: (signal: NodeJS.Signals) => void) => void
}

/** What leet-mpirun prints and returns in the end. */
export interface JobResult {
  readonly status: number
  readonly summary: readonly string[]
}

/** Exit status of a job that --timeout ended, as timeout(1) has it. */
const EXIT_TIMEOUT = 124

/** Runs a job to its end. Rejects with LeetError when it could not be started. */
export async function runJob(order: JobOrder): Promise<JobResult> {
  const { plan, settings, log, onEvent } = order
  // What killed jobs of this user left is removed on the way; without any it costs one look at a directory.
  await reap({ log })
  const journal = await Journal.open({ jobId: plan.jobId })
  let controller: Controller | undefined
  let nodes: JobNodes | undefined
  try {
    const image = plan.guestKind === 'host' ? undefined : await findImage(order)
    const secrets = plan.guestKind === 'host' ? noSecrets : await makeSecrets(plan, image, log)
    const { signal, end } = endSignal(order)
    nodes = await openNodes(
      {
        plan,
        allocation: order.allocation,
        journal,
        log,
        onReport: (report) => controller?.onReport(report),
        onEvent: (node, event) => controller?.onNodeEvent(node, event),
        onLost: (node, error) => controller?.onNodeLost(node, error),
        onSignal: (node, name) => onAgentSignal(plan, node, name, end),
      },
      { deadline: Deadline.after(plan.limits.boot), signal },
    )
    const forwarded = forwardEnvironment(process.env, plan.guestKind !== 'host')
    for (const { name, why } of forwarded.denied) log.detail(`not given to the ranks: ${name} (${why})`)
    // Of other nodes nothing is known.
    const devices = plan.guestKind === 'host' && (!isHere(order) || hasDevices())
    const broken = new AbortController()
    const output = new RankOutput({
      stdout: process.stdout,
      stderr: process.stderr,
      tags: settings.tag,
      ranks: plan.size,
      hold: (hold) => controller?.holdOutput(hold),
      onBroken: (_stream, error) => broken.abort(error),
    })
    controller = createController({
      plan,
      workers: nodes.workers,
      exchange: nodes.exchange,
      bootOrder: (node, addresses): BootOrder => ({ plan, node, image, addresses, secrets }),
      environmentOf: (program, guest, addresses) =>
        environmentOf(
          plan,
          program,
          settingsFor(plan, program, addresses, guest, devices),
          forwarded.variables,
        ),
      onEvent,
      onOutput: (task, stream, data) => output.write(task, stream, data),
      onTaskEnd: (task) => output.end(task),
    })
    if (plan.finalizeRescue) {
      log.note(
        'MPICH 4.0 over UCX may wait for ever in MPI_Finalize: ranks that do are let go (--no-finalize-rescue: they are not)',
      )
    }
    order.forwarded((signal) => controller?.signalRanks(signal))
    await controller.boot(signal)
    const input = forwardInput(process.stdin, [controller.input])
    const outcome = await controller.run(runSignal([signal, broken.signal], settings.timeout))
    input.stop()
    await output.flush()
    return {
      status: outcome.status,
      summary: outcome.status === 0 ? [] : [...outcome.summary, ...(plan.size > 1 ? rankTable(outcome) : [])],
    }
  } finally {
    await controller?.stop()
    await nodes?.close()
    await journal.close()
  }
}

// Ends the job from outside: by a signal to this process or to an agent. Schedulers send the same when a job is cancelled
// and when its time is up, so the clock has to tell.
function endSignal({ allocation, cancel }: JobOrder): { signal: AbortSignal; end: (why: Error) => void } {
  const ended = new AbortController()
  const end = (error: Error) => {
    const timeIsUp = allocation.deadline !== undefined && Date.now() >= allocation.deadline - CLOCK_SLACK_MS
    const explained = error instanceof LeetError && error.code === 'LEET_E_SIGNAL' && timeIsUp
    ended.abort(
      explained ? new LeetError({ ...error.details, why: 'the time limit of the job is reached' }) : error,
    )
  }
  if (cancel.aborted) end(abortReason(cancel))
  cancel.addEventListener('abort', () => end(abortReason(cancel)), { once: true })
  return { signal: ended.signal, end }
}

/** Schedulers tell the end of a job to the second, and by their own clock. */
const CLOCK_SLACK_MS = 3_000

// What schedulers send to end a job; it may have come to an agent alone.
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGXCPU', 'SIGUSR2']

function onAgentSignal(
  plan: JobPlan,
  node: number,
  signal: NodeJS.Signals,
  end: (why: LeetError) => void,
): void {
  if (!ENDING.includes(signal)) return
  end(
    new LeetError({
      code: 'LEET_E_SIGNAL',
      what: `the agent got ${signal}, with which the scheduler ends a job`,
      where: plan.nodes[node]?.name,
      exitCode: 128 + constants.signals[signal],
    }),
  )
}

function runSignal(cancels: AbortSignal[], timeout: number | undefined): AbortSignal {
  if (timeout === undefined) return AbortSignal.any(cancels)
  const late = new AbortController()
  const timer = setTimeout(() => {
    late.abort(
      new LeetError({
        code: 'LEET_E_TIMEOUT',
        what: `the job did not end within ${timeout / 1000} s`,
        hint: 'a longer --timeout',
        exitCode: EXIT_TIMEOUT,
      }),
    )
  }, timeout)
  timer.unref()
  return AbortSignal.any([...cancels, late.signal])
}

// What the MPI library needs in that guest.
function settingsFor(
  plan: JobPlan,
  { mpi }: PlanProgram,
  addresses: readonly string[],
  guest: number,
  devices: boolean,
): ExplainedVariable[] {
  const where = surroundingsOf(plan, addresses, guest, devices)
  if (plan.guestKind !== 'osv') return mpiSettings(mpi, where)
  const address = addresses[guest] as string
  return osvSettings({ mpi, address, ...(where.segment ? { cidr: where.segment.cidr } : {}) })
}

// From weak to strong: what the MPI library needs, the user's own variables, what -x says.
function environmentOf(
  plan: JobPlan,
  program: PlanProgram,
  settings: readonly ExplainedVariable[],
  user: Readonly<Record<string, string>>,
): Record<string, string> {
  const variables: Record<string, string> = {}
  for (const { name, value } of settings) variables[name] = value
  Object.assign(variables, user)
  if (plan.guestKind !== 'host') {
    // The home is there, made by the guest; a temporary directory of the node is there only if it is shared.
    variables.HOME = plan.user.home
    for (const name of ['TMPDIR', 'TMP', 'TEMP']) {
      const folder = variables[name]
      if (folder !== undefined && !isMounted(plan, folder)) variables[name] = '/tmp'
    }
  }
  return Object.assign(variables, { PWD: program.workDir }, exportedVariables(program.exports, process.env))
}

async function findImage(order: JobOrder): Promise<GuestImage> {
  const { plan, log, cancel, onEvent } = order
  onEvent({ event: 'phase', phase: 'image', state: 'begin' })
  const limits = { log, deadline: Deadline.after(COMPOSE_MS), signal: cancel }
  const programs = plan.programs.map((program) => program.argv[0])
  const image =
    plan.guestKind === 'osv'
      ? await osvImage(order, programs, limits)
      : await linuxImage(order, programs, limits)
  onEvent({ event: 'phase', phase: 'image', state: 'end' })
  return image
}

async function linuxImage(
  { plan, settings, log }: JobOrder,
  programs: string[],
  limits: ComposeLimits,
): Promise<GuestImage> {
  const { composeForPrograms } = await import('./image.ts')
  const { findLinuxImage } = await import('../images/find.ts')
  const { name, files, kernel, modules } = settings.image
  const shared = plan.mounts.map(({ path }) => path)
  const image =
    name === undefined
      ? await composeForPrograms({ programs, files, kernel, modules, shared }, limits)
      : await findLinuxImage(name, process.env, process.cwd())
  log.detail(`image ${image.id}`)
  return { kind: 'linux', kernel: image.kernel, initrd: image.initrd, disk: image.disk }
}

async function osvImage(
  { plan, settings, log }: JobOrder,
  programs: string[],
  limits: ComposeLimits,
): Promise<GuestImage> {
  const { composeOsvForPrograms } = await import('./image.ts')
  const { files, osvBase, osvCompat } = settings.image
  const mountPoints = plan.mounts.flatMap((mount) => (mount.kind === 'nfs' ? [mount.path] : []))
  const image = await composeOsvForPrograms(
    { programs, files, base: osvBase, compat: osvCompat, mountPoints },
    limits,
  )
  log.detail(`image ${image.id}`)
  for (const warning of image.warnings) log.warn(warning)
  return {
    kind: 'osv',
    kernel: image.kernel,
    disk: image.disk,
    compat: image.compat,
    mountTool: image.base.nfs,
    tls: image.base.tls,
    programs: Object.fromEntries(image.programs.map(({ path }, index) => [programs[index] as string, path])),
  }
}

type ComposeLimits = WaitLimits & { readonly log: Log }

/** A cold store of a large program on a slow disk takes a while; more is a hang. */
const COMPOSE_MS = 600_000

async function makeSecrets(
  { jobId, guests }: JobPlan,
  image: GuestImage | undefined,
  log: Log,
): Promise<JobSecrets> {
  if (image?.kind === 'osv') {
    if (!image.tls) {
      log.warn('the OSv base has no TLS: whoever can reach a guest’s REST port may control it')
      return noSecrets
    }
    const { makeJobCertificates } = await import('../../mpi-bridge/index.ts')
    const { ca, client, server } = makeJobCertificates()
    return { ...noSecrets, osv: { ca, client, servers: guests.map(({ name }) => server(name)) } }
  }
  const { makeSshKeyPair } = await import('../../contextualise/index.ts')
  const pair = (comment: string) => {
    const key = makeSshKeyPair(comment)
    return { privateKey: key.private, publicKey: key.public }
  }
  return { hostKey: pair(`leet-host-${jobId}`), clientKey: pair(`leet-${jobId}`) }
}

const noSecrets: JobSecrets = {
  hostKey: { privateKey: '', publicKey: '' },
  clientKey: { privateKey: '', publicKey: '' },
}
