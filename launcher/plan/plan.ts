// The plan of a job: every decision made before anything is started. A plain value: printed by --dry-run, tested
// without a machine, sent to the node agents. It holds no secret.
import { usageError } from '../../common/index.ts'
import { mapRanks } from '../../mpi-bridge/index.ts'
import type { GuestKind, Settings } from '../cli/settings.ts'
import type { MountPlanner, PlanMount } from './mounts.ts'

/** Which MPI a program was linked with. */
export type MpiFlavour = 'openmpi' | 'mpich' | 'none'

/** A node of the allocation, as far as a plan needs it. */
export interface PlanNode {
  readonly name: string
  readonly slots: number
  /** Processors and bytes of memory that the job may use there. */
  readonly cpus: number
  readonly memory: number
}

/** A program of the job with what was found out about it. */
export interface PlanProgram {
  /** Absolute path of the executable, then its arguments. */
  readonly argv: readonly [string, ...string[]]
  readonly ranks: number
  readonly workDir: string
  readonly exports: readonly string[]
  readonly mpi: MpiFlavour
  /** Version and device of the MPI library, where it tells: `4.0.2`, `ch4:ucx`. */
  readonly mpiVersion?: string
  readonly mpiDevice?: string
}

/** One guest to boot; on the bare host, one group of ranks of a node. */
export interface GuestPlan {
  readonly index: number
  /** Host name. */
  readonly name: string
  /** Index of its node. */
  readonly node: number
  readonly cpus: number
  /** Bytes. */
  readonly memory: number
  readonly ranks: readonly number[]
}

/** How guests are joined (none on the bare host). */
export interface NetworkPlan {
  readonly mode: 'none' | 'user' | 'local' | 'bridge'
  /** Name of the bridge on every node, in mode `bridge`. */
  readonly bridge?: string
  /** `10.77.0.0/16` */
  readonly subnet: string
}

/** Everything decided about a job. */
export interface JobPlan {
  /** Public name of the job, unique on this machine; not the secret that PMI uses. */
  readonly jobId: string
  readonly guestKind: GuestKind
  readonly scheduler: string
  readonly nodes: readonly PlanNode[]
  readonly guests: readonly GuestPlan[]
  readonly programs: readonly PlanProgram[]
  readonly size: number
  readonly network: NetworkPlan
  /** What all guests mount; none on the bare host. */
  readonly mounts: readonly PlanMount[]
  /** Let ranks of MPICH 4.0 over UCX go that hang in MPI_Finalize. */
  readonly finalizeRescue: boolean
  readonly user: {
    readonly name: string
    readonly uid: number
    readonly group: string
    readonly gid: number
    /** Ids of all his groups: servers of files go by them. */
    readonly groups: readonly number[]
    readonly home: string
    readonly shell: string
  }
  /** Milliseconds. */
  readonly limits: { readonly boot: number; readonly run: number | undefined }
}

/** What `planJob` needs to know besides the settings. */
export interface PlanFacts {
  readonly jobId: string
  readonly scheduler: string
  readonly nodes: readonly [PlanNode, ...PlanNode[]]
  readonly programs: readonly Omit<PlanProgram, 'ranks'>[]
  readonly user: JobPlan['user']
  /** Not asked on the bare host. */
  readonly planMounts: MountPlanner
}

/** Decides. Refuses, with a usage error, what cannot be. */
export function planJob(settings: Settings, facts: PlanFacts): JobPlan {
  const programs = countRanks(settings, facts)
  const size = programs.reduce((sum, program) => sum + program.ranks, 0)
  const planned =
    settings.guest.kind === 'host' ? planHost(settings, facts, size) : planGuests(settings, facts, size)
  const { nodes, guests } = onlyUsedNodes(facts.nodes, planned)
  return {
    jobId: facts.jobId,
    guestKind: settings.guest.kind,
    scheduler: facts.scheduler,
    nodes,
    guests,
    programs,
    size,
    network: planNetwork(settings, guests),
    mounts:
      settings.guest.kind === 'host'
        ? []
        : facts.planMounts({
            ...settings.mounts,
            workDirs: programs.map(({ workDir }) => workDir),
            user: facts.user,
            nodes: nodes.map(({ name }) => name),
          }),
    finalizeRescue: settings.finalizeRescue && guests.length > 1 && programs.some(hangsInFinalize),
    user: facts.user,
    limits: { boot: settings.guest.bootTimeout, run: settings.timeout },
  }
}

/** The program that a rank runs, and its number. */
export function programOf(
  plan: Pick<JobPlan, 'programs'>,
  rank: number,
): { program: PlanProgram; index: number } {
  let first = 0
  for (const [index, program] of plan.programs.entries()) {
    if (rank < first + program.ranks) return { program, index }
    first += program.ranks
  }
  throw new RangeError(`rank ${rank} is in no program`)
}

// A node without ranks needs no agent.
function onlyUsedNodes(
  nodes: readonly PlanNode[],
  guests: readonly GuestPlan[],
): { nodes: PlanNode[]; guests: GuestPlan[] } {
  const used = [...new Set(guests.map(({ node }) => node))].sort((a, b) => a - b)
  return {
    nodes: used.map((node) => nodes[node] as PlanNode),
    guests: guests.map((guest) => ({ ...guest, node: used.indexOf(guest.node) })),
  }
}

function planNetwork({ guest, network }: Settings, guests: readonly GuestPlan[]): NetworkPlan {
  const { subnet, bridge, mode } = network
  if (guest.kind === 'host') return { mode: 'none', subnet }
  if (mode === 'bridge') return { mode, bridge: bridge as string, subnet }
  if (new Set(guests.map(({ node }) => node)).size > 1) {
    throw usageError(
      'guests on several nodes need a network that joins them',
      '--network bridge=NAME with a bridge that the site made on every node, or fewer ranks so that one node is enough',
      '--network',
    )
  }
  if (mode === 'user' && guests.length > 1) {
    throw usageError('QEMU’s user networking does not join guests', '--network local', '--network')
  }
  return { mode: mode === 'auto' ? (guests.length > 1 ? 'local' : 'user') : mode, subnet }
}

// MPICH 4.0 with ch4:ucx closes its UCX endpoints before the last fence and may wait for ever; 4.1 has mended it.
function hangsInFinalize({ mpi, mpiVersion, mpiDevice }: PlanProgram): boolean {
  return mpi === 'mpich' && (mpiVersion?.startsWith('4.0') ?? false) && (mpiDevice?.includes('ucx') ?? false)
}

function countRanks(settings: Settings, facts: PlanFacts): PlanProgram[] {
  const slots = facts.nodes.reduce((sum, node) => sum + node.slots, 0)
  return facts.programs.map((program, index) => ({
    ...program,
    ranks: settings.programs[index]?.ranks ?? defaultRanks(settings, slots),
  }))
}

function defaultRanks({ ppn, guest }: Settings, slots: number): number {
  return ppn !== undefined && guest.count !== undefined ? ppn * guest.count : slots
}

// On the bare host a node is its own guest.
function planHost(settings: Settings, facts: PlanFacts, size: number): GuestPlan[] {
  if (settings.guest.count !== undefined && settings.guest.count !== facts.nodes.length) {
    throw usageError('there are no guests to count on the bare host', 'leave --guests out', '--guests')
  }
  const ranks = mapRanks({
    ranks: size,
    slots: facts.nodes.map((node) => node.slots),
    ...(facts.nodes.length > 1 && settings.ppn !== undefined ? { ppn: settings.ppn } : {}),
    spread: false,
  })
  return facts.nodes.flatMap((node, index) =>
    (ranks[index] as number[]).length === 0
      ? []
      : [
          {
            index,
            name: node.name,
            node: index,
            cpus: node.cpus,
            memory: node.memory,
            ranks: ranks[index] as number[],
          },
        ],
  )
}

function planGuests(settings: Settings, facts: PlanFacts, size: number): GuestPlan[] {
  const { ppn, guest } = settings
  const count = guest.count ?? (ppn === undefined ? facts.nodes.length : Math.ceil(size / ppn))
  if (count > size) {
    throw usageError(
      `${count} guests for ${size} rank${size === 1 ? '' : 's'}: some would have nothing to do`,
      `--guests ${size}`,
      '--guests',
    )
  }
  const nodeOf = (index: number) => Math.floor((index * facts.nodes.length) / count)
  const perNode = facts.nodes.map(
    (_, node) => Array.from({ length: count }, (_, g) => g).filter((g) => nodeOf(g) === node).length,
  )
  const ranks = mapRanks({
    ranks: size,
    slots: Array.from({ length: count }, (_, index) =>
      share((facts.nodes[nodeOf(index)] as PlanNode).slots, perNode[nodeOf(index)] as number),
    ),
    ...(ppn === undefined ? {} : { ppn }),
    spread: guest.count !== undefined,
  })
  const used = ranks
    .map((list, index) => ({ list, node: nodeOf(index) }))
    .filter(({ list }) => list.length > 0)
  return used.map(({ list, node }, index) => {
    const host = facts.nodes[node] as PlanNode
    const neighbours = used.filter((other) => other.node === node).length
    const memory = guest.memory ?? Math.floor((host.memory * MEMORY_SHARE) / neighbours / MIB) * MIB
    if (memory < LEAST_MEMORY) {
      throw usageError(
        `${neighbours} guests on ${host.name} would have ${Math.floor(memory / MIB)} MiB each`,
        'fewer guests, or --guest-memory',
        '--guest-memory',
      )
    }
    if (memory * neighbours > host.memory) {
      throw usageError(
        `${neighbours} guests of ${Math.floor(memory / MIB)} MiB on ${host.name} are more than its ${Math.floor(host.memory / MIB)} MiB`,
        `--guest-memory ${Math.floor((host.memory * MEMORY_SHARE) / neighbours / MIB)}M`,
        '--guest-memory',
      )
    }
    return {
      index,
      name: `leet-${facts.jobId}-g${index}`,
      node,
      cpus: guest.cpus ?? Math.max(share(host.cpus, neighbours), Math.min(list.length, host.cpus)),
      memory,
      ranks: list,
    }
  })
}

const MIB = 2 ** 20
const LEAST_MEMORY = 128 * MIB
// The rest is for QEMU itself, the helpers and the node's page cache.
const MEMORY_SHARE = 0.8

function share(whole: number, parts: number): number {
  return Math.max(1, Math.floor(whole / parts))
}
