// A job as the process manager sees it: which ranks there are and which of them share a guest.

/** The ranks of one guest. MPI libraries call a guest a node. */
export interface GuestRanks {
  /** Index of the guest in the job, from 0. */
  readonly guest: number
  /** Host name of the guest, unique in the job. */
  readonly name: string
  /** Index of the node agent that serves this guest's ranks, from 0. */
  readonly agent: number
  /** Ranks in this guest, ascending. */
  readonly ranks: readonly number[]
}

/** Everything that all agents know of a job and that never changes once its ranks are started. */
export interface JobLayout {
  /** Unguessable name: the PMI kvs name and the PMIx namespace. At most 255 characters, no space or `;`. */
  readonly id: string
  /** Number of ranks. */
  readonly size: number
  readonly guests: readonly GuestRanks[]
  /** Application number (MPMD) of each rank. */
  readonly appnums: readonly number[]
  /** MPI_UNIVERSE_SIZE, when known. */
  readonly universeSize?: number
  /** The job and rank that called MPI_Comm_spawn, for a spawned job. */
  readonly spawnedBy?: { readonly job: string; readonly rank: number }
}

/** A pair put into the key-value space of a spawned job before its ranks start (PMI-1 and PMI-2 spawn). */
export interface Preput {
  readonly key: string
  readonly value: string
}

/** What the process manager saw a rank do. */
export type RankReport =
  | { readonly kind: 'connected' | 'initialised' | 'finalised'; readonly job: string; readonly rank: number }
  /** MPI_Abort: the whole job ends with `status`. */
  | {
      readonly kind: 'aborted'
      readonly job: string
      readonly rank: number
      readonly status: number
      readonly message: string
    }
  /** The connection ended without finalize: the rank died, or its guest. */
  | { readonly kind: 'lost'; readonly job: string; readonly rank: number; readonly why: string }
