// `leet up`: guests that stay for several leet-mpirun. The command itself ends when they are ready; a process of its own
// keeps them, until `leet down`, or until the shell ends that started the command.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Command } from 'commander'
import {
  ancestors,
  describeError,
  endOf,
  exitCodeOf,
  LeetError,
  type Log,
  lineLog,
  type ProcessIdentity,
  usageError,
} from '../../../common/index.ts'
import { type CommandWords, type OptionSpec, parseCommandWords } from '../../../mpi-bridge/index.ts'
import { rowsOf } from '../../config/row.ts'
import type { JobEvent } from '../../job/events.ts'
import { GUESTS } from '../../options/guests.ts'
import { IMAGE } from '../../options/image.ts'
import { OUTPUT, OUTPUT_GROUP } from '../../options/output.ts'
import { PROGRAM } from '../../options/program.ts'
import { RANKS } from '../../options/ranks.ts'
import { SURROUNDINGS } from '../../options/surroundings.ts'
import type { ProgramSettings } from '../../plan/settings.ts'
import type { HoldOrder } from '../../session/hold.ts'
import { shellAmong } from '../../session/shell.ts'
import { OPTIONS } from '../options.ts'
import { clearing, type ExpectedGuest, Progress } from '../progress.ts'
import { watchSignals } from '../signals.ts'
import { log, print } from './shared.ts'

const USAGE = `Usage: leet up [OPTIONS] [PROGRAM…]

Boots guests and keeps them for the following leet-mpirun of this job, until \`leet down\` or until the shell ends that
called this. The programs, with all that they need, are in the image of the guests.
`

/** Where guests come from, and how many ranks they are made for. */
const { ranks, ppn, hostfile, hosts, scheduler, mpi } = PROGRAM
const NOT_HERE: readonly OptionSpec[] = [
  GUESTS.session,
  IMAGE.finalizeRescue,
  // Each job carries its files by itself.
  IMAGE.stage,
  IMAGE.stageIn,
  IMAGE.stageOnly,
  IMAGE.stageOut,
]

const FOREGROUND = rowsOf(OUTPUT_GROUP).flag({
  key: 'foreground',
  flags: 'foreground',
  help: 'keep the guests in this process, until it is ended',
})

const UP_OPTIONS: readonly OptionSpec[] = [
  ...[ranks, ppn, hostfile, hosts, scheduler, mpi, RANKS.workDir],
  ...[GUESTS, SURROUNDINGS, IMAGE]
    .flatMap((rows): OptionSpec[] => Object.values(rows))
    .filter((option) => !NOT_HERE.includes(option)),
  ...[OUTPUT.dryRun, OUTPUT.verbose, OUTPUT.help, FOREGROUND],
]

/** Adds `leet up`. */
export function addUp(program: Command): void {
  program
    .command('up [words...]')
    .usage('[options] [PROGRAM…]')
    .description('boot guests and keep them for the following leet-mpirun of this job')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      process.exitCode = await leetUp(words)
    })
}

async function leetUp(argv: readonly string[]): Promise<number> {
  const words = parseCommandWords(UP_OPTIONS, argv)
  if (words.options.has(OUTPUT.help.key)) {
    const { optionLines } = await import('../help.ts')
    print(`${USAGE}\n${optionLines(UP_OPTIONS, process.stdout.columns)}`)
    return 0
  }
  // The process that keeps the guests is this same command, and hears from the first one whom it is to end with.
  if (process.send) return keepFor(process.send.bind(process), words)
  if (!words.options.has(FOREGROUND.key) && !words.options.has(OUTPUT.dryRun.key))
    return startKeeper(argv, words)
  const order = await orderOf(words)
  return order ? hold(order, words) : 0
}

type KeptOrder = Pick<HoldOrder, 'plan' | 'allocation' | 'settings' | 'programs' | 'files'>

// Everything that can be refused is refused before anything is started. undefined: the plan was all that was wanted.
async function orderOf(words: CommandWords): Promise<KeptOrder | undefined> {
  const { configPaths, loadConfigs } = await import('../../config/load.ts')
  const { readSettings } = await import('../settings.ts')
  const { inspectPrograms, planMountsOf, withProfiles } = await import('../programs.ts')
  const { findAllocation, ownNetworks, planNodes, thisUser } = await import('../../plan/facts.ts')
  const { planJob } = await import('../../plan/plan.ts')
  const { circumstancesOf, notesOnMeaningless } = await import('../../options/without-meaning.ts')
  const { listSessions, sessionOfJob } = await import('../../session/find.ts')
  const [first, ...more] = words.programs
  if (more.length > 0 || !first) throw usageError('programs are named one after the other', 'leet up A B')
  const names = first.argv.length > 0 ? first.argv : ['sh']
  const configs = await loadConfigs(configPaths(process.env, process.cwd()), OPTIONS)
  const program = { options: first.options, argv: names.slice(0, 1) }
  const said = readSettings({ options: words.options, programs: [program] }, process.env, configs)
  if (said.guest.kind === 'host' || (said.guest.kind === 'osv' && !said.reuseGuests)) {
    throw usageError(
      said.guest.kind === 'host'
        ? 'without guests there is nothing to keep'
        : 'an OSv guest is booted for one job: it starts 31 programs in all, and what they leave stays in it',
      said.guest.kind === 'host' ? undefined : '--reuse-guests, to keep it all the same',
      '--guest',
    )
  }
  if (said.guest.kind === 'osv' && first.argv.length === 0) {
    throw usageError('OSv has no shell: its guests run the programs that they were made for', 'leet up A B')
  }
  const each = names.map((name) => ({ ...(said.programs[0] as ProgramSettings), argv: [name] as const }))
  const [inspected, allocation] = await Promise.all([
    inspectPrograms({ ...said, programs: each }),
    findAllocation(said.allocation, process.env),
  ])
  const before = sessionOfJob(listSessions(), { batchJob: allocation.jobId, ancestors: ancestors() })
  if (before) {
    throw new LeetError({
      code: 'LEET_E_SESSION',
      what: `this job has the session ${before.record.plan.jobId} already`,
      hint: '`leet down` ends it',
      exitCode: 2,
    })
  }
  const { settings, programs } = await withProfiles(said, inspected, log)
  const user = thisUser(process.env)
  const plan = planJob(settings, {
    jobId: randomBytes(4).toString('hex'),
    scheduler: allocation.scheduler,
    nodes: planNodes(allocation),
    programs: programs.slice(0, 1).map(({ plan: one }) => one),
    user,
    networks: ownNetworks(),
    planMounts: await planMountsOf(settings, programs, user.home, allocation, { keep: true }),
  })
  const job = circumstancesOf(settings, plan, { nodes: plan.nodes.length, directory: process.cwd() })
  for (const note of notesOnMeaningless(words.options, job)) log.note(note)
  if (settings.dryRun) {
    const { allowPlannedApi } = await import('../../job/guest-api.ts')
    const { dryRunText } = await import('../dry-run.ts')
    await allowPlannedApi({ plan, settings, log })
    const paths = programs.map(({ facts }) => facts.path)
    process.stdout.write(await dryRunText({ plan, settings, programs: paths, log, keep: true }))
    return undefined
  }
  const { agentFiles, daemonsOf } = await import('../../session/stock.ts')
  // Nothing is put into an image that is there already.
  const given = plan.guestKind === 'osv' || settings.image.name !== undefined
  const daemons = given ? [] : daemonsOf(programs.map(({ plan: { mpi } }) => mpi))
  const files = [...settings.image.files, ...agentFiles(daemons)]
  const withFiles = { ...settings, image: { ...settings.image, files } }
  return {
    plan,
    allocation,
    settings: withFiles,
    programs: [...programs.map(({ facts }) => facts.path), ...daemons],
    files: programs.flatMap(({ facts }) => [facts.path, ...facts.files]),
  }
}

// In this process, to its end.
async function hold(order: KeptOrder, words: CommandWords): Promise<number> {
  const { holdSession } = await import('../../session/hold.ts')
  const verbose = words.options.has(OUTPUT.verbose.key)
  const progress = new Progress(process.stderr, verbose)
  const cancel = new AbortController()
  const signals = watchSignals(cancel)
  progress.expect(order.plan.guests)
  try {
    await holdSession({
      ...order,
      shell: shellAmong(ancestors()),
      log: clearing(
        lineLog((text) => process.stderr.write(text), 'leet: ', verbose),
        progress,
      ),
      onEvent: progress.listener,
      cancel: cancel.signal,
      onUp: () => print(summary(order)),
    })
    return 0
  } finally {
    progress.end()
    signals.stop()
  }
}

/** What the keeper tells the command that started it. */
type Word =
  | { readonly log: keyof Log; readonly line: string }
  | { readonly expect: readonly ExpectedGuest[] }
  | { readonly event: JobEvent }
  | { readonly up: string }
  | { readonly failed: string; readonly status: number }

// Starts the keeper, shows what it tells, and is done when the guests are ready.
async function startKeeper(argv: readonly string[], words: CommandWords): Promise<number> {
  const { ownCommand } = await import('../../job/own-command.ts')
  const [command, ...args] = ownCommand('leet', 'up', ...argv)
  const shell = shellAmong(ancestors())
  const verbose = words.options.has(OUTPUT.verbose.key)
  const progress = new Progress(process.stderr, verbose)
  const log = clearing(
    lineLog((text) => process.stderr.write(text), 'leet: ', verbose),
    progress,
  )
  // A session of its own, so that what a terminal sends to this command does not reach the guests later.
  const keeper = spawn(command, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const ended = endOf(keeper)
  const cancel = new AbortController()
  const signals = watchSignals(cancel)
  cancel.signal.addEventListener('abort', () => keeper.kill('SIGTERM'), { once: true })
  ;(keeper.stderr as Readable).on('data', (data) => {
    progress.clear()
    process.stderr.write(data)
  })
  try {
    return await new Promise<number>((resolve, reject) => {
      keeper.on('message', (word: Word) => {
        if ('log' in word) log[word.log](word.line)
        else if ('expect' in word) progress.expect(word.expect)
        else if ('event' in word) progress.listener(word.event)
        else if ('failed' in word) {
          progress.end()
          process.stderr.write(`leet: ${word.failed}\n`)
          resolve(word.status)
        } else {
          progress.end()
          print(word.up)
          resolve(0)
        }
      })
      ended.then((end) => resolve(end.kind === 'exit' ? end.status || 1 : 1), reject)
      keeper.send(shell)
    })
  } finally {
    progress.end()
    signals.stop()
    if (keeper.connected) keeper.disconnect()
    keeper.stderr?.destroy()
    keeper.unref()
  }
}

// As the keeper: to the end of the session.
async function keepFor(send: (word: Word) => void, words: CommandWords): Promise<number> {
  const cancel = new AbortController()
  watchSignals(cancel)
  // Whoever waits for the guests may be gone before they are ready; then nobody wants them. What is said later is in the log.
  const onGone = () =>
    cancel.abort(
      new LeetError({ code: 'LEET_E_CANCELLED', what: '`leet up` ended before the guests were ready' }),
    )
  process.once('disconnect', onGone)
  process.stderr.on('error', () => {})
  const tell = (word: Word) => {
    if (process.connected) send(word)
  }
  const shell = await new Promise<ProcessIdentity>((resolve) => process.once('message', resolve))
  const say = (log: keyof Log) => (line: string) => tell({ log, line })
  try {
    const order = await orderOf(words)
    if (!order) return 0
    tell({ expect: order.plan.guests.map(({ name, ranks }) => ({ name, ranks })) })
    const { holdSession } = await import('../../session/hold.ts')
    await holdSession({
      ...order,
      shell,
      log: { note: say('note'), warn: say('warn'), detail: say('detail') },
      onEvent: (event) => tell({ event }),
      cancel: cancel.signal,
      onUp() {
        process.off('disconnect', onGone)
        tell({ up: summary(order) })
      },
    })
    return 0
  } catch (error) {
    const status = exitCodeOf(error)
    tell({ failed: describeError(error), status })
    return status
  } finally {
    if (process.connected) process.disconnect()
  }
}

function summary({ plan: { jobId, guests } }: KeptOrder): string {
  return `session ${jobId} is up: ${guests.length} guest${guests.length === 1 ? '' : 's'}`
}
