// What the processes of the benchmark of many OSv guests tell each other.

export const RANKS_PER_GUEST = 4

/** What one run measured. */
export interface OsvScaleResult {
  readonly guests: number
  /** Milliseconds from the first request until OSv has answered the last start. */
  readonly started: number
  /** Milliseconds until the last rank has ended. */
  readonly ended: number
  /** Bytes that the launching process grew by while all ranks ran. */
  readonly memory: number
}

/** From the guests to the launcher: their ports, and lines of their consoles. */
export type FromGuests =
  | { readonly kind: 'ports'; readonly ports: readonly number[] }
  | { readonly kind: 'lines'; readonly lines: readonly (readonly [guest: number, line: string])[] }
