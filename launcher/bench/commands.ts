// The command line of each run, as a user would type it. Pure.
import type { OptionSpec, OptionWords } from '../../mpi-bridge/index.ts'
import { GUESTS } from '../options/guests.ts'
import { OUTPUT } from '../options/output.ts'
import { PLACEMENT } from '../options/placement.ts'
import { PROGRAM } from '../options/program.ts'
import { RANKS } from '../options/ranks.ts'
import { type Rule, ruleOfKind } from '../options/without-meaning.ts'
import type { Settings } from '../plan/settings.ts'
import { isStock, type Kind, type Mpi, STOCK_KINDS, type StockKind } from './results.ts'

/** What command lines are made of. */
export interface CommandParts {
  /** Path of leet-mpirun. */
  readonly leetMpirun: string
  /** The launcher that comes with each MPI. */
  readonly launchers: ReadonlyMap<Mpi, string>
  /** leet-mpirun's own options, as given. */
  readonly table: readonly OptionSpec[]
  readonly options: OptionWords
  readonly ranks: number
  readonly root: boolean
  /** `NAME=VALUE` of the profiles that know the program: guests get them from leet-mpirun, all others are given them. */
  readonly variables: readonly string[]
}

/** The options that bench itself sets for each run. */
export const SET_BY_BENCH: readonly OptionSpec[] = [
  PROGRAM.ranks,
  GUESTS.kind,
  OUTPUT.events,
  OUTPUT.timings,
  OUTPUT.dryRun,
]

/** What is not passed on to the runs of a kind although ranks will look in vain for what it says. */
export function leftOut({ table, options }: Pick<CommandParts, 'table' | 'options'>, kind: Kind): Rule[] {
  if (isStock(kind)) return []
  return table.flatMap((option) => {
    const rule = options.has(option.key) ? ruleOfKind(option, kind) : undefined
    return rule?.outcome === 'refuse' ? [rule] : []
  })
}

/** The command that composes the image of a program for guests of a kind, into a store of its own. */
export function composeCommand(
  leet: string,
  { image, profiles }: Pick<Settings, 'image' | 'profiles'>,
  kind: Kind,
  program: string,
  store: string,
): [string, ...string[]] {
  const given = (flag: string, words: readonly (string | undefined)[]) =>
    words.flatMap((word) => (word === undefined ? [] : [flag, word]))
  const ofKind =
    kind === 'osv'
      ? [...given('--osv-base', [image.osvBase]), ...(image.osvCompat ? [] : ['--no-osv-compat'])]
      : [...given('--kernel', [image.kernel]), ...given('--modules', [image.modules])]
  const common = [...given('--profile', profiles), ...given('--file', image.files)]
  return [leet, 'image', 'compose', '--guest', kind, '--store', store, ...common, ...ofKind, program]
}

/** The command that runs `program` on a kind; its events go to the file. */
export function commandOf(
  parts: CommandParts,
  kind: Kind,
  program: readonly string[],
  events: string,
): [string, ...string[]] {
  if (isStock(kind)) return stockCommand(parts, kind, program)
  const { leetMpirun, table, options, ranks, variables } = parts
  const passed = table
    .filter((option) => !SET_BY_BENCH.includes(option) && !ruleOfKind(option, kind))
    .flatMap(({ key, flags: [flag] }) =>
      (options.get(key) ?? []).flatMap((words) => [dashes(flag as string), ...words]),
    )
  const own = ['--guest', kind, '--timings', '--events', events]
  const given = kind === 'host' ? variables.flatMap((variable) => ['-x', variable]) : []
  return [leetMpirun, ...own, ...given, ...passed, '-n', String(ranks), ...program]
}

function dashes(flag: string): string {
  return `${flag.length <= 3 ? '-' : '--'}${flag}`
}

// Ranks are bound to no processor, as leet-mpirun leaves them, and may be more than there are processors.
function stockCommand(
  { launchers, options, ranks, root, variables: ofProfiles }: CommandParts,
  kind: StockKind,
  program: readonly string[],
): [string, ...string[]] {
  const ofOpenMpi = kind === STOCK_KINDS.openmpi
  const launcher = launchers.get(ofOpenMpi ? 'openmpi' : 'mpich')
  if (launcher === undefined) throw new Error(`there is no ${kind}`)
  const words = ({ key }: OptionSpec) => options.get(key) ?? []
  const first = (option: OptionSpec) => words(option).flatMap(([word]) => word ?? [])
  const places = [
    ...first(PROGRAM.hostfile).flatMap((file) => [ofOpenMpi ? '--hostfile' : '-f', file]),
    ...first(PROGRAM.hosts).flatMap((list) => [ofOpenMpi ? '--host' : '-hosts', list]),
    ...first(PLACEMENT.mapBy).flatMap((policy) => ['-map-by', policy]),
    ...first(RANKS.workDir).flatMap((directory) => ['-wdir', directory]),
  ]
  const variables = [
    ...ofProfiles,
    ...first(RANKS.exports),
    ...[...words(RANKS.genv), ...words(RANKS.env)].map(([name, value]) => `${name}=${value}`),
    ...[...first(RANKS.genvlist), ...first(RANKS.envlist)].flatMap((list) => list.split(',')),
  ].flatMap((text) => {
    const equals = text.indexOf('=')
    if (ofOpenMpi) return ['-x', text]
    return equals < 0 ? ['-genvlist', text] : ['-genv', text.slice(0, equals), text.slice(equals + 1)]
  })
  const parameters = ofOpenMpi ? words(RANKS.mca).flatMap((pair) => ['--mca', ...pair]) : []
  const own = ofOpenMpi
    ? ['--oversubscribe', '--bind-to', 'none', ...(root ? ['--allow-run-as-root'] : [])]
    : []
  return [launcher, ...own, ...places, ...parameters, ...variables, '-n', String(ranks), ...program]
}

/** Which stock launcher may belong to an MPI, best first. */
export const STOCK_LAUNCHERS: Readonly<Record<Mpi, readonly string[]>> = {
  openmpi: ['mpirun.openmpi', 'mpirun', 'mpiexec'],
  mpich: ['mpiexec.mpich', 'mpiexec.hydra', 'mpiexec', 'mpirun'],
}

/** Whose launcher says this of its version; LEET's own, under the name of one, names both. */
export function flavourOfVersion(text: string): Mpi | undefined {
  if (/LEET/.test(text)) return undefined
  if (/Open MPI|OpenRTE|PRRTE/i.test(text)) return 'openmpi'
  return /HYDRA|MPICH/.test(text) ? 'mpich' : undefined
}
