// Options of a command line that mean nothing together with others of it, or with what the job turned out to be: refused where
// somebody would wait for what does not come, else noted. What files and variables say is passed over instead: a site's
// leet.yaml suits every job. Pure.
import { resolve } from 'node:path'
import { usageError } from '../../common/index.ts'
import { dashed, type OptionSpec, type OptionWords, parseMapBy } from '../../mpi-bridge/index.ts'
import { type StageTime, workDirWay } from '../plan/mounts.ts'
import { joinsGuests } from '../plan/network.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { GuestKind, Settings } from '../plan/settings.ts'
import { GUESTS } from './guests.ts'
import { IMAGE, isOutside } from './image.ts'
import { PLACEMENT } from './placement.ts'
import { PROGRAM } from './program.ts'
import { SURROUNDINGS } from './surroundings.ts'

/** What a job turned out to be, as far as options depend on it. */
export interface Circumstances {
  readonly guest: GuestKind
  /** How many guests were asked for. */
  readonly count: number | undefined
  readonly hypervisor: 'qemu' | 'libvirt'
  /** Guests boot an image that is there already. */
  readonly givenImage: boolean
  /** The guests of a session are used. */
  readonly session: boolean
  /** Guests have a network of their own. */
  readonly joined: boolean
  /** Working directories are carried into OSv guests. */
  readonly carried: boolean
  readonly stage: StageTime
  /** Nodes are given copies of the working directories. */
  readonly mirrored: boolean
  /** Nodes that the job has, also those without ranks. */
  readonly nodes: number
  /** In which the command was given. */
  readonly directory: string
}

/** Of `words` each is one occurrence of the option on the command line. */
type Condition = (job: Circumstances, words: readonly (readonly string[])[]) => boolean

/** When an option means nothing. */
export interface Rule {
  readonly option: OptionSpec
  /** With guests of these kinds; any unless told. A rule for one kind alone is also one for runs of `leet bench`. */
  readonly guests?: readonly GuestKind[]
  /** And only then. */
  readonly when?: Condition
  readonly outcome: 'refuse' | 'note'
  readonly why: string
  readonly instead?: string
}

const NO_GUESTS = 'there are no guests on the bare host'
const NO_OSV = 'only OSv guests have it'
const IN_IMAGE = 'an image that is there already has what is in it'
const ARE_UP = 'the guests of the session are up'
const FOR_OSV = '--guest osv'
const FOR_GUESTS = '--guest linux, or leave it out'
const FOR_IMAGE = 'leave --image out, or have the image made with it'

const onHost: Pick<Rule, 'guests' | 'outcome' | 'why'> = { guests: ['host'], outcome: 'note', why: NO_GUESTS }
/** All Linux guests have the user's own working directory. */
const isSharing: Condition = (job) => !job.mirrored
const sharing: Pick<Rule, 'guests' | 'when' | 'outcome' | 'instead'> = {
  guests: ['linux'],
  when: isSharing,
  outcome: 'refuse',
  instead: '--stage always',
}
const givenImage: Pick<Rule, 'guests' | 'outcome' | 'why' | 'instead'> = {
  guests: ['linux', 'osv'],
  outcome: 'refuse',
  why: IN_IMAGE,
  instead: FOR_IMAGE,
}
const hasImage: Condition = (job) => job.givenImage
const inSession: Condition = (job) => job.session
const carriesNothing: Condition = (job) => job.guest === 'osv' && job.stage === 'never'
const isMounting: Condition = (job) => job.guest === 'osv' && !job.carried && job.stage !== 'never'

/**
 * All rules. On the bare host is noted what only shapes guests, so that `--guest host` alone makes a comparison of any command,
 * and refused what ranks would look for in vain.
 */
export const RULES: readonly Rule[] = [
  { option: GUESTS.memory, ...onHost },
  { option: GUESTS.cpus, ...onHost },
  { option: GUESTS.pinning, ...onHost },
  { option: GUESTS.hypervisor, ...onHost },
  { option: GUESTS.libvirtUri, ...onHost },
  { option: GUESTS.bootTimeout, ...onHost },
  { option: GUESTS.bootPatience, ...onHost },
  { option: GUESTS.bootRetries, ...onHost },
  { option: SURROUNDINGS.network, ...onHost },
  { option: SURROUNDINGS.subnet, ...onHost },
  { option: SURROUNDINGS.shareBy, ...onHost },
  { option: IMAGE.kernel, ...onHost },
  { option: IMAGE.modules, ...onHost },
  { option: IMAGE.osvBase, ...onHost },
  { option: IMAGE.osvCompat, ...onHost },
  { option: IMAGE.stage, ...onHost },
  { option: GUESTS.insecureApi, ...onHost },
  { option: IMAGE.stageIn, ...onHost },
  { option: IMAGE.stageOnly, ...onHost },
  { option: IMAGE.stageOut, ...onHost },
  {
    option: GUESTS.count,
    guests: ['host'],
    when: ({ count, nodes }) => count !== nodes,
    outcome: 'refuse',
    why: 'there are no guests to count on the bare host',
    instead: FOR_GUESTS,
  },
  {
    option: SURROUNDINGS.mounts,
    guests: ['host'],
    outcome: 'refuse',
    why: 'nothing is mounted on the bare host',
    instead: FOR_GUESTS,
  },
  {
    option: IMAGE.name,
    guests: ['host'],
    outcome: 'refuse',
    why: 'ranks on the bare host have the programs and libraries of the host',
    instead: FOR_GUESTS,
  },
  {
    option: IMAGE.files,
    guests: ['host'],
    when: goesElsewhere,
    outcome: 'refuse',
    why: 'nothing is put anywhere on the bare host',
    instead: FOR_GUESTS,
  },
  {
    option: GUESTS.reuse,
    guests: ['host'],
    outcome: 'refuse',
    why: NO_GUESTS,
    instead: '--guest osv, in a session of `leet up`',
  },
  {
    option: GUESTS.session,
    guests: ['host'],
    when: (_, words) => namesSession(words),
    outcome: 'refuse',
    why: NO_GUESTS,
    instead: 'leave --guest host out, or --session none',
  },
  {
    option: PROGRAM.ppn,
    when: ({ guest, nodes }) => guest === 'host' && nodes === 1,
    outcome: 'note',
    why: 'there is one node, and no guests among which ranks could be divided',
  },

  { option: IMAGE.osvBase, guests: ['linux'], outcome: 'refuse', why: NO_OSV, instead: FOR_OSV },
  { option: IMAGE.osvCompat, guests: ['linux'], outcome: 'note', why: NO_OSV },
  { option: GUESTS.insecureApi, guests: ['linux'], outcome: 'note', why: NO_OSV },
  {
    option: IMAGE.stage,
    guests: ['linux'],
    when: isSharing,
    outcome: 'note',
    why: 'Linux guests mount the working directory',
  },
  { option: IMAGE.stageIn, ...sharing, why: 'Linux guests mount the working directory as a whole' },
  { option: IMAGE.stageOnly, ...sharing, why: 'Linux guests mount the working directory as a whole' },
  { option: IMAGE.stageOut, ...sharing, why: 'Linux guests write into the working directory itself' },
  {
    option: IMAGE.kernel,
    guests: ['osv'],
    outcome: 'refuse',
    why: 'the kernel of OSv guests is OSv’s own',
    instead: '--osv-base BASE',
  },
  {
    option: IMAGE.modules,
    guests: ['osv'],
    outcome: 'refuse',
    why: 'OSv’s kernel has no modules',
    instead: '--osv-base BASE',
  },
  ...[IMAGE.stageIn, IMAGE.stageOnly, IMAGE.stageOut].flatMap((option): Rule[] => [
    {
      option,
      when: isMounting,
      outcome: 'note',
      why: 'the guests mount the working directory, which is on NFS',
    },
    {
      option,
      when: carriesNothing,
      outcome: 'refuse',
      why: 'nothing is carried',
      instead: 'leave --stage never out',
    },
  ]),

  { option: IMAGE.files, ...givenImage, when: hasImage },
  { option: IMAGE.kernel, ...givenImage, when: hasImage },
  { option: IMAGE.modules, ...givenImage, when: hasImage },
  { option: IMAGE.osvBase, ...givenImage, when: hasImage },
  {
    option: IMAGE.preload,
    ...givenImage,
    when: (job, words) => job.givenImage && words.some((said) => preloadsFrom(job.directory, said)),
  },
  {
    option: IMAGE.osvCompat,
    when: ({ guest, givenImage }) => guest === 'osv' && givenImage,
    outcome: 'note',
    why: IN_IMAGE,
  },

  {
    option: GUESTS.libvirtUri,
    guests: ['linux', 'osv'],
    when: ({ hypervisor, session }) => hypervisor !== 'libvirt' && !session,
    outcome: 'refuse',
    why: 'the guests are not run by libvirt',
    instead: '--hypervisor libvirt',
  },
  {
    option: SURROUNDINGS.subnet,
    guests: ['linux', 'osv'],
    when: ({ joined }) => !joined,
    outcome: 'note',
    why: 'a guest alone has no network of its own',
  },

  { option: GUESTS.bootTimeout, when: inSession, outcome: 'note', why: ARE_UP },
  { option: GUESTS.bootPatience, when: inSession, outcome: 'note', why: ARE_UP },
  { option: GUESTS.bootRetries, when: inSession, outcome: 'note', why: ARE_UP },
  { option: GUESTS.insecureApi, when: inSession, outcome: 'note', why: ARE_UP },
  {
    option: GUESTS.session,
    guests: ['linux', 'osv'],
    when: ({ session }, words) => !session && namesSession(words),
    outcome: 'refuse',
    why: 'the guests of that session are of another kind',
    instead: 'leave --guest out, or --session none',
  },
  {
    option: PLACEMENT.noLocal,
    when: inSession,
    outcome: 'refuse',
    why: 'the session has its nodes already',
    instead: '--session none, to boot other guests',
  },
  {
    option: PLACEMENT.mapBy,
    when: ({ session }, words) => session && words.some(([text = '']) => parseMapBy(text, '').noLocal),
    outcome: 'refuse',
    why: '`nolocal` says where guests are booted, and those of the session are up',
    instead: '--session none, to boot other guests',
  },
]

/** The rules that hold for what a command line says; `flags` are its options. */
export function meaningless(flags: OptionWords, job: Circumstances): readonly Rule[] {
  return RULES.filter(({ option, guests, when }) => {
    const words = flags.get(option.key)
    return words !== undefined && (guests?.includes(job.guest) ?? true) && (when?.(job, words) ?? true)
  })
}

/** Refuses the first option that has to be; the notes on others, one for each reason. */
export function notesOnMeaningless(flags: OptionWords, job: Circumstances): string[] {
  const rules = meaningless(flags, job)
  const refused = rules.find((rule) => rule.outcome === 'refuse')
  if (refused) throw usageError(`means nothing here: ${refused.why}`, refused.instead, dashed(refused.option))
  return [...Map.groupBy(rules, ({ why }) => why)].map(([why, own]) => {
    const names = own.map(({ option }) => dashed(option)).join(', ')
    return `${names} ${own.length === 1 ? 'has' : 'have'} no effect: ${why}`
  })
}

/** The rule by which an option says nothing to guests of a kind, and may be left out where several kinds are run. */
export function ruleOfKind(option: OptionSpec, kind: GuestKind): Rule | undefined {
  return RULES.find((rule) => rule.option === option && rule.guests?.length === 1 && rule.guests[0] === kind)
}

/** What rules ask, of a job with this plan; `nodes` are all that it has. */
export function circumstancesOf(
  settings: Settings,
  plan: JobPlan,
  { nodes, directory }: Pick<Circumstances, 'nodes' | 'directory'>,
): Circumstances {
  const session = plan.session !== undefined
  return {
    guest: plan.guestKind,
    count: settings.guest.count,
    hypervisor: plan.hypervisor.kind,
    givenImage: settings.image.name !== undefined,
    session,
    joined: joinsGuests(plan),
    carried: session || plan.guests.some((guest) => workDirWay(plan, guest) === 'carried'),
    stage: plan.staging.when,
    mirrored: plan.mirrored !== undefined,
    nodes,
    directory,
  }
}

/** Whether a session is named, and not `none`. */
function namesSession(words: readonly (readonly string[])[]): boolean {
  return words.some(([name]) => name !== 'none')
}

function preloadsFrom(directory: string, [list = '']: readonly string[]): boolean {
  return list.split(',').some((file) => file !== '' && isOutside(directory, file))
}

/** Whether a `--file SRC:DST` wants a file where the host does not have it. */
function goesElsewhere({ directory }: Circumstances, words: readonly (readonly string[])[]): boolean {
  return words.some(([text = '']) => {
    const colon = text.lastIndexOf(':')
    return colon > 0 && resolve(directory, text.slice(0, colon)) !== text.slice(colon + 1)
  })
}
