// From words to settings: each option's words are checked once, here, and become typed values.
import { constants } from 'node:os'
import { relative, resolve } from 'node:path'
import { parseCount, parseDuration, parseSize, usageError } from '../../common/index.ts'
import {
  type BindingWish,
  type BindTo,
  type CommandWords,
  checkPattern,
  dashed,
  dashedFlag,
  type MapBy,
  nearest,
  type OptionSpec,
  type OutputFiles,
  parseBindTo,
  parseMapBy,
  parseOutput,
  parseOutputFilename,
  parseProcessors,
  parseRankBy,
  unabbreviated,
} from '../../mpi-bridge/index.ts'
import { SCHEDULERS } from '../../scheduler-adapters/index.ts'
import { type ConfigFile, type OptionSources, whatWasSaid } from '../config/sources.ts'
import { DEFAULT_SUBNET, parseSubnet } from '../networks/addresses.ts'
import type { AllocationWishes } from '../plan/facts.ts'
import type { Hypervisor } from '../plan/plan.ts'
import {
  DISPLAYS,
  type Display,
  type EnvironmentEdit,
  type Settings,
  type StdinChoice,
} from '../plan/settings.ts'
import { OPTIONS } from './options.ts'

const BOOT_TIMEOUT_MS = 120_000
/** A whole distribution under emulation, on a busy node. */
const DISK_BOOT_TIMEOUT_MS = 300_000

function usualBootTimeout(image: string | undefined): number {
  return isDiskImage(image) ? DISK_BOOT_TIMEOUT_MS : BOOT_TIMEOUT_MS
}

/** What LEET's own guests need for their whole boot is a third of it, on slow machines without KVM. */
const BOOT_PATIENCE_MS = 10_000
/** A distribution's programs may be silent for whole stages of their start. */
const DISK_BOOT_PATIENCE_MS = 60_000

function usualBootPatience(image: string | undefined): number {
  return isDiskImage(image) ? DISK_BOOT_PATIENCE_MS : BOOT_PATIENCE_MS
}

function isDiskImage(image: string | undefined): boolean {
  return image !== undefined && /\.(qcow2|img|raw)$/.test(image)
}

/** A controller that its user has suspended goes on when he comes back soon. */
const CONTROLLER_TIMEOUT_MS = 120_000

/** Two levels below the controller are then a thousand nodes. */
const DEFAULT_TREE_WIDTH = 32

/** Checks a command line, completed by the environment and files; a refusal is a usage error (exit status 2). */
export function readSettings(
  words: CommandWords,
  environment: NodeJS.ProcessEnv,
  files: readonly ConfigFile[] = [],
): Settings {
  const job = reader({ flags: words.options, environment, files })
  const programs = words.programs.map((program, index) => {
    const own = reader({ flags: program.options, environment, files })
    if (program.argv.length === 0) {
      throw usageError(
        index === 0 && words.programs.length === 1
          ? 'no program to run'
          : `program ${index + 1} of the command line is empty`,
        'leet-mpirun -n 4 PROGRAM ARGS…',
      )
    }
    return {
      argv: program.argv as [string, ...string[]],
      ranks: own.value('ranks', (text, where) => parseCount(text, where)),
      workDir: own.value('wdir', nonEmpty),
      exports: exportsOf(job, own),
      inherits: inheritsVariables(job, own),
    }
  })
  if (programs.length > 1 && programs.some((program) => program.ranks === undefined)) {
    throw usageError('with several programs each needs its number of ranks', 'leet-mpirun -n 1 A : -n 3 B')
  }
  return {
    programs,
    allocation: readAllocationWishes(job),
    ppn: job.value('ppn', (text, where) => parseCount(text, where)),
    placement: readPlacement(job),
    display: new Set(job.all('display').flatMap(([text]) => parseDisplay(text as string))),
    mpi: job.value('mpi', choice(['auto', 'openmpi', 'mpich', 'none'])) ?? 'auto',
    guest: {
      kind: job.value('guest.kind', choice(['linux', 'osv', 'host'])) ?? 'linux',
      kindSaid: job.has('guest.kind'),
      count: job.value('guests', (text, where) => parseCount(text, where, 1, 4096)),
      memory: job.value('guest.memory', parseGuestMemory),
      cpus: job.value('guest.cpus', (text, where) => parseCount(text, where, 1, 255)),
      bootTimeout:
        job.value('guest.boot-timeout', parseDuration) ?? usualBootTimeout(job.value('image', nonEmpty)),
      bootPatience:
        job.value('guest.boot-patience', parseDuration) ?? usualBootPatience(job.value('image', nonEmpty)),
      bootRetries: job.value('guest.boot-retries', (text, where) => parseCount(text, where, 0, 100)) ?? 2,
      hypervisor: readHypervisor(job),
      pinning: job.value('guest.pin', choice(['auto', 'yes', 'no'])) ?? 'auto',
    },
    session: job.value('session', nonEmpty),
    reuseGuests: job.has('reuse-guests'),
    network: {
      ...(job.value('network', parseNetworkMode) ?? { mode: 'auto', bridge: undefined }),
      subnet: job.value('network.subnet', checkSubnet) ?? DEFAULT_SUBNET,
    },
    mounts: {
      wishes: job.said('mounts').map(({ words: [text], ...from }) => ({ text: text as string, ...from })),
      shareBy: job.value('share-by', choice(['auto', '9p'])) ?? 'auto',
    },
    profiles: job.all('profile').flatMap(([list]) => (list as string).split(',').filter(Boolean)),
    image: {
      name: job.value('image', nonEmpty),
      files: [...job.all('file').map(([text]) => text as string), ...preloaded(job)],
      kernel: job.value('kernel', nonEmpty),
      modules: job.value('modules', nonEmpty),
      osvBase: job.value('osv.base', nonEmpty),
      osvCompat: !job.has('osv.compat'),
    },
    staging: {
      ...(job.has('osv.stage-in') ? { in: stagePatterns(job, 'osv.stage-in') } : {}),
      ...(job.has('osv.stage-out') ? { out: stagePatterns(job, 'osv.stage-out') } : {}),
    },
    finalizeRescue: !job.has('finalize-rescue'),
    timeout: job.value('timeout', parseDuration),
    controllerTimeout: job.value('controller-timeout', parseDuration) ?? CONTROLLER_TIMEOUT_MS,
    treeWidth:
      job.value('tree-width', (text, where) => parseCount(text, where, 2, 4096)) ?? DEFAULT_TREE_WIDTH,
    output: readOutput(job),
    reportBindings: job.has('report-bindings'),
    stdin: job.value('stdin', parseStdin) ?? 0,
    environmentEdits: job.said('set-env').flatMap(({ words: said, where }) => parseEdit(said, where)),
    path: job.value('path', nonEmpty),
    universe: job.value('universe', parseUniverse),
    outputFrom: job.value('output-from', (text, where) => parseCount(text, where, 0)),
    exitCodes: job.has('exit-codes'),
    forwardSignals: job.value('forward-signals', parseSignals) ?? FORWARDED,
    notes: notesOn(words, job),
    events: job.value('events', nonEmpty),
    dryRun: job.has('dry-run'),
    doNotLaunch: job.has('do-not-launch'),
    verbose: job.has('verbose'),
    timings: job.has('timings'),
  }
}

// What lies below the working directory is in every guest as it is; a copy in the image would only be older.
function preloaded(job: OptionReader): string[] {
  const here = process.cwd()
  return job
    .all('preload-files')
    .flatMap(([list]) => (list as string).split(','))
    .filter((file) => file !== '' && relative(here, resolve(file)).startsWith('..'))
    .map((file) => resolve(file))
}

function readHypervisor(job: OptionReader): Hypervisor {
  const kind = job.value('hypervisor', choice(['qemu', 'libvirt'])) ?? 'qemu'
  const uri = job.value('libvirt.uri', choice(['qemu:///session', 'qemu:///system']))
  if (kind === 'qemu') return { kind }
  return { kind, uri: uri ?? (process.getuid?.() === 0 ? 'qemu:///system' : 'qemu:///session') }
}

function readAllocationWishes(job: OptionReader): AllocationWishes {
  const hostfile = job.value('hostfile', nonEmpty)
  const hosts = job.all('hosts').map(([text]) => text as string)
  const scheduler = job.value('scheduler', choice(SCHEDULERS))
  return {
    ...(hostfile === undefined ? {} : { hostfile }),
    ...(hosts.length === 0 ? {} : { hosts: hosts.join(',') }),
    ...(scheduler === undefined ? {} : { scheduler }),
  }
}

// From weak to strong.
function exportsOf(job: OptionReader, own: OptionReader): string[] {
  const pairs = (reader: OptionReader, key: string, prefix = '') =>
    reader.all(key).map(([name, value]) => `${variableName(`${prefix}${name}`, dashedFlag(key))}=${value}`)
  const names = (reader: OptionReader, key: string) =>
    reader
      .all(key)
      .flatMap(([list]) => (list as string).split(','))
      .filter(Boolean)
      .map((name) => variableName(name, dashedFlag(key)))
  return [
    ...(own.has('envlist') || own.has('envnone') ? [] : names(job, 'genvlist')),
    ...names(own, 'envlist'),
    ...pairs(job, 'genv'),
    ...job
      .all('mca')
      .flatMap(([key, value]) => (isForLaunchers(key as string) ? [] : [`OMPI_MCA_${key}=${value}`])),
    ...pairs(job, 'pmixmca', 'PMIX_MCA_'),
    ...pairs(own, 'env'),
    ...own.all('export').map(([text]) => checkExport(text as string)),
  ]
}

// What is said for one program is stronger than what is said for all.
function inheritsVariables(job: OptionReader, own: OptionReader): boolean {
  if (own.has('envall')) return true
  if (own.has('envnone') || own.has('envlist')) return false
  return job.has('genvall') || !(job.has('genvnone') || job.has('genvlist'))
}

/** Parameters of Open MPI's own launcher, which is not there. */
function isForLaunchers(key: string): boolean {
  return /^(plm|ras|rmaps|ess|odls|oob|rml|routed|grpcomm|filem|iof|state|errmgr|schizo|pmix|orte|prte)(_|$)/.test(
    key,
  )
}

function notesOn({ options }: CommandWords, job: OptionReader): string[] {
  const unused = OPTIONS.flatMap((option) =>
    option.noEffect !== undefined && options.has(option.key)
      ? [`${dashed(option)} has no effect: ${option.noEffect}`]
      : [],
  )
  const parameters = job.all('mca').flatMap(([key]) => (isForLaunchers(key as string) ? [key as string] : []))
  return [
    ...unused,
    ...parameters.map((key) => `--mca ${key} has no effect: Open MPI’s own launcher does not run`),
  ]
}

function readOutput(job: OptionReader): Settings['output'] {
  const said = job.said('output').map(({ words: [text], where }) => parseOutput(text as string, where))
  const patterns = {
    stdout: job.value('outfile-pattern', checkPattern),
    stderr: job.value('errfile-pattern', checkPattern),
  }
  const byPattern: OutputFiles | undefined =
    patterns.stdout === undefined && patterns.stderr === undefined
      ? undefined
      : { form: { kind: 'patterns', ...patterns }, copy: false }
  return {
    tags: {
      tag:
        said.find(({ tag }) => tag === 'host')?.tag ?? (job.has('tag-output') || said.some(({ tag }) => tag)),
      timestamp: job.has('timestamp-output') || said.some(({ timestamp }) => timestamp),
      pattern: job.value('prepend-pattern', checkPattern) ?? (job.has('label') ? '[%r] ' : undefined),
    },
    merge: job.has('merge-stderr') || said.some(({ merge }) => merge),
    files:
      said.findLast(({ files }) => files)?.files ??
      job.value('output-filename', parseOutputFilename) ??
      byPattern,
  }
}

// `NAME=VALUE`, or how, a name and a value: what the options for the other edits stand for. As PRRTE has them.
function parseEdit(said: readonly string[], where: string): EnvironmentEdit[] {
  const [how = '', name = '', value = ''] = said
  if (said.length === 1) {
    const equals = how.indexOf('=')
    if (equals < 0) throw usageError(`"${how}" has no value`, '--set-env NAME=VALUE', where)
    return [{ how: 'set', name: variableName(how.slice(0, equals), where), value: how.slice(equals + 1) }]
  }
  if (how === 'unset') {
    return name.split(',').map((one) => {
      variableName(one.replace(/(?<=.)\*$/, ''), '--unset-env')
      return { how, name: one }
    })
  }
  const [, bare, separator] = /^(\w+)\[(.)\]$/.exec(name) ?? []
  if (bare === undefined || separator === undefined) {
    throw usageError(
      `"${name}" names no separator`,
      `--${how}-env 'LD_LIBRARY_PATH[:]' /opt/lib`,
      `--${how}-env`,
    )
  }
  return [
    {
      how: how === 'prepend' ? 'prepend' : 'append',
      name: variableName(bare, `--${how}-env`),
      value,
      separator,
    },
  ]
}

function parseUniverse(text: string, where: string): number | 'system' | undefined {
  const word = text.toLowerCase()
  if (word === 'infinite') return undefined
  return word === 'system' ? word : parseCount(text, where)
}

function parseStdin(text: string, where: string): StdinChoice {
  if (/^\d+$/.test(text)) return parseCount(text, where, 0)
  return choice(['all', 'none'])(text, where)
}

/** As Open MPI 5 has it. */
const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGTSTP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGABRT',
  'SIGALRM',
  'SIGCONT',
]
/** With these the job itself is ended, or they cannot be caught. */
const NOT_FORWARDED: readonly string[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGKILL',
  'SIGSTOP',
  'SIGCHLD',
  'SIGPIPE',
]

function parseSignals(text: string, where: string): NodeJS.Signals[] {
  if (text.toLowerCase() === 'none') return []
  return text.split(',').map((word) => {
    const name = /^\d+$/.test(word)
      ? Object.entries(constants.signals).find(([, number]) => number === Number(word))?.[0]
      : `SIG${word.toUpperCase().replace(/^SIG/, '')}`
    if (name === undefined || !(name in constants.signals)) {
      throw usageError(`"${word}" is not a signal`, 'names such as USR1, or numbers', where)
    }
    if (NOT_FORWARDED.includes(name)) throw usageError(`${name} cannot be passed on`, undefined, where)
    return name as NodeJS.Signals
  })
}

function readPlacement(job: OptionReader): Settings['placement'] {
  const said = job.value('map-by', parseMapBy)
  const more = {
    ...(job.has('oversubscribe') ? { oversubscribe: true } : {}),
    ...(job.has('nooversubscribe') ? { oversubscribe: false } : {}),
    ...(job.has('nolocal') ? { noLocal: true } : {}),
  }
  const file = job.value('rankfile', nonEmpty)
  const ranked = file === undefined ? {} : { by: 'rankfile' as const, file }
  const any = said || file !== undefined || Object.keys(more).length > 0
  const mapBy: MapBy | undefined = any ? { by: undefined, ...said, ...ranked, ...more } : undefined
  if (mapBy?.by === 'rankfile' && mapBy.file === undefined) {
    throw usageError('names no rankfile', '--map-by rankfile:file=FILE, or --rankfile FILE', '--map-by')
  }
  return { mapBy, rankBy: job.value('rank-by', parseRankBy), binding: bindingOf(job, mapBy) }
}

// None is usual: whoever shares a node with other jobs must not be put on the same processors as they are.
function bindingOf(job: OptionReader, mapBy: MapBy | undefined): BindingWish | undefined {
  const { by, perResource, processors } = mapBy ?? {}
  const said = job.value('bind-to', parseBindTo)
  const to: BindTo | undefined =
    said ?? (processors === undefined ? undefined : { to: 'core', count: 1, overload: false })
  const within = job.value('cpu-list', parseProcessors)
  if (to?.ordered && within === undefined)
    throw usageError('names no processors', '--cpu-list 0,1 --bind-to cpu-list:ordered', '--bind-to')
  if (!to && !within && !job.has('report-bindings')) return undefined
  return {
    ...(to ?? { to: 'none', count: 1, overload: false }),
    ...(within === undefined ? {} : to?.ordered ? { list: within.map((id) => [id]) } : { within }),
    ...(processors === undefined ? {} : { count: processors }),
    ...(by === undefined ? {} : { by }),
    ...(perResource === undefined ? {} : { perResource }),
  }
}

function parseDisplay(text: string): Display[] {
  // What follows a colon says in which form Open MPI 5 shows it.
  return text.split(',').map((word) => unabbreviated(word.split(':')[0] as string, DISPLAYS, '--display'))
}

const LEAST_GUEST_MEMORY = 128 * 2 ** 20

function parseGuestMemory(text: string, where: string): number {
  const bytes = parseSize(text, where)
  if (bytes < LEAST_GUEST_MEMORY)
    throw usageError(`"${text}" is too little for a guest`, 'at least 128M', where)
  return bytes
}

function parseNetworkMode(text: string, where: string): Pick<Settings['network'], 'mode' | 'bridge'> {
  const bridge = /^bridge=(.+)$/.exec(text)?.[1]
  if (bridge !== undefined) return { mode: 'bridge', bridge }
  return { mode: choice(['auto', 'user', 'local', 'mesh'])(text, where), bridge: undefined }
}

function checkSubnet(text: string, where: string): string {
  parseSubnet(text, where)
  return text
}

type OptionReader = ReturnType<typeof reader>

function stagePatterns(job: OptionReader, key: string): string[] {
  return job.said(key).map(({ words: [text], where }) => nonEmpty(text as string, where))
}

function reader(sources: OptionSources) {
  const said = (key: string) =>
    whatWasSaid(OPTIONS.find((option) => option.key === key) as OptionSpec, sources)
  return {
    said,
    has: (key: string) => said(key).length > 0,
    all: (key: string) => said(key).map(({ words }) => words),
    value<T>(key: string, parse: (text: string, where: string) => T): T | undefined {
      const last = said(key).at(-1)
      return last && parse(last.words[0] as string, last.where)
    },
  }
}

function nonEmpty(text: string, where: string): string {
  if (text === '' || text.includes('\0')) throw usageError('is empty', undefined, where)
  return text
}

function choice<const T extends string>(known: readonly T[]) {
  return (text: string, where: string): T => {
    const found = known.find((word) => word === text.toLowerCase())
    if (found) return found
    throw usageError(`"${text}" is none of ${known.join(', ')}`, nearest(text, known), where)
  }
}

function checkExport(text: string): string {
  const equals = text.indexOf('=')
  variableName(equals < 0 ? text.replace(/(?<=.)\*$/, '') : text.slice(0, equals), '-x')
  return text
}

function variableName(name: string, where: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw usageError(`"${name}" is not a variable's name`, `${where} NAME=VALUE`, where)
  }
  return name
}
