// From words to settings: what the rows of the table of options make of a command line, put together.
import { resolve } from 'node:path'
import { usageError } from '../../common/index.ts'
import {
  type BindingWish,
  type BindTo,
  type CommandWords,
  dashed,
  type MapBy,
  type OutputFiles,
} from '../../mpi-bridge/index.ts'
import { type OptionReader, optionReader } from '../config/row.ts'
import type { ConfigFile } from '../config/sources.ts'
import { GUESTS, usualBootTimes } from '../options/guests.ts'
import { IMAGE, isOutside } from '../options/image.ts'
import { OUTPUT } from '../options/output.ts'
import { PLACEMENT } from '../options/placement.ts'
import { PROGRAM } from '../options/program.ts'
import { RANKS } from '../options/ranks.ts'
import { SURROUNDINGS } from '../options/surroundings.ts'
import type { AllocationWishes, Hypervisor, ProgramSettings, Settings } from '../plan/settings.ts'
import { OPTIONS } from './options.ts'

/** Checks a command line, completed by the environment and files; a refusal is a usage error (exit status 2). */
export function readSettings(
  words: CommandWords,
  environment: NodeJS.ProcessEnv,
  files: readonly ConfigFile[] = [],
): Settings {
  const job = optionReader({ flags: words.options, environment, files })
  const programs = words.programs.map((program, index): ProgramSettings => {
    const own = optionReader({ flags: program.options, environment, files })
    const [first, ...others] = program.argv
    if (first === undefined) {
      throw usageError(
        index === 0 && words.programs.length === 1
          ? 'no program to run'
          : `program ${index + 1} of the command line is empty`,
        'leet-mpirun -n 4 PROGRAM ARGS…',
      )
    }
    return {
      argv: [first, ...others],
      ranks: own.get(PROGRAM.ranks),
      workDir: own.get(RANKS.workDir),
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
    ppn: job.get(PROGRAM.ppn),
    placement: readPlacement(job),
    display: new Set(job.get(OUTPUT.display)),
    mpi: job.get(PROGRAM.mpi),
    guest: readGuest(job),
    session: job.get(GUESTS.session),
    reuseGuests: job.get(GUESTS.reuse),
    network: { ...job.get(SURROUNDINGS.network), subnet: job.get(SURROUNDINGS.subnet) },
    mounts: { wishes: job.get(SURROUNDINGS.mounts), shareBy: job.get(SURROUNDINGS.shareBy) },
    profiles: job.get(IMAGE.profiles),
    image: {
      name: job.get(IMAGE.name),
      files: [...job.get(IMAGE.files), ...preloaded(job)],
      kernel: job.get(IMAGE.kernel),
      modules: job.get(IMAGE.modules),
      osvBase: job.get(IMAGE.osvBase),
      osvCompat: job.get(IMAGE.osvCompat),
    },
    staging: {
      when: job.get(IMAGE.stage),
      add: job.get(IMAGE.stageIn),
      ...(job.has(IMAGE.stageOnly) ? { only: job.get(IMAGE.stageOnly) } : {}),
      ...(job.has(IMAGE.stageOut) ? { out: job.get(IMAGE.stageOut) } : {}),
    },
    finalizeRescue: job.get(IMAGE.finalizeRescue),
    timeout: job.get(OUTPUT.timeout),
    controllerTimeout: job.get(OUTPUT.controllerTimeout),
    treeWidth: job.get(OUTPUT.treeWidth),
    output: readOutput(job),
    reportBindings: job.get(PLACEMENT.reportBindings),
    stdin: job.get(RANKS.stdin),
    environmentEdits: job.get(RANKS.edits),
    path: job.get(RANKS.path),
    universe: job.get(RANKS.universe),
    outputFrom: job.get(OUTPUT.from),
    exitCodes: job.get(OUTPUT.exitCodes),
    forwardSignals: job.get(OUTPUT.forwardSignals),
    notes: notesOn(words, job),
    events: job.get(OUTPUT.events),
    dryRun: job.get(OUTPUT.dryRun),
    doNotLaunch: job.get(OUTPUT.doNotLaunch),
    verbose: job.get(OUTPUT.verbose),
    timings: job.get(OUTPUT.timings),
  }
}

function readGuest(job: OptionReader): Settings['guest'] {
  const usual = usualBootTimes(job.get(IMAGE.name))
  return {
    kind: job.get(GUESTS.kind),
    kindSaid: job.has(GUESTS.kind),
    count: job.get(GUESTS.count),
    memory: job.get(GUESTS.memory),
    cpus: job.get(GUESTS.cpus),
    bootTimeout: job.get(GUESTS.bootTimeout) ?? usual.timeout,
    bootPatience: job.get(GUESTS.bootPatience) ?? usual.patience,
    bootRetries: job.get(GUESTS.bootRetries),
    hypervisor: readHypervisor(job),
    pinning: job.get(GUESTS.pinning),
    insecureApi: job.get(GUESTS.insecureApi),
  }
}

// What lies below the working directory is in every guest as it is; a copy in the image would only be older.
function preloaded(job: OptionReader): string[] {
  const here = process.cwd()
  return job
    .get(IMAGE.preload)
    .filter((file) => isOutside(here, file))
    .map((file) => resolve(file))
}

function readHypervisor(job: OptionReader): Hypervisor {
  const kind = job.get(GUESTS.hypervisor)
  const uri = job.get(GUESTS.libvirtUri)
  if (kind === 'qemu') return { kind }
  return { kind, uri: uri ?? (process.getuid?.() === 0 ? 'qemu:///system' : 'qemu:///session') }
}

function readAllocationWishes(job: OptionReader): AllocationWishes {
  const hostfile = job.get(PROGRAM.hostfile)
  const hosts = job.get(PROGRAM.hosts)
  const scheduler = job.get(PROGRAM.scheduler)
  return {
    ...(hostfile === undefined ? {} : { hostfile }),
    ...(hosts.length === 0 ? {} : { hosts: hosts.join(',') }),
    ...(scheduler === undefined ? {} : { scheduler }),
  }
}

// From weak to strong.
function exportsOf(job: OptionReader, own: OptionReader): string[] {
  return [
    ...(own.has(RANKS.envlist) || own.get(RANKS.envnone) ? [] : job.get(RANKS.genvlist)),
    ...own.get(RANKS.envlist),
    ...job.get(RANKS.genv),
    ...job
      .get(RANKS.mca)
      .flatMap(({ name, value }) => (isForLaunchers(name) ? [] : [`OMPI_MCA_${name}=${value}`])),
    ...job.get(RANKS.pmixMca),
    ...own.get(RANKS.env),
    ...own.get(RANKS.exports),
  ]
}

// What is said for one program is stronger than what is said for all.
function inheritsVariables(job: OptionReader, own: OptionReader): boolean {
  if (own.get(RANKS.envall)) return true
  if (own.get(RANKS.envnone) || own.has(RANKS.envlist)) return false
  return job.get(RANKS.genvall) || !(job.get(RANKS.genvnone) || job.has(RANKS.genvlist))
}

/** Parameters of Open MPI's own launcher, which is not there. */
function isForLaunchers(parameter: string): boolean {
  return /^(plm|ras|rmaps|ess|odls|oob|rml|routed|grpcomm|filem|iof|state|errmgr|schizo|pmix|orte|prte)(_|$)/.test(
    parameter,
  )
}

function notesOn({ options }: CommandWords, job: OptionReader): string[] {
  const unused = OPTIONS.flatMap((option) =>
    option.noEffect !== undefined && options.has(option.key)
      ? [`${dashed(option)} has no effect: ${option.noEffect}`]
      : [],
  )
  const parameters = job.get(RANKS.mca).filter(({ name }) => isForLaunchers(name))
  return [
    ...unused,
    ...parameters.map(({ name }) => `--mca ${name} has no effect: Open MPI’s own launcher does not run`),
  ]
}

function readOutput(job: OptionReader): Settings['output'] {
  const said = job.get(OUTPUT.output)
  const patterns = { stdout: job.get(OUTPUT.outPattern), stderr: job.get(OUTPUT.errPattern) }
  const byPattern: OutputFiles | undefined =
    patterns.stdout === undefined && patterns.stderr === undefined
      ? undefined
      : { form: { kind: 'patterns', ...patterns }, copy: false }
  return {
    tags: {
      tag:
        said.find(({ tag }) => tag === 'host')?.tag ?? (job.get(OUTPUT.tag) || said.some(({ tag }) => tag)),
      timestamp: job.get(OUTPUT.timestamp) || said.some(({ timestamp }) => timestamp),
      pattern: job.get(OUTPUT.prefix) ?? (job.get(OUTPUT.label) ? '[%r] ' : undefined),
    },
    merge: job.get(OUTPUT.merge) || said.some(({ merge }) => merge),
    files: said.findLast(({ files }) => files)?.files ?? job.get(OUTPUT.filename) ?? byPattern,
  }
}

function readPlacement(job: OptionReader): Settings['placement'] {
  const said = job.get(PLACEMENT.mapBy)
  const more = {
    ...(job.get(PLACEMENT.oversubscribe) ? { oversubscribe: true } : {}),
    ...(job.get(PLACEMENT.noOversubscribe) ? { oversubscribe: false } : {}),
    ...(job.get(PLACEMENT.noLocal) ? { noLocal: true } : {}),
  }
  const file = job.get(PLACEMENT.rankfile)
  const ranked = file === undefined ? {} : { by: 'rankfile' as const, file }
  const any = said || file !== undefined || Object.keys(more).length > 0
  const mapBy: MapBy | undefined = any ? { by: undefined, ...said, ...ranked, ...more } : undefined
  if (mapBy?.by === 'rankfile' && mapBy.file === undefined) {
    throw usageError('names no rankfile', '--map-by rankfile:file=FILE, or --rankfile FILE', '--map-by')
  }
  return { mapBy, rankBy: job.get(PLACEMENT.rankBy), binding: bindingOf(job, mapBy) }
}

// None is usual: whoever shares a node with other jobs must not be put on the same processors as they are.
function bindingOf(job: OptionReader, mapBy: MapBy | undefined): BindingWish | undefined {
  const { by, perResource, processors } = mapBy ?? {}
  const said = job.get(PLACEMENT.bindTo)
  const to: BindTo | undefined =
    said ?? (processors === undefined ? undefined : { to: 'core', count: 1, overload: false })
  const within = job.get(PLACEMENT.cpuList)
  if (to?.ordered && within === undefined)
    throw usageError('names no processors', '--cpu-list 0,1 --bind-to cpu-list:ordered', '--bind-to')
  if (!to && !within && !job.get(PLACEMENT.reportBindings)) return undefined
  return {
    ...(to ?? { to: 'none', count: 1, overload: false }),
    ...(within === undefined ? {} : to?.ordered ? { list: within.map((id) => [id]) } : { within }),
    ...(processors === undefined ? {} : { count: processors }),
    ...(by === undefined ? {} : { by }),
    ...(perResource === undefined ? {} : { perResource }),
  }
}
