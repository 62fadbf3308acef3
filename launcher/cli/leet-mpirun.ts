// The command `leet-mpirun`: from its words to an exit status.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { isSystemError, LeetError, type Log, lineLog, messageOf, systemReason } from '../../common/index.ts'
import { expandAppFile, parseCommandWords, parseRankfile, type RankPlace } from '../../mpi-bridge/index.ts'
import { type Allocation, parseHostSequence } from '../../scheduler-adapters/index.ts'
import { configPaths, loadConfigs } from '../config/load.ts'
import type { JobEvent } from '../job/events.ts'
import { eventFile, eventTime, planEvent } from '../job/events.ts'
import { Timings } from '../job/timings.ts'
import { OUTPUT } from '../options/output.ts'
import { circumstancesOf, notesOnMeaningless } from '../options/without-meaning.ts'
import { findAllocation, ownNetworks, planNodes, thisUser } from '../plan/facts.ts'
import { type GuestPlan, type JobPlan, type PlanFacts, type PlanNode, planJob } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'
import { OPTIONS } from './options.ts'
import { watchOwnOutput } from './own-output.ts'
import { inspectPrograms, planMountsOf, withProfiles } from './programs.ts'
import { clearing, Progress } from './progress.ts'
import { readSettings } from './settings.ts'
import { watchSignals } from './signals.ts'

/** Options by which something is printed and no job is run. */
const NO_JOB = [OUTPUT.help, OUTPUT.version, OUTPUT.dryRun, OUTPUT.doNotLaunch]

/** Runs leet-mpirun; resolves to its exit status, rejects with LeetError. */
export async function leetMpirun(argv: readonly string[]): Promise<number> {
  const words = parseCommandWords(OPTIONS, expandAppFile(OPTIONS, argv, readGivenFile))
  if (NO_JOB.some(({ key }) => words.options.has(key))) watchOwnOutput('leet-mpirun')
  if (words.options.has(OUTPUT.help.key)) return showHelp()
  if (words.options.has(OUTPUT.version.key)) return showVersion()
  const files = await loadConfigs(configPaths(process.env, process.cwd()), OPTIONS)
  const said = readSettings(words, process.env, files)
  const log = lineLog((text) => process.stderr.write(text), 'leet: ', said.verbose)

  for (const note of said.notes) log.detail(note)
  const { inSession, sessionFacts, sessionFor } = await import('../session/join.ts')
  const allocation = await findAllocation(said.allocation, process.env)
  const session = sessionFor(said, words.options, allocation)?.record
  const wanted = session ? inSession(said, session) : said
  const { settings, programs } = await withProfiles(wanted, await inspectPrograms(wanted), log)
  const user = thisUser(process.env)
  const nodes = session
    ? (session.plan.nodes as PlanFacts['nodes'])
    : planNodes(allocation, settings.placement.mapBy?.noLocal)
  const places = placesOf(settings, allocation)
  const plan = planJob(settings, {
    ...(places ? { places } : {}),
    jobId: randomBytes(4).toString('hex'),
    scheduler: allocation.scheduler,
    nodes,
    programs: programs.map(({ plan: program }) => program),
    user,
    networks: ownNetworks(),
    ...(session
      ? { session: sessionFacts(session, programs), planMounts: () => [] }
      : { planMounts: await planMountsOf(settings, programs, user.home, allocation) }),
  })
  const job = circumstancesOf(settings, plan, { nodes: nodes.length, directory: process.cwd() })
  for (const note of notesOnMeaningless(words.options, job)) log.note(note)
  if (session) log.detail(`in the session ${session.plan.jobId}`)
  else noteMesh(plan, settings, log)
  if (settings.dryRun || settings.doNotLaunch) {
    const { allowPlannedApi } = await import('../job/guest-api.ts')
    await allowPlannedApi({ plan, settings, log })
  }
  if (settings.dryRun) {
    const { dryRunText } = await import('./dry-run.ts')
    process.stdout.write(
      await dryRunText({ plan, settings, programs: plan.programs.map(({ argv }) => argv[0]), log }),
    )
    return 0
  }

  if (settings.display.size > 0) await showPlan(plan, nodes, settings, allocation)
  if (settings.doNotLaunch) return 0

  const timings = new Timings()
  const progress = new Progress(process.stderr, settings.verbose)
  if (plan.guestKind !== 'host') progress.expect(plan.guests)
  const file = settings.events === undefined ? undefined : eventFile(settings.events)
  const onEvent = (event: JobEvent) => {
    const at = eventTime()
    timings.add(event, at)
    progress.listener(event)
    if (settings.reportBindings) reportBinding(event, progress)
    file?.write(event, at)
  }
  onEvent(planEvent(plan))
  const cancel = new AbortController()
  const stopSignals = watchSignals(cancel, settings.forwardSignals)
  const { runJob } = await import('../job/run.ts')
  try {
    const { status, summary, unread } = await runJob({
      plan,
      allocation,
      settings,
      ...(session ? { session } : {}),
      log: clearing(log, progress),
      onEvent,
      beforeOutput: progress.end,
      cancel: cancel.signal,
      forwarded: stopSignals.forwarded,
      hurried: stopSignals.hurried,
    })
    progress.end()
    for (const line of summary) process.stderr.write(`${line}\n`)
    if (settings.timings) for (const line of timings.lines()) log.note(line)
    onEvent({ event: 'end', status })
    // What was written and not read would keep this process.
    if (unread) process.exit(status)
    return status
  } catch (error) {
    progress.end()
    onEvent({
      event: 'end',
      status: error instanceof LeetError ? error.exitCode : 1,
      reason: error instanceof Error ? error.message : String(error),
    })
    throw error
  } finally {
    stopSignals.stop()
    file?.close()
  }
}

// Slower than what a site can make, and nobody asked for it.
function noteMesh({ network, nodes }: JobPlan, settings: Settings, log: Log): void {
  if (network.mode !== 'mesh' || settings.network.mode !== 'auto') return
  log.note(
    `guests of ${nodes.length} nodes reach each other by way of ${nodes[0]?.name}; a bridge is faster: --network bridge=NAME`,
  )
}

async function showPlan(
  plan: JobPlan,
  nodes: readonly PlanNode[],
  { display }: Settings,
  allocation: Allocation,
): Promise<void> {
  const { describeAllocation, describeBindings, describeMap } = await import('./display.ts')
  const { guestProcessors, nodeProcessors } = await import('../node/processors.ts')
  const { describeEnvironment } = await import('../plan/rank-environment.ts')
  const { isHere, mayHaveDevices } = await import('../job/nodes.ts')
  const processorsOf = ({ cpus }: GuestPlan) => {
    if (plan.guestKind !== 'host') return guestProcessors(cpus)
    return isHere({ plan, allocation }) ? nodeProcessors() : undefined
  }
  const lines = [
    ...(display.has('allocation') ? describeAllocation(nodes) : []),
    ...(display.has('map') ? describeMap(plan) : []),
    ...(display.has('bindings') ? describeBindings(plan, processorsOf) : []),
    ...(display.has('env')
      ? describeEnvironment(plan, process.env, mayHaveDevices({ plan, allocation }))
      : []),
  ]
  for (const line of lines) process.stdout.write(`${line}\n`)
}

async function showHelp(): Promise<number> {
  const { helpText } = await import('./help.ts')
  process.stdout.write(helpText(OPTIONS, process.stdout.columns))
  return 0
}

async function showVersion(): Promise<number> {
  const { version } = await import('../plan/version.ts')
  process.stdout.write(`leet-mpirun ${version()}\n`)
  return 0
}

// In the words of Open MPI 4.
function reportBinding(event: JobEvent, progress: Progress): void {
  if (event.event !== 'rank' || event.state !== 'bound') return
  progress.clear()
  process.stderr.write(`[${event.guest}] MCW rank ${event.rank} ${event.detail}\n`)
}

// By `seq` each rank goes to the next line of the hostfile, or to the next node.
function placesOf(
  { placement: { mapBy }, allocation: { hostfile } }: Settings,
  { nodes }: Allocation,
): RankPlace[] | undefined {
  if (mapBy?.by !== 'seq' && mapBy?.by !== 'rankfile') return undefined
  const places =
    mapBy.by === 'rankfile'
      ? parseRankfile(readGivenFile(mapBy.file as string), mapBy.file as string)
      : (hostfile === undefined
          ? nodes.map(({ name }) => name)
          : parseHostSequence(readGivenFile(hostfile))
        ).map((host): RankPlace => ({ host }))
  return places.map((place) => (place.host === 'localhost' ? { ...place, host: hostname() } : place))
}

function readGivenFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new LeetError({
      code: 'LEET_E_USAGE',
      what: 'the file cannot be read',
      where: path,
      why: isSystemError(cause) ? systemReason(cause) : messageOf(cause),
      exitCode: 2,
      cause,
    })
  }
}
