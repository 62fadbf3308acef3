// What the process managers of the nodes say to each other: fences with data, questions to another node or to the
// controller, reports. A job on one node needs no messages at all (`LocalExchange`); with agents the same
// interface runs over their links, so that data crosses each link once.
import type { WaitLimits } from '../common/index.ts'
import type { RankReport } from './job.ts'

/** Answers a question; a rejection reaches the asker as a LeetError. */
export type Answerer = (request: Uint8Array, from: number) => Promise<Uint8Array>

/** The controller's questions have this agent number. */
export const CONTROLLER = -1

/** One node's way to the others. */
export interface Exchange {
  /** Index of this node's agent. */
  readonly agent: number
  /**
   * Meets the other agents: resolves, with what each contributed in the order of `agents`, when all of them have
   * called it with the same `id`. An id is used once. `agents` contains this agent. Rejects when a participant is gone.
   */
  fence(
    id: string,
    agents: readonly number[],
    data: Uint8Array,
    limits: WaitLimits,
  ): Promise<readonly Uint8Array[]>
  /** Asks agent `to` (or CONTROLLER) about `topic`. */
  ask(to: number, topic: string, request: Uint8Array, limits: WaitLimits): Promise<Uint8Array>
  /** Sends to every agent, this one included, without an answer. */
  broadcast(topic: string, message: Uint8Array): void
  /** Registers who answers questions and receives broadcasts about `topic` here. One answerer a topic. */
  answer(topic: string, answerer: Answerer): void
  /** Tells the controller what a rank did. */
  report(report: RankReport): void
}
