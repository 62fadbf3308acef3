// The environment of a rank in OSv: what MPI libraries must be told there, and how it gets into the guest.
import type { ExplainedVariable } from '../environment.ts'

/** What the table depends on. */
export interface OsvSurroundings {
  readonly mpi: 'openmpi' | 'mpich' | 'none'
  /** Address of the guest that other guests connect to. */
  readonly address: string
  /** Network of that address, when guests see each other, as `10.77.0.0/24`. */
  readonly cidr?: string
}

interface OsvSetting {
  /** undefined: whatever the program. */
  readonly mpi?: 'openmpi' | 'mpich'
  readonly name: string
  readonly value: string | ((where: OsvSurroundings) => string | undefined)
  readonly why: string
}

/** What ranks in OSv need. The user's own setting of the same variable wins. */
const OSV_SETTINGS: readonly OsvSetting[] = [
  {
    mpi: 'mpich',
    name: 'MPIR_CVAR_CH3_INTERFACE_HOSTNAME',
    value: ({ address }) => address,
    why: 'with two interfaces jobs hang unless ch3 knows its address',
  },
  {
    mpi: 'mpich',
    name: 'MPICH_INTERFACE_HOSTNAME',
    value: ({ address }) => address,
    why: 'the same in MPICH before 3.0',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_btl_tcp_if_include',
    value: ({ cidr }) => cidr,
    why: 'the control interface is not for MPI',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_btl_vader_single_copy_mechanism',
    value: 'none',
    why: 'ranks of one guest are no processes whose memory could be read',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_osc',
    value: '^ucx,sm',
    why: 'windows: osc/sm maps a file twice, which OSv does not share',
  },
  {
    name: 'HWLOC_COMPONENTS',
    value: 'no_os,stop',
    why: 'there is no /sys for hwloc to read, and it says so',
  },
]

/** The user's settings that crash Open MPI in OSv, and are left out. */
const HARMFUL: readonly { readonly name: string; readonly value: RegExp; readonly why: string }[] = [
  {
    name: 'OMPI_MCA_opal_event_include',
    value: /poll|select/,
    why: 'Open MPI crashes in OSv with another event mechanism than epoll',
  },
]

/** What the table says for these surroundings. */
export function osvSettings(where: OsvSurroundings): ExplainedVariable[] {
  return OSV_SETTINGS.filter(({ mpi }) => mpi === undefined || mpi === where.mpi).flatMap(
    ({ name, value, why }) => {
      const text = typeof value === 'string' ? value : value(where)
      return text === undefined ? [] : [{ name, value: text, why }]
    },
  )
}

/** Why a variable cannot be given to ranks in OSv; undefined when it can. */
export function harmfulInOsv(name: string, value: string): string | undefined {
  return HARMFUL.find((entry) => entry.name === name && entry.value.test(value))?.why
}

/** The one variable that carries all others of a rank to the compatibility library. */
export const PACKED_ENVIRONMENT = 'LEET_OSV_ENV'

/** `env` as the compatibility library takes it (launcher/osv-compat/environment.c): NAME=VALUE lines. */
export function packEnvironment(env: Readonly<Record<string, string>>): string {
  return Object.entries(env)
    .map(([name, value]) => `${name}=${value.replaceAll('%', '%25').replaceAll('\n', '%0A')}`)
    .join('\n')
}
