// OSv guests that a session keeps, for one of its jobs: REST leads into each, its console is read from the file that the
// session writes, and what the guest has started since its boot is counted in a file beside that. One job at a time has a
// guest: programs get their environment from the guest's own.

import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { isRunning, LeetError, type Log, messageOf, type Scope, type WaitLimits } from '../../common/index.ts'
import {
  MAX_STARTS,
  type OsvChannel,
  type OsvRest,
  openOsvChannel,
  type RankEvent,
  type RankListener,
  removeStaged,
  stagedPath,
} from '../../mpi-bridge/index.ts'
import type { Journal } from '../journal/journal.ts'
import { lockName } from '../journal/name-lock.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import { followFile } from './follow-file.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import { osvRestOf } from './osv-rest.ts'
import { OsvStaging } from './osv-staging.ts'
import { type FetchedResults, mergeResults } from './results.ts'
import { planStaging, type StageRoot, stageRoots } from './stage-roots.ts'
import type { GuestState, HeldGuest, OsvAccess, OsvImageFiles } from './worker.ts'

/** What `heldOsvGuests` is told. */
export interface HeldOsvGuestsContext {
  readonly plan: JobPlan
  /** The guests of this node that the job uses. */
  readonly guests: readonly GuestPlan[]
  readonly held: Readonly<Record<string, HeldGuest>>
  /** What leads into the guests of the session. */
  readonly access: OsvAccess
  /** Which the guests booted. */
  readonly image: OsvImageFiles
  readonly journal: Journal
  readonly log: Log
}

/** How often it is looked whether the hypervisor still runs, in milliseconds: it is no child of this process. */
const LOOK_MS = 200
/** How long the console of a guest that has ended may come later than that. */
const CONSOLE_LAG_MS = 300
/** How long it may take to remove what was carried into a guest. */
const TIDY_MS = 30_000

/** The OSv guests of a session on this node; they are up. */
export function heldOsvGuests(context: HeldOsvGuestsContext): NodeGuests {
  const nameOf = ({ name }: GuestPlan) => name
  return {
    boot(scope, onState, limits) {
      return scope.each(context.guests, nameOf, async (plan, own) => {
        const known = context.held[plan.name]?.osv && context.held[plan.name]
        if (!known) {
          throw new LeetError({ code: 'LEET_E_SESSION', what: 'it is not of the session', where: plan.name })
        }
        const guest = new HeldOsvGuest(context, plan, known, own)
        await guest.take((state) => onState(guest.index, state), own.within(limits))
        return guest
      })
    },
  }
}

class HeldOsvGuest implements NodeGuest {
  readonly index: number
  readonly scope: Scope
  readonly serviceHost = '127.0.0.1'
  readonly serviceAddress: string
  readonly switchesUser = false
  // Why a guest of its own is gone the session knows too; the channel tells it with what the console said.
  readonly channelExplains = true
  readonly lost: Promise<LeetError> = new Promise(() => {})
  readonly #context: HeldOsvGuestsContext
  readonly #guest: GuestPlan
  readonly #osv: NonNullable<HeldGuest['osv']>
  readonly #rest: OsvRest
  #staging: OsvStaging | undefined
  #roots: readonly StageRoot[] = []
  #fetched: FetchedResults | undefined
  readonly #starts: StartsFile
  #poweredOff = false

  constructor(context: HeldOsvGuestsContext, guest: GuestPlan, known: HeldGuest, scope: Scope) {
    const { host = '127.0.0.1', port, serviceAddress, osv } = known
    this.index = guest.index
    this.scope = scope
    this.serviceAddress = serviceAddress
    this.#context = context
    this.#guest = guest
    this.#osv = osv as NonNullable<HeldGuest['osv']>
    this.#rest = osvRestOf(guest.name, { host, port }, context.access)
    this.#starts = new StartsFile(`${this.#osv.console}.starts`)
  }

  /** Makes the guest this job's, with nothing of an earlier one in it. */
  async take(onState: (state: GuestState) => void, limits: WaitLimits): Promise<void> {
    const lock = await lockName(`osv/${this.#guest.name}`)
    if (!lock) {
      throw this.#error(
        'another job runs in it',
        'programs get their environment from the guest’s own: an OSv guest takes one job at a time',
        'wait for that job; or --session none, to boot other guests',
      )
    }
    this.scope.onEnd('its lock', lock.release)
    const { count } = this.#starts
    const ranks = this.#guest.ranks.length
    if (count + ranks > MAX_STARTS) {
      throw new LeetError({
        code: 'LEET_E_OSV_STARTS',
        where: this.#guest.name,
        what: `it has started ${count} programs since its boot, and ${ranks} more would be too many`,
        why: `OSv starts ${MAX_STARTS} from boot to boot`,
        hint: '`leet down`, then `leet up`; or --session none, to boot other guests',
      })
    }
    for (const thread of this.#starts.threads) {
      if (await this.#rest.finished(thread, limits)) continue
      throw this.#error(
        'a program of an earlier job still runs in it',
        'that job was killed, and OSv has no signals',
        '`leet down`, then `leet up`',
      )
    }
    const { plan, image, log } = this.#context
    this.#roots = stageRoots(plan)
    await this.#tidy(limits)
    const stages = await planStaging(this.#roots, limits)
    this.#staging = new OsvStaging({ plan, stages, guest: this.#guest, image, log })
    await this.#staging.stageIn(this.#rest, limits)
    onState('ready')
  }

  async openChannel(
    listener: RankListener,
    _limits: WaitLimits,
    askToEnd: () => boolean,
  ): Promise<OsvChannel> {
    const { scope } = this
    // The last that is done with it: by then the channel has ended what still ran.
    scope.onEnd('what is told of its end', () => this.#tellLoss())
    const console = followFile(this.#osv.console, (data) => channel.consoleData(data))
    scope.onEnd('its console', console.close)
    const look = setInterval(() => {
      if (isRunning(this.#osv.machine)) return
      clearInterval(look)
      scope.timer(CONSOLE_LAG_MS, () => {
        console.read()
        channel.guestEnded('its hypervisor has ended')
      })
    }, LOOK_MS)
    scope.onEnd('the look at its hypervisor', () => clearInterval(look))
    const channel = openOsvChannel({
      rest: this.#rest,
      scope,
      listener: (event) => {
        if (event.kind === 'began') this.#starts.began(event.pid)
        if (event.kind === 'lost' || isKilled(event)) this.#poweredOff = true
        listener(event)
      },
      askToEnd,
      log: this.#context.log,
      compat: this.#context.image.compat,
      nonce: randomBytes(8).toString('hex'),
      startsBefore: this.#starts.count,
      onStart: () => this.#starts.add(),
    })
    return channel
  }

  place(argv: readonly [string, ...string[]], workDir: string) {
    return this.#staging?.place(argv, workDir) ?? { argv, workDir }
  }

  async collect(limits: WaitLimits): Promise<void> {
    const { journal } = this.#context
    this.#fetched = await this.#staging?.fetch(this.#rest, { journal, scope: this.scope }, limits)
    await this.#tidy({ ...limits, deadline: limits.deadline.within(TIDY_MS) }).catch((error) =>
      this.#context.log.detail(`${this.#guest.name}: ${messageOf(error)}`),
    )
  }

  async merge(signal: AbortSignal): Promise<void> {
    const own = { guest: this.#guest.name, log: this.#context.log }
    if (this.#fetched) await mergeResults(this.#fetched, own, signal)
  }

  #tellLoss(): void {
    if (!this.#poweredOff) return
    this.#context.log.warn(
      `${this.#guest.name} is gone from the session: OSv has no signals, so a rank that has to end takes its guest with it`,
    )
  }

  async #tidy(limits: WaitLimits): Promise<void> {
    for (const { directory } of this.#roots) {
      await removeStaged(this.#rest, stagedPath(directory), limits)
    }
  }

  #error(what: string, why: string, hint: string): LeetError {
    return new LeetError({ code: 'LEET_E_SESSION', where: this.#guest.name, what, why, hint })
  }
}

function isKilled(event: RankEvent): boolean {
  return event.kind === 'ended' && event.end.kind === 'signal' && event.end.signal === SIGKILL
}

const SIGKILL = 9

/** What a guest has started since its boot: a line `start` before each, and one with the thread when that is known. */
class StartsFile {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  get count(): number {
    return this.#lines().filter((line) => line === 'start').length
  }

  get threads(): number[] {
    return this.#lines().flatMap((line) => (line.startsWith('thread ') ? [Number(line.slice(7))] : []))
  }

  add(): void {
    appendFileSync(this.#path, 'start\n', { mode: 0o600 })
  }

  began(thread: number): void {
    appendFileSync(this.#path, `thread ${thread}\n`, { mode: 0o600 })
  }

  #lines(): string[] {
    return existsSync(this.#path) ? readFileSync(this.#path, 'utf8').split('\n') : []
  }
}
