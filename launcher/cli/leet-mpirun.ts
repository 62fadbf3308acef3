// The command `leet-mpirun`: from its words to an exit status.
import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { LeetError, type Log, lineLog, usageError } from '../../common/index.ts'
import { parseCommandWords } from '../../mpi-bridge/index.ts'
import { type Allocation, nodeOfThisProcess } from '../../scheduler-adapters/index.ts'
import { configPaths, loadConfigs } from '../config/load.ts'
import { inspectProgram, type ProgramFacts } from '../images/inspect.ts'
import type { JobEvent } from '../job/events.ts'
import { eventFile, planEvent, Timings } from '../job/events.ts'
import { findAllocation, planNodes, thisUser } from '../plan/facts.ts'
import type { MountPlanner } from '../plan/mounts.ts'
import { type MpiFlavour, type PlanFacts, planJob } from '../plan/plan.ts'
import { OPTIONS } from './options.ts'
import { Progress } from './progress.ts'
import { readSettings, type Settings } from './settings.ts'

/** Runs leet-mpirun; resolves to its exit status, rejects with LeetError. */
export async function leetMpirun(argv: readonly string[]): Promise<number> {
  const words = parseCommandWords(OPTIONS, argv)
  if (words.options.has('help')) return showHelp()
  if (words.options.has('version')) return showVersion()
  const files = await loadConfigs(configPaths(process.env, process.cwd()), OPTIONS)
  const settings = readSettings(words, process.env, files)
  const log = lineLog((text) => process.stderr.write(text), 'leet: ', settings.verbose)

  const [programs, allocation] = await Promise.all([
    inspectPrograms(settings),
    findAllocation(settings.allocation, process.env),
  ])
  const user = thisUser(process.env)
  const plan = planJob(settings, {
    jobId: randomBytes(4).toString('hex'),
    scheduler: allocation.scheduler,
    nodes: planNodes(allocation),
    programs: programs.map(({ plan: program }) => program),
    user,
    planMounts: await planMountsOf(settings, programs, user.home, allocation),
  })
  if (settings.dryRun) {
    process.stdout.write(`${JSON.stringify(plan, undefined, 2)}\n`)
    return 0
  }

  const timings = new Timings()
  const progress = new Progress(process.stderr, settings.verbose)
  const file = settings.events === undefined ? undefined : eventFile(settings.events)
  const onEvent = (event: JobEvent) => {
    timings.listener(event)
    progress.listener(event)
    file?.listener(event)
  }
  onEvent(planEvent(plan))
  const cancel = new AbortController()
  const stopSignals = watchSignals(cancel)
  const { runJob } = await import('../job/run.ts')
  try {
    const { status, summary } = await runJob({
      plan,
      allocation,
      settings,
      facts: programs.map(({ facts }) => facts),
      log: clearing(log, progress),
      onEvent,
      cancel: cancel.signal,
      forwarded: stopSignals.forwarded,
    })
    progress.clear()
    for (const line of summary) process.stderr.write(`${line}\n`)
    if (settings.timings) for (const line of timings.lines()) log.note(line)
    onEvent({ event: 'end', status })
    return status
  } catch (error) {
    progress.clear()
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

interface InspectedProgram {
  readonly facts: ProgramFacts
  readonly plan: PlanFacts['programs'][number]
}

// Loaded for guests only: the bare host mounts nothing.
async function planMountsOf(
  { guest }: Settings,
  programs: readonly InspectedProgram[],
  home: string,
  allocation: Allocation,
): Promise<MountPlanner> {
  if (guest.kind === 'host') return () => []
  const { mountPlanner } = await import('../plan/mount-facts.ts')
  const directories = [...programs.map(({ plan }) => plan.workDir), home]
  const here = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })
  return mountPlanner(directories, here?.name, allocation.jobId)
}

// Everything that can be wrong with a program is found before any guest boots.
async function inspectPrograms(settings: Settings): Promise<InspectedProgram[]> {
  return Promise.all(
    settings.programs.map(async (program) => {
      const workDir = checkedWorkDirectory(program.workDir ?? process.cwd())
      // As mpirun does: a relative path starts from the working directory of the ranks.
      const facts = await inspectOrTrust(program.argv[0], settings, workDir)
      if (settings.image.name === undefined && facts.missing.length > 0) {
        const names = facts.missing.map((library) => library.name)
        throw new LeetError({
          code: 'LEET_E_PROGRAM',
          what: `needs ${names.join(', ')}, which cannot be found`,
          where: facts.path,
          hint: 'install the library, or name its directory in LD_LIBRARY_PATH',
          exitCode: 127,
        })
      }
      return {
        facts,
        plan: {
          argv: [facts.path, ...program.argv.slice(1)] as const,
          workDir,
          exports: program.exports,
          mpi: flavourOf(settings, facts),
          ...(facts.mpi.version === undefined ? {} : { mpiVersion: facts.mpi.version }),
          ...(facts.mpi.device === undefined ? {} : { mpiDevice: facts.mpi.device }),
        },
      }
    }),
  )
}

// A program may be in a given image and not on this node; then only the user can tell its MPI.
async function inspectOrTrust(program: string, settings: Settings, workDir: string): Promise<ProgramFacts> {
  try {
    return await inspectProgram(program, process.env, workDir)
  } catch (error) {
    const inImage = settings.image.name !== undefined && settings.mpi !== 'auto' && program.startsWith('/')
    if (!inImage) throw error
    return { path: program, kind: 'dynamic', mpi: { flavour: settings.mpi as MpiFlavour }, missing: [] }
  }
}

function checkedWorkDirectory(path: string): string {
  const workDir = resolve(path)
  if (!statSync(workDir, { throwIfNoEntry: false })?.isDirectory()) {
    throw usageError(`${workDir} is not a directory`, undefined, '-wdir')
  }
  return workDir
}

function flavourOf({ mpi }: Settings, facts: ProgramFacts): MpiFlavour {
  return mpi === 'auto' ? facts.mpi.flavour : mpi
}

async function showHelp(): Promise<number> {
  const { helpText } = await import('./help.ts')
  process.stdout.write(helpText(OPTIONS, process.stdout.columns))
  return 0
}

async function showVersion(): Promise<number> {
  const { version } = await import('./version.ts')
  process.stdout.write(`leet-mpirun ${version()}\n`)
  return 0
}

// The progress line is wiped before anything else is written.
function clearing(log: Log, progress: Progress): Log {
  const after =
    (say: (line: string) => void) =>
    (line: string): void => {
      progress.clear()
      say(line)
    }
  return { note: after(log.note), warn: after(log.warn), detail: after(log.detail) }
}

const STATUS_OF = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

// The first signal ends the job in order; a second one does not wait for the ranks' last words.
function watchSignals(cancel: AbortController) {
  const listeners = new Set<(signal: NodeJS.Signals) => void>()
  const onStop = (signal: NodeJS.Signals) => {
    cancel.abort(
      new LeetError({
        code: 'LEET_E_SIGNAL',
        what: `ended by ${signal}`,
        exitCode: STATUS_OF[signal as keyof typeof STATUS_OF],
      }),
    )
  }
  const onForward = (signal: NodeJS.Signals) => {
    for (const listener of listeners) listener(signal)
  }
  const stops: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  const forwards: NodeJS.Signals[] = ['SIGUSR1', 'SIGUSR2']
  for (const signal of stops) process.on(signal, onStop)
  for (const signal of forwards) process.on(signal, onForward)
  return {
    forwarded: (listener: (signal: NodeJS.Signals) => void) => void listeners.add(listener),
    stop() {
      for (const signal of stops) process.off(signal, onStop)
      for (const signal of forwards) process.off(signal, onForward)
    },
  }
}
