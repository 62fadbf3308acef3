// The simulated job that the scale benchmark runs: what controller and agents must both know of it.

/** Ranks on each node. */
export const RANKS_PER_NODE = 8
/** What a rank puts into a fence: its key and business card, as MPICH writes them for TCP, with a port as the kernel gives. */
export function cardOf(rank: number): string {
  const node = Math.floor(rank / RANKS_PER_NODE)
  const port = 32_768 + Math.floor(Math.random() * 28_232)
  const host = `node${String(node).padStart(4, '0')}.cluster`
  const address = `10.77.${node >> 8}.${node % 256}`
  return `P${rank}-businesscard\0description#${host}$port#${port}$ifname#${address}$\0`
}
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
