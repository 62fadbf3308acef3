// That guests are emulated, and why, in one line for the whole job, however many guests and nodes it has.
import type { Log } from '../../common/index.ts'
import { emulatedText } from '../machines/accel.ts'
import type { NodeEvent } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'

/** Hears from nodes why their guests are emulated. */
export class Emulation {
  readonly #nodes: number
  /** By node. */
  readonly #reasons = new Map<number, string>()

  constructor({ guests }: Pick<JobPlan, 'guests'>) {
    this.#nodes = new Set(guests.map(({ node }) => node)).size
  }

  hear(node: number, event: NodeEvent): void {
    if (event.kind === 'machine' && event.why !== undefined) this.#reasons.set(node, event.why)
  }

  /** Says it, when all guests are up. Nothing is said when all run under KVM. */
  tell(log: Log): void {
    const emulated = this.#reasons.size
    if (emulated === 0) return
    const who = emulated === this.#nodes ? 'guests' : `guests on ${emulated} of ${this.#nodes} nodes`
    log.note(emulatedText(who, this.#why()))
  }

  #why(): string {
    const byReason = [...Map.groupBy(this.#reasons.values(), (why) => why)]
    const [first] = byReason
    if (first && byReason.length === 1) return first[0]
    return byReason
      .map(([why, { length }]) => `on ${length} node${length === 1 ? '' : 's'} ${why}`)
      .join('; ')
  }
}
