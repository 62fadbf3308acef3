// A job of leet-mpirun in a session: which session that is, what the job takes from it, and what it may not ask for.
import { statSync } from 'node:fs'
import { ancestors, LeetError, usageError } from '../../common/index.ts'
import { dashed, type OptionSpec, type OptionWords } from '../../mpi-bridge/index.ts'
import type { Allocation } from '../../scheduler-adapters/index.ts'
import { GUESTS } from '../options/guests.ts'
import { IMAGE } from '../options/image.ts'
import { PROGRAM } from '../options/program.ts'
import { SURROUNDINGS } from '../options/surroundings.ts'
import { isMounted } from '../plan/mounts.ts'
import type { InspectedProgram, SessionFacts } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'
import { version } from '../plan/version.ts'
import { listSessions, named, type Session, sessionOfJob } from './find.ts'
import { type SessionRecord, stampOfFile } from './record.ts'

/** Options about guests that a job in a session may still give. */
const STILL_OPEN: readonly OptionSpec[] = [
  GUESTS.kind,
  GUESTS.count,
  IMAGE.finalizeRescue,
  GUESTS.session,
  GUESTS.reuse,
  GUESTS.bootTimeout,
  GUESTS.bootPatience,
  GUESTS.bootRetries,
  IMAGE.stage,
  IMAGE.stageIn,
  IMAGE.stageOnly,
  IMAGE.stageOut,
]
/** What the guests of a session have been told already: of nodes, and of themselves. */
const SETTLED: readonly OptionSpec[] = [
  PROGRAM.hostfile,
  PROGRAM.hosts,
  ...[GUESTS, SURROUNDINGS, IMAGE]
    .flatMap((rows): OptionSpec[] => Object.values(rows))
    .filter((option) => !STILL_OPEN.includes(option)),
]

/** The session that a job is to use; undefined when it boots its own guests. `flags` are those of its command line. */
export function sessionFor(
  { session, guest, reuseGuests }: Settings,
  flags: OptionWords,
  { jobId }: Allocation,
): Session | undefined {
  if (session === 'none' || guest.kind === 'host') return undefined
  const sessions = listSessions()
  const found =
    session === undefined
      ? sessionOfJob(sessions, { batchJob: jobId, ancestors: ancestors() })
      : named(sessions, session)
  const isFit = found && (!guest.kindSaid || found.record.plan.guestKind === guest.kind)
  if (reuseGuests && !isFit) {
    throw usageError(
      'there are no guests that could be used again',
      '`leet up --guest osv --reuse-guests PROGRAM…` boots some, for the following leet-mpirun',
      '--reuse-guests',
    )
  }
  if (!isFit) return undefined
  const { plan, version: other } = found.record
  if (other !== version()) {
    throw new LeetError({
      code: 'LEET_E_SESSION',
      what: `the session ${plan.jobId} is kept by LEET ${other}, this is LEET ${version()}`,
      hint: '`leet down` and `leet up`, or --session none',
    })
  }
  const refused = SETTLED.find(({ key }) => flags.has(key))
  if (refused) {
    throw usageError(
      `the guests of the session ${plan.jobId} are up: nothing can be said of them any more`,
      'give it to `leet up`; or --session none, to boot other guests',
      dashed(refused),
    )
  }
  return found
}

/** The settings of a job in a session: the kind and the image of its guests are what they are. */
export function inSession(settings: Settings, { plan, disk }: SessionRecord): Settings {
  const { guest, image } = settings
  return {
    ...settings,
    guest: { ...guest, kind: plan.guestKind },
    image: { ...image, name: disk?.disk },
  }
}

/**
 * What the plan of a job with these programs needs to know of a session. Guests that are gone are left out.
 */
export function sessionFacts(
  { plan, guests, osv, disk }: SessionRecord,
  programs: readonly InspectedProgram[],
): SessionFacts {
  const there = plan.guests.filter(({ index }) => guests[index]?.lost === undefined)
  if (there.length === 0) {
    throw new LeetError({
      code: 'LEET_E_SESSION',
      what: `no guest of the session ${plan.jobId} is left`,
      hint: '`leet logs` tells why; `leet down`, then `leet up`',
    })
  }
  const facts = { guests: there, network: plan.network, mounts: plan.mounts }
  if (osv) {
    checkImage(osv, programs)
    return { use: { id: plan.jobId, needs: [] }, ...facts }
  }
  const workDirs = programs.map((program) => program.plan.workDir)
  const strange = workDirs.find((directory) => !isMounted(plan, directory))
  if (strange !== undefined) {
    const mounted = plan.mounts.map(({ path }) => path).join(', ')
    throw usageError(
      `${strange} is not in a directory that the guests of the session ${plan.jobId} have (${mounted || 'none'})`,
      '`leet up` from there, or with --mount; or --session none',
      '-wdir',
    )
  }
  // A distribution has libraries of its own, and ranks say themselves which they lack.
  if (disk) return { use: { id: plan.jobId, needs: [] }, ...facts }
  const needs = [...new Set(programs.flatMap(({ facts }) => facts.files))]
    .filter((path) => !isMounted(plan, path))
    .map((path) => ({ path, size: statSync(path).size }))
  return { use: { id: plan.jobId, needs }, ...facts }
}

// Nothing can be asked of an OSv guest about a program whose copy in the image is not the user's file byte for byte.
function checkImage(
  { image, files }: NonNullable<SessionRecord['osv']>,
  programs: readonly InspectedProgram[],
): void {
  const strange = programs.flatMap(({ facts: { path, files: own } }) =>
    image.programs[path] === undefined
      ? [path]
      : [...new Set([path, ...own])].filter((file) => files[file] !== stampOfFile(file)),
  )
  if (strange.length === 0) return
  throw new LeetError({
    code: 'LEET_E_SESSION_PROGRAM',
    what: `${strange.slice(0, 4).join(', ')}${strange.length > 4 ? ', …' : ''}: not in the session’s image, or changed since`,
    why: 'the guests of a session keep the image that they booted',
    hint: '`leet down`, then `leet up` with the names of all programs; or --session none, to boot other guests',
    exitCode: 127,
  })
}
