// The process that keeps a session: boots the guests, tells how they are reached, and ends them when it is told to, when
// the shell or the job that it belongs to has ended, or when no guest is left.
import { appendFileSync } from 'node:fs'
import { hostname } from 'node:os'
import {
  Deadline,
  isRunning,
  LeetError,
  type Log,
  lineLog,
  messageOf,
  type ProcessIdentity,
  poll,
  Scope,
} from '../../common/index.ts'
import { type Allocation, nodeOfThisProcess } from '../../scheduler-adapters/index.ts'
import { Emulation } from '../job/emulation.ts'
import { endSignal } from '../job/end-signal.ts'
import type { EventListener } from '../job/events.ts'
import { findImage } from '../job/guest-image.ts'
import { openNodes } from '../job/nodes.ts'
import { accessOf, makeSecrets } from '../job/secrets.ts'
import { Journal } from '../journal/journal.ts'
import { reap } from '../journal/reaper.ts'
import { bootGuests, type HeldGuest, type NodeEvent } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'
import { version } from '../plan/version.ts'
import { openLines } from './lines.ts'
import { LOG_FILE, type SessionRecord, stampOfFile, writeRecord } from './record.ts'

/** What `holdSession` needs. */
export interface HoldOrder {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly settings: Settings
  /** What the image is composed of. */
  readonly programs: readonly string[]
  /** Programs and libraries whose change since then must not go unnoticed. */
  readonly files: readonly string[]
  /** With which the session ends. */
  readonly shell: ProcessIdentity
  /** Hears what happens until the session is up; later it goes to the session's log alone. */
  readonly log: Log
  readonly onEvent: EventListener
  readonly cancel: AbortSignal
  /** All guests are ready. */
  readonly onUp: () => void
}

/** How often it is looked whether the shell is still there: nobody else can wait for what is not its child. */
const SHELL_MS = 250
/** Agents have limits of their own to end what is on their nodes; this is for a node that does not answer. */
const STOP_MS = 30_000

/** Keeps a session to its end. Rejects when it could not be made, or when it ended by itself. */
export async function holdSession(order: HoldOrder): Promise<void> {
  const options = { name: 'the session', warn: (line: string) => order.log.warn(line) }
  await Scope.run(options, (scope) => holdIn(scope, order))
}

async function holdIn(scope: Scope, order: HoldOrder): Promise<void> {
  const { plan, allocation, shell, onEvent } = order
  await reap({ log: order.log })
  const journal = await Journal.open({ jobId: plan.jobId })
  scope.onEnd('what is in its journal', (limits) => journal.close(limits))
  const logFile = journal.path(LOG_FILE)
  const kept = lineLog((text) => appendFileSync(logFile, text, { mode: 0o600 }), '', order.settings.verbose)
  const log = both(order.log, kept)
  const guests = new GuestBook(plan)
  const emulation = new Emulation(plan)
  const over = new AbortController()
  const { signal, onAgentSignal } = endSignal({ plan, allocation, cancel: order.cancel })
  const ending = AbortSignal.any([signal, over.signal])
  let record: SessionRecord | undefined
  const lose = (lost: readonly number[], error: LeetError) => {
    for (const guest of lost) {
      if (!guests.lose(guest, error)) continue
      onEvent({ event: 'guest-lost', guest: plan.guests[guest]?.name ?? '', message: error.message })
      log.warn(error.message)
    }
    if (record) writeRecord(journal.directory, { ...record, guests: guests.list() })
    // Before all are up, one is too few.
    if (!record || guests.allLost) over.abort(error)
  }
  try {
    const image = await findImage({ ...order, log, cancel: ending, keep: true })
    const secrets = await makeSecrets(plan, image)
    const limits = { deadline: Deadline.after(plan.limits.boot), signal: ending }
    const nodes = await openNodes(
      {
        ...{ plan, allocation, journal, log, scope },
        asSteps: true,
        onReport() {},
        onEvent(node, event) {
          emulation.hear(node, event)
          if (event.kind === 'guest-lost') lose([event.guest], event.error)
          else guests.hear(event, onEvent)
        },
        onLost: (node, error) => lose(guests.ofNode(node), error),
        onSignal: onAgentSignal,
      },
      limits,
    )
    if (plan.nodes.length > 1) {
      const { serveImage } = await import('../job/serve-image.ts')
      serveImage(image, { plan, exchange: nodes.exchange, log })
    }
    onEvent({ event: 'phase', phase: 'boot', state: 'begin' })
    const orderOf = (node: number) => ({
      ...{ plan, node, image, addresses: guests.addresses, secrets },
      keep: true,
    })
    const stopAll = () => Promise.allSettled(nodes.workers.map((worker) => worker.stop()))
    scope.onEnd('its guests', async () => void (await stopAll()), STOP_MS)
    await bootGuests(plan, nodes.workers, orderOf, ending)
    onEvent({ event: 'phase', phase: 'boot', state: 'end' })
    emulation.tell(log)
    const own = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })?.name
    const here = plan.nodes.findIndex(({ name }) => name === own)
    record = {
      version: version(),
      began: Date.now(),
      ...(allocation.jobId === undefined ? {} : { batchJob: allocation.jobId }),
      shell,
      plan,
      ...(here < 0 ? {} : { here }),
      guests: guests.list(),
      access: accessOf(secrets),
      ...(image.kind === 'disk' ? { disk: image } : {}),
      ...(image.kind === 'osv' ? { osv: { image, files: stampsOf(order.files) } } : {}),
    }
    await openLines(journal.directory, plan, nodes.exchange, scope)
    writeRecord(journal.directory, record)
    kept.note(`up, with ${plan.guests.length} guests`)
    order.onUp()
    const shellEnded = () => (isRunning(shell) ? undefined : true)
    const limitless = { deadline: Deadline.never, signal: ending }
    await poll(shellEnded, SHELL_MS, limitless, { what: 'the shell to end' })
  } catch (error) {
    kept.warn(messageOf(error))
    throw error
  }
}

function stampsOf(files: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    files.flatMap((path) => {
      const stamp = stampOfFile(path)
      return stamp === undefined ? [] : [[path, stamp]]
    }),
  )
}

/** What is known of each guest. */
class GuestBook {
  /** By index. */
  readonly addresses: string[] = []
  readonly #plan: JobPlan
  readonly #held: HeldGuest[] = []
  readonly #lost = new Map<number, string>()

  constructor(plan: JobPlan) {
    this.#plan = plan
  }

  hear(event: NodeEvent, tell: EventListener): void {
    if (event.kind === 'address') this.addresses[event.guest] = event.address
    else if (event.kind === 'held') {
      const { kind: _, guest, ...how } = event
      this.#held[guest] = how
    } else if (event.kind === 'guest') {
      const { state, detail } = event
      const guest = this.#plan.guests[event.guest]?.name ?? ''
      tell({ event: 'guest', guest, state, ...(detail === undefined ? {} : { detail }) })
    }
  }

  /** False when that was known. */
  lose(guest: number, error: LeetError): boolean {
    if (this.#lost.has(guest)) return false
    this.#lost.set(guest, error.message)
    return true
  }

  ofNode(node: number): number[] {
    return this.#plan.guests.filter((guest) => guest.node === node).map(({ index }) => index)
  }

  get allLost(): boolean {
    return this.#lost.size === this.#plan.guests.length
  }

  list(): SessionRecord['guests'] {
    return this.#plan.guests.map(({ index, name }) => {
      const held = this.#held[index]
      const address = this.addresses[index]
      if (!held || address === undefined) {
        throw new LeetError({ code: 'LEET_E_SESSION', what: 'nobody told how it is reached', where: name })
      }
      const lost = this.#lost.get(index)
      return { ...held, address, ...(lost === undefined ? {} : { lost }) }
    })
  }
}

function both(one: Log, other: Log): Log {
  const to =
    (...says: ((line: string) => void)[]) =>
    (line: string) => {
      for (const say of says) say(line)
    }
  return {
    note: to(one.note, other.note),
    warn: to(one.warn, other.warn),
    detail: to(one.detail, other.detail),
  }
}
