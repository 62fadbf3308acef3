// The simulated job that the scale benchmark runs: what controller and agents must both know of it.

/** Ranks on each node. */
export const RANKS_PER_NODE = 8
/** Bytes that a rank puts into a fence: a business card, about as long as MPICH's for TCP. */
export const CARD_BYTES = 128
/** Lines that each rank writes, and bytes of each. */
export const LINES = 10
export const LINE_BYTES = 80
export const VERSION = 'bench'

/** What the controller has the agents do, by broadcast; each says by a question of that topic that it has done it. */
export type Step = 'fence' | 'output' | 'end'
export const STEP_TOPIC = 'step'

export type Phase = 'connect' | 'boot' | 'launch' | 'fence' | 'output' | 'teardown'

/** What the controller's process prints at the end, as JSON. Times in milliseconds. */
export interface ScaleResult {
  readonly agents: number
  readonly wall: Readonly<Record<Phase, number>>
  /** CPU time of the controller, user and system. */
  readonly cpu: Readonly<Record<Phase, number>>
  /** The longest that the controller's event loop was held up. */
  readonly stall: number
  /** Largest resident set of the controller in bytes. */
  readonly memory: number
}
