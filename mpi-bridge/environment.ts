// What a rank finds in its environment: the user's variables less a deny-list, what its MPI library needs in a
// guest, and what the user said with -x, in that order of precedence from weak to strong. Tables, and pure functions.

/** A group of variables that ranks are not given, and why. Names may end in `*`. */
interface Denial {
  readonly why: string
  readonly names: readonly string[]
  /** Ranks on the bare host keep them: what they point at exists there. */
  readonly guestsOnly?: boolean
}

const DENY_LIST: readonly Denial[] = [
  {
    why: 'sockets and terminals of this machine',
    guestsOnly: true,
    names: [
      'DBUS_*',
      'DISPLAY',
      'GPG_AGENT_INFO',
      'GPG_TTY',
      'ICEAUTHORITY',
      'SESSION_MANAGER',
      'SSH_AGENT_PID',
      'SSH_AUTH_SOCK',
      'SSH_CLIENT',
      'SSH_CONNECTION',
      'SSH_TTY',
      'STY',
      'TMUX*',
      'WAYLAND_DISPLAY',
      'WINDOWID',
      'XAUTHORITY',
      'XDG_RUNTIME_DIR',
      'XDG_SESSION_*',
    ],
  },
  {
    why: 'keyrings, tickets and tokens',
    guestsOnly: true,
    names: [
      'ANTHROPIC_*',
      'AWS_*',
      'AZURE_*',
      'DOCKER_AUTH_CONFIG',
      'GH_TOKEN',
      'GITHUB_TOKEN',
      'GITLAB_TOKEN',
      'GNUPGHOME',
      'GOOGLE_APPLICATION_CREDENTIALS',
      'HF_TOKEN',
      'KRB5CCNAME',
      'KUBECONFIG',
      'NPM_TOKEN',
      'OPENAI_*',
      'SUDO_*',
      'VAULT_*',
      'X509_USER_*',
    ],
  },
  {
    why: 'another launcher’s or the scheduler’s word on the job, which would mislead the MPI library',
    names: [
      'COBALT_*',
      'ENVIRONMENT',
      'FLUX_*',
      'HYDI_*',
      'HYDRA_*',
      'JOB_ID',
      'JSM_*',
      'LEET_*',
      'LSB_*',
      'LSF_*',
      'LS_*',
      'MPIEXEC_*',
      'MPI_LOCALNRANKS',
      'MPI_LOCALRANKID',
      'OMPI_APP_CTX_*',
      'OMPI_ARGV',
      'OMPI_COMMAND',
      'OMPI_COMM_WORLD_*',
      'OMPI_FILE_LOCATION',
      'OMPI_FIRST_RANKS',
      'OMPI_MCA_ess*',
      'OMPI_MCA_initial_wdir',
      'OMPI_MCA_orte_*',
      'OMPI_MCA_pmix*',
      'OMPI_MCA_shmem_RUNTIME_*',
      'OMPI_NUM_APP_CTX',
      'OMPI_UNIVERSE_SIZE',
      'OMPI_WORLD_*',
      'OPAL_OUTPUT_STDERR_FD',
      'PALS_*',
      'PBS_*',
      'PE_HOSTFILE',
      'PMIX_*',
      'PMI_*',
      'PRTE_*',
      'SBATCH_*',
      'SGE_*',
      'SLURM_*',
      'SLURMD_*',
      'SRUN_*',
    ],
  },
  { why: 'the shell’s own', names: ['_', 'OLDPWD', 'PWD', 'SHLVL'] },
]

/** The user's variables that ranks get, and the ones left out with the reason. */
export interface ForwardedEnvironment {
  readonly variables: Readonly<Record<string, string>>
  readonly denied: readonly { readonly name: string; readonly why: string }[]
}

/** Sorts the user's environment by the deny-list. `inGuest` is false on the bare host. */
export function forwardEnvironment(environment: NodeJS.ProcessEnv, inGuest: boolean): ForwardedEnvironment {
  const variables: Record<string, string> = {}
  const denied: { name: string; why: string }[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined) continue
    const denial = DENY_LIST.find(
      (entry) => (inGuest || !entry.guestsOnly) && entry.names.some((word) => matches(word, name)),
    )
    if (denial) denied.push({ name, why: denial.why })
    else variables[name] = value
  }
  return { variables, denied }
}

/**
 * Values of `-x NAME[=VALUE]` words; a bare NAME is looked up, and left out when unset as mpirun does; `NAME*` is all
 * variables whose names begin so.
 */
export function exportedVariables(
  words: readonly string[],
  environment: NodeJS.ProcessEnv,
): Record<string, string> {
  const variables: Record<string, string> = {}
  for (const word of words) {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    if (equals < 0 && name.endsWith('*')) {
      for (const [known, value] of Object.entries(environment)) {
        if (value !== undefined && matches(name, known)) variables[known] = value
      }
      continue
    }
    const value = equals < 0 ? environment[name] : word.slice(equals + 1)
    if (value !== undefined) variables[name] = value
  }
  return variables
}

/**
 * What the stock launchers tell a rank of its place, for scripts that read it: mpirun's OMPI_COMM_WORLD_* and Hydra's
 * PMI_RANK and MPI_LOCALRANKID. A program that is not seen to use MPI may be a script that starts one, and gets both.
 */
export function placeVariables(
  mpi: 'openmpi' | 'mpich' | 'none',
  place: {
    readonly rank: number
    readonly size: number
    readonly guest: readonly number[]
    /** As many ranks as there may ever be; `size` unless told. */
    readonly universe?: number | undefined
  },
): Record<string, string> {
  const { rank, size, guest, universe = size } = place
  const local = String(guest.indexOf(rank))
  const openmpi = {
    OMPI_COMM_WORLD_RANK: String(rank),
    OMPI_COMM_WORLD_SIZE: String(size),
    OMPI_COMM_WORLD_LOCAL_RANK: local,
    OMPI_COMM_WORLD_LOCAL_SIZE: String(guest.length),
    OMPI_COMM_WORLD_NODE_RANK: local,
    OMPI_UNIVERSE_SIZE: String(universe),
  }
  // MPICH's library believes PMI_PORT and PMI_ID alone, so that these are for people and scripts.
  const hydra = {
    PMI_RANK: String(rank),
    PMI_SIZE: String(size),
    MPI_LOCALRANKID: local,
    MPI_LOCALNRANKS: String(guest.length),
  }
  return { ...(mpi === 'mpich' ? {} : openmpi), ...(mpi === 'openmpi' ? {} : hydra) }
}

/** Where a rank runs, as far as its MPI library must know. */
export interface RankSurroundings {
  /** Interface and subnet that join the guests; undefined when there is one guest or none. */
  readonly segment?: { readonly interfaceName: string; readonly cidr: string; readonly address: string }
  readonly inGuest: boolean
  /** Whether all ranks of the job are on one machine, or in one guest. */
  readonly together: boolean
  /** Whether there may be a fabric or an accelerator: where there is none, MPI libraries need not search for it. */
  readonly devices: boolean
  /** Whether there are more ranks than processors for them. */
  readonly oversubscribed: boolean
}

interface MpiSetting {
  /** undefined: whichever. */
  readonly mpi?: 'openmpi' | 'mpich'
  readonly name: string
  /** undefined: not set in these surroundings. */
  readonly value: (where: RankSurroundings) => string | undefined
  readonly why: string
}

const inGuests = (value: string) => (where: RankSurroundings) => (where.inGuest ? value : undefined)
const onSegment =
  (value: (segment: NonNullable<RankSurroundings['segment']>) => string) => (where: RankSurroundings) =>
    where.segment ? value(where.segment) : undefined

/** What each MPI needs in a guest, and what spares it work anywhere. The user's own setting of the same variable wins. */
const MPI_SETTINGS: readonly MpiSetting[] = [
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_pml',
    value: ({ devices }) => (devices ? undefined : 'ob1'),
    why: 'there is no fabric: no rank need load and try the libraries of every kind',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_btl',
    value: inGuests('^openib,uct,ofi,usnic'),
    why: 'TCP between guests, shared memory inside one',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_btl_tcp_if_include',
    value: onSegment((s) => s.cidr),
    why: 'the control NIC is not for MPI',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_osc',
    value: inGuests('^ucx'),
    why: 'Debian’s file excludes pt2pt: windows over TCP need it',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_opal_warn_on_missing_libcuda',
    value: inGuests('0'),
    why: 'nothing to warn of in a guest',
  },
  {
    mpi: 'openmpi',
    name: 'OMPI_MCA_mpi_yield_when_idle',
    value: ({ oversubscribed }) => (oversubscribed ? '1' : undefined),
    why: 'ranks that wait leave the processor to those that work, as mpirun has it',
  },
  {
    mpi: 'mpich',
    name: 'MPIR_CVAR_CH3_INTERFACE_HOSTNAME',
    value: onSegment((s) => s.address),
    why: 'ch3 asks the resolver otherwise',
  },
  {
    mpi: 'mpich',
    name: 'MPICH_INTERFACE_HOSTNAME',
    value: onSegment((s) => s.address),
    why: 'the same in MPICH before 3.0',
  },
  {
    mpi: 'mpich',
    name: 'UCX_NET_DEVICES',
    value: onSegment((s) => s.interfaceName),
    why: 'UCX would try loopback and the control NIC',
  },
  {
    mpi: 'mpich',
    name: 'UCX_TLS',
    value: ({ inGuest, together, devices }) =>
      together && !devices ? 'sysv,cma,self' : inGuest ? 'tcp,sysv,cma,self' : undefined,
    why: 'ranks of one guest share memory, and TCP leads to the others: UCX tells them apart by the kernel’s boot_id; where all are on one machine, or in one guest, it would look at all network interfaces, twice; and it would open every kind of memory',
  },
  { mpi: 'mpich', name: 'FI_PROVIDER', value: inGuests('tcp'), why: 'ch4:ofi: no fabric in a guest' },
  {
    mpi: 'mpich',
    name: 'FI_TCP_IFACE',
    value: onSegment((s) => s.interfaceName),
    why: 'ch4:ofi: the control NIC is not for MPI',
  },
  // With hwloc each rank describes the machine to itself. The kernel says all that MPI needs of processors and memory.
  {
    name: 'HWLOC_COMPONENTS',
    value: ({ devices }) => (devices ? '-gl,-opencl,-x86' : '-gl,-opencl,-x86,-pci,-linuxio'),
    why: 'each rank would ask X servers, visit every processor and read all PCI slots, which takes long in a machine that is virtual',
  },
  {
    name: 'HWLOC_PLUGINS_BLACKLIST',
    value: ({ devices }) =>
      `hwloc_gl.so,hwloc_opencl.so,hwloc_xml_libxml.so${devices ? '' : ',hwloc_pci.so'}`,
    why: 'plug-ins are loaded, with the libraries that they need, even if they are not used',
  },
]

/** One variable set for an MPI library, and why. */
export interface ExplainedVariable {
  readonly name: string
  readonly value: string
  readonly why: string
}

/**
 * What the table says for this MPI and these surroundings. A program that is not seen to use MPI may be a script that does
 * by a module, or starts one: it gets what either MPI needs.
 */
export function mpiSettings(mpi: 'openmpi' | 'mpich' | 'none', where: RankSurroundings): ExplainedVariable[] {
  const own = MPI_SETTINGS.filter((setting) => mpi === 'none' || (setting.mpi ?? mpi) === mpi)
  return own.flatMap(({ name, value, why }) => {
    const text = value(where)
    return text === undefined ? [] : [{ name, value: text, why }]
  })
}

function matches(word: string, name: string): boolean {
  return word.endsWith('*') ? name.startsWith(word.slice(0, -1)) : name === word
}
