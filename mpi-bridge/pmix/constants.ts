// Numbers and names of PMIx that more than one file needs: status codes, commands, attributes.
// pmix_common.h of OpenPMIx 4.2.2 and the commands of its src/include/pmix_globals.h; the numbers are part of the wire.

/** Status codes of replies. */
export const Status = {
  SUCCESS: 0,
  ERROR: -1,
  /** Sent as an event: Open MPI's handlers end the rank that hears it. */
  PROC_ABORTED: -7,
  UNPACK_FAILURE: -20,
  TIMEOUT: -24,
  UNREACHABLE: -25,
  BAD_PARAM: -27,
  RESOURCE_BUSY: -28,
  OUT_OF_RESOURCE: -29,
  NOT_FOUND: -46,
  NOT_SUPPORTED: -47,
  DUPLICATE_KEY: -53,
  LOST_CONNECTION: -61,
  JOB_FAILED_TO_LAUNCH: -181,
} as const

/** Default event handlers are registered, and given up, under this code. */
export const DEFAULT_HANDLER = -(2 ** 31)

/** Commands of clients. */
export const Command = {
  JOB_INFO: 0,
  ABORT: 1,
  COMMIT: 2,
  FENCE: 3,
  GET: 4,
  FINALIZE: 5,
  PUBLISH: 6,
  LOOKUP: 7,
  UNPUBLISH: 8,
  SPAWN: 9,
  CONNECT: 10,
  DISCONNECT: 11,
  NOTIFY: 12,
  REGISTER_EVENTS: 13,
  DEREGISTER_EVENTS: 14,
  LOG: 16,
} as const

/** Scopes of committed data. */
export const Scope = { LOCAL: 1, REMOTE: 2, GLOBAL: 3 } as const

/** Ranges of events and published data. */
export const Range = {
  RM: 1,
  LOCAL: 2,
  NAMESPACE: 3,
  SESSION: 4,
  GLOBAL: 5,
  CUSTOM: 6,
  PROC_LOCAL: 7,
} as const

/** Persistence of published data. */
export const Persistence = { FIRST_READ: 1, PROC: 2 } as const

/** Keys with this beginning are the standard's own: never data of a program. */
export const RESERVED_PREFIX = 'pmix.'

/** Attributes that the server obeys. */
export const Attribute = {
  COLLECT: 'pmix.collect',
  IMMEDIATE: 'pmix.immediate',
  OPTIONAL: 'pmix.optional',
  TIMEOUT: 'pmix.timeout',
  WAIT: 'pmix.wait',
  RANGE: 'pmix.range',
  PERSISTENCE: 'pmix.persist',
  REFRESH_CACHE: 'pmix.get.refresh',
  WORKING_DIRECTORY: 'pmix.wdir',
  AFFECTED_PROC: 'pmix.evproc',
  AFFECTED_PROCS: 'pmix.evaffected',
  CUSTOM_RANGE: 'pmix.evrange',
  NON_DEFAULT: 'pmix.evnondef',
  DO_NOT_CACHE: 'pmix.evnocache',
} as const
