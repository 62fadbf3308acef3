// One job as PMI-1 and PMI-2 serve it on one node: its key-value space, its fence, the attributes of its guests.
import { Deadline, type Log, messageOf } from '../../common/index.ts'
import { agentsOf, localRanks } from '../context.ts'
import type { Exchange } from '../exchange.ts'
import type { JobLayout, Preput } from '../job.ts'
import { KeyValueSpace } from './kvs.ts'
import { everyRankAlone, processMapping } from './mapping.ts'

/**
 * MPICH 4.0 with UCX over TCP may wait for ever in MPI_Finalize: a rank closes its endpoints, which needs progress of
 * its peers, while they block in the fence of MPI_Finalize (mended in later versions, where the fence comes first).
 * The rescue lets a rank go that has waited `graceMs` in that fence. A rank that enters MPI_Finalize later than that
 * may fail, so this is for jobs known to use that library.
 */
export interface FinalizeRescue {
  readonly graceMs: number
}

/** Who waits in a fence. `failure` says why it can never end. */
export type Release = (failure?: string) => void

interface Waiter {
  readonly release: Release
  readonly timer: NodeJS.Timeout | undefined
}

/** Bytes of attributes that the ranks of one guest may put (PMI-2 node attributes). */
const ATTRIBUTE_BUDGET = 16 * 2 ** 20

interface GuestAttributes {
  readonly values: Map<string, string>
  readonly waiting: Map<string, Set<(value: string) => void>>
  spent: number
}

/** A job's state on this node. */
export class PmiJob {
  readonly layout: JobLayout
  readonly kvs: KeyValueSpace
  readonly mapping: string
  readonly #exchange: Exchange
  readonly #log: Log
  readonly #agents: readonly number[]
  readonly #localSize: number
  readonly #rescue: FinalizeRescue | undefined
  /** Which fence of a rank is that of MPI_Finalize: MPICH 4.0 has one more in MPI_Init when ranks share a guest. */
  readonly #finalFence: number
  readonly #ended = new AbortController()
  readonly #attributes = new Map<number, GuestAttributes>()
  #waiters = new Map<number, Waiter>()
  #fences = 0

  constructor(
    layout: JobLayout,
    preput: readonly Preput[],
    exchange: Exchange,
    log: Log,
    rescue: FinalizeRescue | undefined,
  ) {
    this.layout = layout
    this.mapping = processMapping(layout)
    this.#exchange = exchange
    this.#log = log
    this.#agents = agentsOf(layout)
    this.#localSize = localRanks(layout, exchange.agent).length
    this.#rescue = rescue
    this.#finalFence = everyRankAlone(layout.guests) ? 3 : 4
    this.kvs = new KeyValueSpace(this.#agents.length > 1)
    this.kvs.preset('PMI_process_mapping', this.mapping)
    for (const { key, value } of preput) this.kvs.preset(key, value)
  }

  /**
   * Rank `rank` enters a fence, its `nth` since it connected; `release` is called when all ranks of the job have.
   * False when it waits in a fence already.
   */
  enterFence(rank: number, nth: number, release: Release): boolean {
    if (this.#waiters.has(rank)) return false
    const rescue = nth === this.#finalFence ? this.#rescue : undefined
    this.#waiters.set(rank, {
      release,
      timer: rescue && setTimeout(() => this.#letGo(rank, rescue), rescue.graceMs),
    })
    if (this.#waiters.size === this.#localSize) this.#meet()
    return true
  }

  /** The rank's connection ended: it is not answered any more. */
  leave(rank: number, release: Release): void {
    const waiter = this.#waiters.get(rank)
    if (waiter?.release !== release) return
    clearTimeout(waiter.timer)
    // It stays counted: a fence that it had entered may end for the others.
    this.#waiters.set(rank, { release: () => {}, timer: undefined })
  }

  /** Sets an attribute of a guest; false when there is no room. */
  putAttribute(guest: number, key: string, value: string, cost: number): boolean {
    const attributes = this.#attributesOf(guest)
    attributes.spent += cost
    if (attributes.spent > ATTRIBUTE_BUDGET) return false
    attributes.values.set(key, value)
    const waiting = attributes.waiting.get(key)
    attributes.waiting.delete(key)
    for (const found of waiting ?? []) found(value)
    return true
  }

  getAttribute(guest: number, key: string): string | undefined {
    return this.#attributesOf(guest).values.get(key)
  }

  /** Calls `found` when the attribute is put. The result ends the wait. */
  awaitAttribute(guest: number, key: string, found: (value: string) => void): () => void {
    const { waiting } = this.#attributesOf(guest)
    const others = waiting.get(key) ?? new Set()
    others.add(found)
    waiting.set(key, others)
    return () => {
      others.delete(found)
      if (others.size === 0) waiting.delete(key)
    }
  }

  /** Ends fences with other nodes; nobody is answered. */
  close(): void {
    this.#ended.abort()
    for (const { timer } of this.#waiters.values()) clearTimeout(timer)
    this.#waiters.clear()
  }

  #attributesOf(guest: number): GuestAttributes {
    let attributes = this.#attributes.get(guest)
    if (!attributes) {
      attributes = { values: new Map(), waiting: new Map(), spent: 0 }
      this.#attributes.set(guest, attributes)
    }
    return attributes
  }

  #letGo(rank: number, { graceMs }: FinalizeRescue): void {
    const waiter = this.#waiters.get(rank)
    if (!waiter) return
    this.#log.detail(
      `rank ${rank} is let out of the fence of MPI_Finalize after ${graceMs} ms (a known deadlock of MPICH 4.0 with UCX)`,
    )
    this.#waiters.set(rank, { release: () => {}, timer: undefined })
    waiter.release()
  }

  /** All local ranks are here. */
  #meet(): void {
    const nth = ++this.#fences
    if (this.#agents.length === 1) {
      this.#releaseAll()
      return
    }
    this.#exchange
      .fence(`pmi ${this.layout.id} ${nth}`, this.#agents, this.kvs.takeFresh(), {
        // Ranks may compute for as long as they like before they meet again.
        deadline: Deadline.never,
        signal: this.#ended.signal,
      })
      .then(
        (contributions) => {
          for (const [index, message] of contributions.entries()) {
            if (this.#agents[index] !== this.#exchange.agent) this.kvs.receive(message)
          }
          this.#releaseAll()
        },
        (error) => {
          if (this.#ended.signal.aborted) return
          this.#log.warn(`a fence of job ${this.layout.id} failed: ${messageOf(error)}`)
          this.#releaseAll(`a fence with other nodes failed: ${messageOf(error)}`)
        },
      )
  }

  #releaseAll(failure?: string): void {
    const waiters = this.#waiters
    this.#waiters = new Map()
    for (const { release, timer } of waiters.values()) {
      clearTimeout(timer)
      release(failure)
    }
  }
}
