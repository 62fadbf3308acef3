// From words to settings: each option's words are checked once, here, and become typed values.
import { parseCount, parseDuration, parseSize, usageError } from '../../common/index.ts'
import { type CommandWords, nearest, type OptionSpec } from '../../mpi-bridge/index.ts'
import { SCHEDULERS } from '../../scheduler-adapters/index.ts'
import { type ConfigFile, type OptionSources, whatWasSaid } from '../config/sources.ts'
import { DEFAULT_SUBNET, parseSubnet } from '../networks/addresses.ts'
import type { AllocationWishes } from '../plan/facts.ts'
import type { MountRequest } from '../plan/mounts.ts'
import { OPTIONS } from './options.ts'

/** What a guest is: a Linux virtual machine, or no guest at all (the bare host). */
export type GuestKind = 'linux' | 'osv' | 'host'

/** Which process manager's environment the ranks are given; `auto` asks the program's libraries. */
export type MpiChoice = 'auto' | 'openmpi' | 'mpich' | 'none'

/** One program of the job. */
export interface ProgramSettings {
  readonly argv: readonly [string, ...string[]]
  /** undefined: one per slot that is left. */
  readonly ranks: number | undefined
  readonly workDir: string | undefined
  /** `NAME` or `NAME=VALUE`. */
  readonly exports: readonly string[]
}

/** Everything the user asked for. undefined: not said, the plan decides. */
export interface Settings {
  readonly programs: readonly ProgramSettings[]
  readonly allocation: AllocationWishes
  readonly ppn: number | undefined
  readonly mpi: MpiChoice
  readonly guest: {
    readonly kind: GuestKind
    readonly count: number | undefined
    /** Bytes. */
    readonly memory: number | undefined
    readonly cpus: number | undefined
    /** Milliseconds. */
    readonly bootTimeout: number
  }
  readonly network: {
    readonly mode: 'auto' | 'user' | 'local' | 'bridge'
    /** Name of the bridge, in mode `bridge`. */
    readonly bridge: string | undefined
    readonly subnet: string
  }
  readonly mounts: Pick<MountRequest, 'wishes' | 'shareBy'>
  readonly image: {
    readonly name: string | undefined
    readonly files: readonly string[]
    readonly kernel: string | undefined
    readonly modules: string | undefined
    /** Of OSv: its base, by id, or the directory that its build wrote; undefined: the one imported last. */
    readonly osvBase: string | undefined
    /** Put the compatibility library into OSv images. */
    readonly osvCompat: boolean
  }
  readonly finalizeRescue: boolean
  /** Milliseconds. */
  readonly timeout: number | undefined
  readonly tag: 'none' | 'openmpi' | 'hydra'
  readonly events: string | undefined
  readonly dryRun: boolean
  readonly verbose: boolean
  readonly timings: boolean
}

const DEFAULT_BOOT_TIMEOUT_MS = 120_000

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
      exports: [
        ...job.all('genv').map(([name, value]) => `${variableName(name as string, '-genv')}=${value}`),
        ...own.all('export').map(([text]) => checkExport(text as string)),
      ],
    }
  })
  if (programs.length > 1 && programs.some((program) => program.ranks === undefined)) {
    throw usageError('with several programs each needs its number of ranks', 'leet-mpirun -n 1 A : -n 3 B')
  }
  return {
    programs,
    allocation: readAllocationWishes(job),
    ppn: job.value('ppn', (text, where) => parseCount(text, where)),
    mpi: job.value('mpi', choice(['auto', 'openmpi', 'mpich', 'none'])) ?? 'auto',
    guest: {
      kind: job.value('guest.kind', choice(['linux', 'osv', 'host'])) ?? 'linux',
      count: job.value('guests', (text, where) => parseCount(text, where, 1, 4096)),
      memory: job.value('guest.memory', parseGuestMemory),
      cpus: job.value('guest.cpus', (text, where) => parseCount(text, where, 1, 255)),
      bootTimeout: job.value('guest.boot-timeout', parseDuration) ?? DEFAULT_BOOT_TIMEOUT_MS,
    },
    network: {
      ...(job.value('network', parseNetworkMode) ?? { mode: 'auto', bridge: undefined }),
      subnet: job.value('network.subnet', checkSubnet) ?? DEFAULT_SUBNET,
    },
    mounts: {
      wishes: job.said('mounts').map(({ words: [text], ...from }) => ({ text: text as string, ...from })),
      shareBy: job.value('share-by', choice(['auto', '9p'])) ?? 'auto',
    },
    image: {
      name: job.value('image', nonEmpty),
      files: job.all('file').map(([text]) => text as string),
      kernel: job.value('kernel', nonEmpty),
      modules: job.value('modules', nonEmpty),
      osvBase: job.value('osv.base', nonEmpty),
      osvCompat: !job.has('osv.compat'),
    },
    finalizeRescue: !job.has('finalize-rescue'),
    timeout: job.value('timeout', parseDuration),
    tag: job.has('tag-output') ? 'openmpi' : job.has('label') ? 'hydra' : 'none',
    events: job.value('events', nonEmpty),
    dryRun: job.has('dry-run'),
    verbose: job.has('verbose'),
    timings: job.has('timings'),
  }
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
  return { mode: choice(['auto', 'user', 'local'])(text, where), bridge: undefined }
}

function checkSubnet(text: string, where: string): string {
  parseSubnet(text, where)
  return text
}

type OptionReader = ReturnType<typeof reader>

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
  variableName(equals < 0 ? text : text.slice(0, equals), '-x')
  return text
}

function variableName(name: string, where: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw usageError(`"${name}" is not a variable's name`, `${where} NAME=VALUE`, where)
  }
  return name
}
