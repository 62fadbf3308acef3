// The plan of a job: every decision made before anything is started. A plain value: printed by --dry-run, tested
// without a machine, sent to the node agents. It holds no secret.
import { EXIT_USAGE, LeetError, usageError } from '../../common/index.ts'
import {
  type BindingWish,
  MAX_STARTS,
  type MapBy,
  type MappingNode,
  mapRanks,
  placeRanks,
  type RankPlace,
} from '../../mpi-bridge/index.ts'
import type { ProgramFacts } from '../images/inspect.ts'
import { privateSubnet } from '../networks/addresses.ts'
import { HYPERVISOR } from './job-memory.ts'
import { type MountPlanner, type PlanMount, workDirWay } from './mounts.ts'
import type { EnvironmentEdit, GuestKind, Hypervisor, Pinning, Settings, StdinChoice } from './settings.ts'

/** Which MPI a program was linked with. */
export type MpiFlavour = 'openmpi' | 'mpich' | 'none'

/** A node of the allocation, as far as a plan needs it. */
export interface PlanNode {
  readonly name: string
  readonly slots: number
  /** Never more ranks than so many, as a hostfile says. */
  readonly maxSlots?: number
  /** Processors and bytes of memory that the job may use there. */
  readonly cpus: number
  readonly memory: number
  /** Packages (sockets) with processors that the job may use; one unless told. */
  readonly packages?: number
}

/** A program of the job with what was found out about it. */
export interface PlanProgram {
  /** Absolute path of the executable, then its arguments. */
  readonly argv: readonly [string, ...string[]]
  readonly ranks: number
  readonly workDir: string
  readonly exports: readonly string[]
  /** false: its ranks get none of the user's own variables but those of `exports`. */
  readonly inherits: boolean
  readonly mpi: MpiFlavour
  /** Version and device of the MPI library, where it tells: `4.0.2`, `ch4:ucx`. */
  readonly mpiVersion?: string
  readonly mpiDevice?: string
  /** Its library whose threads may write files at once, such as `libgomp.so.1`. */
  readonly threads?: string
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
  readonly mode: 'none' | 'user' | 'local' | 'mesh' | 'bridge'
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
  readonly hypervisor: Hypervisor
  readonly pinning: Pinning
  readonly scheduler: string
  readonly nodes: readonly PlanNode[]
  readonly guests: readonly GuestPlan[]
  readonly programs: readonly PlanProgram[]
  readonly size: number
  /** What ranks are bound to, inside their guests; undefined: nobody asked. */
  readonly binding?: BindingWish
  /** Who reads the user's standard input. */
  readonly stdin: StdinChoice
  readonly environmentEdits: readonly EnvironmentEdit[]
  /** MPI_UNIVERSE_SIZE, where it was told. */
  readonly universe?: number
  readonly network: NetworkPlan
  /** The session of `leet up` whose guests the job uses; undefined when it boots its own. */
  readonly session?: SessionUse
  /** What all guests mount; none on the bare host. */
  readonly mounts: readonly PlanMount[]
  /** Where some nodes have not the user's working directories: then their guests use copies. */
  readonly mirrored?: MirrorPlan
  /** What is carried into guests and back. */
  readonly staging: Settings['staging']
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
  /** Nodes directly under the controller, and under each node, in the tree along which fence data goes. */
  readonly treeWidth: number
  /** Times are in milliseconds. */
  readonly limits: {
    readonly boot: number
    readonly run: number | undefined
    /** How long a guest may be without progress while it boots: of processor time, or idle. */
    readonly patience: number
    /** How often a guest that hangs is booted again. */
    readonly retries: number
    /** How long controller and agents may hear nothing of each other while their hosts answer. */
    readonly silence: number
  }
}

/** Directories that nodes are given copies of. */
export interface MirrorPlan {
  readonly directories: readonly string[]
  /** Index of the node whose directories they are, if it is one of the job's. */
  readonly except?: number
}

/** What a job takes for granted of the guests that a session keeps. */
export interface SessionUse {
  /** Public name of the session. */
  readonly id: string
  /** What guests must have besides their mounts: programs and libraries. */
  readonly needs: readonly { readonly path: string; readonly size: number }[]
}

/** Guests that are there already, instead of those that a plan would boot. */
export interface SessionFacts {
  readonly use: SessionUse
  /** `ranks` of each are those that it was made for: its slots. Their nodes are those of the facts. */
  readonly guests: readonly GuestPlan[]
  readonly network: NetworkPlan
  readonly mounts: readonly PlanMount[]
}

/** A program of the command line, looked at. */
export interface InspectedProgram {
  readonly facts: ProgramFacts
  readonly plan: PlanFacts['programs'][number]
}

/** What `planJob` needs to know besides the settings. */
export interface PlanFacts {
  readonly jobId: string
  readonly scheduler: string
  readonly nodes: readonly [PlanNode, ...PlanNode[]]
  readonly programs: readonly Omit<PlanProgram, 'ranks'>[]
  readonly user: JobPlan['user']
  /** IPv4 networks that this node is in, with its address: `192.168.1.7/24`. */
  readonly networks?: readonly string[]
  /** Where each rank goes, when a rankfile or the order of hosts says so. */
  readonly places?: readonly RankPlace[]
  /** Not asked on the bare host, nor in a session. */
  readonly planMounts: MountPlanner
  readonly session?: SessionFacts
}

/** Decides. Refuses, with a usage error, what cannot be. */
export function planJob(settings: Settings, facts: PlanFacts): JobPlan {
  const programs = countRanks(settings, facts)
  const size = programs.reduce((sum, program) => sum + program.ranks, 0)
  checkRank(settings.outputFrom, size, '--output-from')
  const { session } = facts
  const planned = session
    ? placeInSession(settings, facts, session, programs)
    : settings.guest.kind === 'host'
      ? planHost(settings, facts, programs)
      : planGuests(settings, facts, programs)
  const { nodes, guests } = onlyUsedNodes(facts.nodes, planned)
  return {
    jobId: facts.jobId,
    guestKind: settings.guest.kind,
    hypervisor: settings.guest.hypervisor,
    pinning: settings.guest.pinning,
    scheduler: facts.scheduler,
    nodes,
    guests,
    programs,
    size,
    ...planBinding(settings, facts),
    stdin: checkRank(settings.stdin, size, '--stdin'),
    environmentEdits: settings.environmentEdits,
    ...universeOf(settings, facts),
    network: session?.network ?? planNetwork(settings, facts, guests),
    ...(session ? { session: session.use } : {}),
    ...(session ? { mounts: session.mounts } : mountsOf(settings, facts, programs, { nodes, guests })),
    staging: settings.staging,
    finalizeRescue: settings.finalizeRescue && guests.length > 1 && programs.some(hangsInFinalize),
    user: facts.user,
    treeWidth: settings.treeWidth,
    limits: {
      boot: settings.guest.bootTimeout,
      run: settings.timeout,
      patience: settings.guest.bootPatience,
      retries: settings.guest.bootRetries,
      silence: settings.controllerTimeout,
    },
  }
}

function mountsOf(
  { guest, mounts: wishes, staging, reuseGuests }: Settings,
  { planMounts, user }: PlanFacts,
  programs: readonly PlanProgram[],
  { nodes, guests }: Pick<JobPlan, 'nodes' | 'guests'>,
): Pick<JobPlan, 'mounts' | 'mirrored'> {
  if (guest.kind === 'host') return { mounts: [] }
  const workDirs = programs.map(({ workDir }) => workDir)
  const nodeNames = nodes.map(({ name }) => name)
  const stage = staging.when
  const request = { ...wishes, stage, client: guest.kind, workDirs, user, nodes: nodeNames }
  const mounts = planMounts(request)
  const mirrored = mirrorOf(mounts, nodeNames)
  if (guest.kind === 'linux') return { ...mirrored, mounts }
  // Used from a program with a name space of its own NFS aborts an OSv guest, and without one there can be one program a boot.
  if (reuseGuests || guests.some(({ ranks }) => ranks.length > 1)) {
    const asked = wishes.wishes.find(({ source }) => source === 'command line')
    if (!asked) return { ...mirrored, mounts: [] }
    throw usageError(
      `${asked.text} could not be used: in OSv NFS is for the only program of a guest`,
      reuseGuests
        ? 'guests of one job, without --reuse-guests'
        : 'a guest for each rank, with -ppn 1 or --guests',
      asked.where,
    )
  }
  // What is carried has its own path: a mount would hide it.
  const isCarried = guests.some((one) => workDirWay({ mounts, programs, staging }, one) === 'carried')
  return { ...mirrored, mounts: isCarried ? planMounts({ ...request, onlyAsked: true }) : mounts }
}

function mirrorOf(mounts: readonly PlanMount[], nodes: readonly string[]): Pick<JobPlan, 'mirrored'> {
  const own = mounts.flatMap((mount) => (mount.kind === 'share' && mount.mirrored ? [mount] : []))
  if (own.length === 0) return {}
  const name = own.map(({ mirrored }) => mirrored?.except).find((one) => one !== undefined)
  const except = name === undefined ? -1 : nodes.indexOf(name)
  const directories = own.map(({ path }) => path)
  return { mirrored: { directories, ...(except < 0 ? {} : { except }) } }
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

function planBinding({ placement: { binding } }: Settings, { places }: PlanFacts): Pick<JobPlan, 'binding'> {
  const slots = (places ?? []).flatMap(({ slots: own }, rank) =>
    own === undefined ? [] : [[rank, own] as const],
  )
  if (slots.length === 0) return binding ? { binding } : {}
  return {
    binding: { to: 'none', count: 1, overload: false, ...binding, slots: Object.fromEntries(slots) },
  }
}

function checkRank<T>(rank: T, size: number, where: string): T {
  if (typeof rank === 'number' && rank >= size) throw usageError(`there is no rank ${rank}`, undefined, where)
  return rank
}

function universeOf({ universe }: Settings, { nodes }: PlanFacts): Pick<JobPlan, 'universe'> {
  if (universe === undefined) return {}
  return { universe: universe === 'system' ? nodes.reduce((sum, { slots }) => sum + slots, 0) : universe }
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

function planNetwork(
  { guest, network }: Settings,
  { networks = [] }: PlanFacts,
  guests: readonly GuestPlan[],
): NetworkPlan {
  const { bridge, mode } = network
  if (guest.kind === 'host') return { mode: 'none', subnet: network.subnet }
  if (mode === 'bridge') return { mode, bridge: bridge as string, subnet: network.subnet }
  const subnet = privateSubnet(network.subnet, networks)
  if (new Set(guests.map(({ node }) => node)).size > 1) {
    if (mode === 'auto' || mode === 'mesh') return { mode: 'mesh', subnet }
    throw usageError(
      `guests on several nodes need a network that joins them, which ${mode} does not`,
      '--network bridge=NAME with a bridge that the site made on every node, or --network mesh, which needs nothing and is slower',
      '--network',
    )
  }
  if (mode === 'user' && guests.length > 1) {
    throw usageError('QEMU’s user networking does not join guests', '--network local', '--network')
  }
  const found = guests.length > 1 ? 'local' : 'user'
  return { mode: mode === 'auto' || mode === 'mesh' ? found : mode, subnet }
}

// MPICH 4.0 with ch4:ucx closes its UCX endpoints before the last fence and may wait for ever; 4.1 has mended it.
function hangsInFinalize({ mpi, mpiVersion, mpiDevice }: PlanProgram): boolean {
  return mpi === 'mpich' && (mpiVersion?.startsWith('4.0') ?? false) && (mpiDevice?.includes('ucx') ?? false)
}

function countRanks(settings: Settings, facts: PlanFacts): PlanProgram[] {
  return facts.programs.map((program, index) => ({
    ...program,
    ranks: settings.programs[index]?.ranks ?? defaultRanks(settings, facts),
  }))
}

function defaultRanks({ ppn, guest, placement: { mapBy } }: Settings, facts: PlanFacts): number {
  const slots = facts.session
    ? facts.session.guests.reduce((sum, { ranks }) => sum + ranks.length, 0)
    : facts.nodes.reduce((sum, node) => sum + node.slots, 0)
  if (mapBy?.perResource !== undefined && mapBy.by !== undefined) {
    return facts.nodes.reduce(
      (sum, node) => sum + (mapBy.perResource as number) * resourcesOf(node, mapBy),
      0,
    )
  }
  if (facts.places) return facts.places.length
  return ppn !== undefined && guest.count !== undefined ? ppn * guest.count : slots
}

/** How many a node, or a guest of so many processors, has of what ranks are mapped by; guests have one package. */
function resourcesOf({ cpus, packages }: { cpus: number; packages?: number }, { by }: MapBy): number {
  if (by === 'hwthread' || by === 'core' || by === 'l1cache' || by === 'l2cache') return cpus
  return by === 'package' || by === 'numa' || by === 'l3cache' ? (packages ?? 1) : 1
}

// On the bare host a node is its own guest.
function planHost(settings: Settings, facts: PlanFacts, programs: readonly PlanProgram[]): GuestPlan[] {
  const { mapBy, rankBy } = settings.placement
  // On one node -ppn says nothing, as for mpiexec.hydra.
  const perNode: MapBy | undefined =
    settings.ppn !== undefined && facts.nodes.length > 1
      ? { ...mapBy, by: 'node', perResource: settings.ppn }
      : mapBy
  const ranks =
    placed(
      facts,
      programs,
      facts.nodes.map(({ name }) => [name]),
    ) ??
    mapRanks({
      programs: programs.map((program) => program.ranks),
      nodes: facts.nodes.map((node) => mappingNode(node, perNode)),
      ...(perNode ? { mapBy: perNode } : {}),
      ...(rankBy ? { rankBy } : {}),
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

// Guests are known by the names of their nodes; guests of one node only by their numbers.
function placed(
  { places }: PlanFacts,
  programs: readonly PlanProgram[],
  names: readonly (readonly string[])[],
): number[][] | undefined {
  const ranks = programs.reduce((sum, program) => sum + program.ranks, 0)
  return places && placeRanks(places, ranks, names, '--map-by')
}

function mappingNode(
  { slots, maxSlots, cpus, packages }: Pick<PlanNode, 'slots' | 'maxSlots' | 'cpus' | 'packages'>,
  mapBy: MapBy | undefined,
): MappingNode {
  return {
    slots,
    cpus,
    ...(maxSlots === undefined ? {} : { maxSlots }),
    ...(mapBy ? { resources: resourcesOf({ cpus, ...(packages ? { packages } : {}) }, mapBy) } : {}),
  }
}

function planGuests(settings: Settings, facts: PlanFacts, programs: readonly PlanProgram[]): GuestPlan[] {
  const { guest, placement } = settings
  const size = programs.reduce((sum, program) => sum + program.ranks, 0)
  const mapBy = guestMapBy(settings)
  const perGuest = mapBy?.by === 'node' ? mapBy.perResource : undefined
  const count = guest.count ?? (perGuest === undefined ? facts.nodes.length : Math.ceil(size / perGuest))
  // Without a word about guests there is one on each node, as far as there are ranks.
  if (guest.count !== undefined && count > size) {
    throw usageError(
      `${count} guests for ${size} rank${size === 1 ? '' : 's'}: some would have nothing to do`,
      `--guests ${size}`,
      '--guests',
    )
  }
  const nodeOf = (index: number) => Math.floor((index * facts.nodes.length) / count)
  const guestsOf = (node: number) =>
    Array.from({ length: count }, (_, index) => index).filter((index) => nodeOf(index) === node)
  const names = Array.from({ length: count }, (_, index) => [(facts.nodes[nodeOf(index)] as PlanNode).name])
  const ranks =
    placed(facts, programs, names) ??
    mapRanks({
      programs: programs.map((program) => program.ranks),
      nodes: Array.from({ length: count }, (_, index) => {
        const { slots, maxSlots, cpus } = facts.nodes[nodeOf(index)] as PlanNode
        const own = guestsOf(nodeOf(index))
        const part = (whole: number) => shareOf(whole, own.length, own.indexOf(index))
        return mappingNode(
          {
            slots: part(slots),
            cpus: guest.cpus ?? part(cpus),
            ...(maxSlots === undefined ? {} : { maxSlots: part(maxSlots) }),
          },
          mapBy,
        )
      }),
      ...(mapBy ? { mapBy } : {}),
      ...(placement.rankBy ? { rankBy: placement.rankBy } : {}),
    })
  const used = ranks
    .map((list, index) => ({ list, node: nodeOf(index) }))
    .filter(({ list }) => list.length > 0)
  return used.map(({ list, node }, index) => {
    const host = facts.nodes[node] as PlanNode
    const neighbours = used.filter((other) => other.node === node).length
    const fair = memoryShare(host.memory, neighbours, facts.nodes.length)
    const memory = guest.memory ?? fair
    if (memory < LEAST_MEMORY) {
      throw usageError(
        `${neighbours} guests on ${host.name} would have ${Math.floor(memory / MIB)} MiB each`,
        'fewer guests, or --guest-memory',
        '--guest-memory',
      )
    }
    if (memory * neighbours > host.memory) {
      throw new LeetError({
        code: 'LEET_E_MEMORY',
        where: '--guest-memory',
        what: `${neighbours} guest${neighbours === 1 ? '' : 's'} of ${Math.floor(memory / MIB)} MiB on ${host.name} are more than its ${Math.floor(host.memory / MIB)} MiB`,
        hint: fair < LEAST_MEMORY ? 'a job with more memory' : `--guest-memory ${fair / MIB}M`,
        exitCode: EXIT_USAGE,
      })
    }
    if (guest.kind === 'osv' && list.length > MAX_STARTS) {
      throw new LeetError({
        code: 'LEET_E_OSV_STARTS',
        where: '--guests',
        what: `${list.length} ranks in a guest: OSv starts at most ${MAX_STARTS} programs between two boots`,
        hint: `--guests ${Math.ceil(size / MAX_STARTS)}, or more`,
        exitCode: EXIT_USAGE,
      })
    }
    // In OSv a rank that waits for another on the same processor waits for milliseconds.
    const wanted = guest.kind === 'osv' ? list.length : Math.min(list.length, host.cpus)
    return {
      index,
      name: `leet-${facts.jobId}-g${index}`,
      node,
      cpus: guest.cpus ?? Math.max(share(host.cpus, neighbours), wanted),
      memory,
      ranks: list,
    }
  })
}

// Guests count as nodes: so many ranks in each, and evenly over just so many guests.
function guestMapBy({ ppn, guest, placement: { mapBy } }: Settings): MapBy | undefined {
  if (ppn !== undefined) return { ...mapBy, by: 'node', perResource: ppn }
  return guest.count !== undefined && mapBy?.by === undefined
    ? { ...mapBy, by: undefined, span: true }
    : mapBy
}

// Ranks fill the guests that are there as they would fill nodes; guests without any are not of the job.
function placeInSession(
  settings: Settings,
  facts: PlanFacts,
  session: SessionFacts,
  programs: readonly PlanProgram[],
): GuestPlan[] {
  const { guest, placement } = settings
  const count = guest.count ?? session.guests.length
  if (count > session.guests.length) {
    throw usageError(
      `the session ${session.use.id} has ${session.guests.length} guests, not ${count}`,
      '--session none, to boot others',
      '--guests',
    )
  }
  const guests = session.guests.slice(0, count)
  const mapBy = guestMapBy(settings)
  const names = guests.map(({ name, node }) => [name, facts.nodes[node]?.name ?? ''])
  const ranks =
    placed(facts, programs, names) ??
    mapRanks({
      programs: programs.map((program) => program.ranks),
      nodes: guests.map(({ cpus, ranks: slots }) => mappingNode({ cpus, slots: slots.length }, mapBy)),
      ...(mapBy ? { mapBy } : {}),
      ...(placement.rankBy ? { rankBy: placement.rankBy } : {}),
    })
  const crowded = guest.kind === 'osv' && guests.find(({ cpus }, i) => (ranks[i]?.length ?? 0) > cpus)
  if (crowded) {
    throw usageError(
      `${crowded.name} has ${crowded.cpus} vCPU${crowded.cpus === 1 ? '' : 's'}, and in OSv a rank that waits for another on the same one waits for milliseconds`,
      'fewer ranks, more --guest-cpus for `leet up`, or --session none',
    )
  }
  return guests
    .map((one, index) => ({ ...one, ranks: ranks[index] as number[] }))
    .filter((one) => one.ranks.length > 0)
    .map((one, index) => ({ ...one, index }))
}

const MIB = 2 ** 20
const LEAST_MEMORY = 128 * MIB
// The rest is for QEMU itself, the helpers and the node's page cache.
const MEMORY_SHARE = 0.8
// What this process still comes to, and in a job of several nodes an agent and its starter: a small job has little left.
const OWN_MEMORY = 32 * MIB
const AGENT_MEMORY = 224 * MIB

/** Bytes for each of so many guests of a node, in whole MiB. */
function memoryShare(memory: number, guests: number, nodes: number): number {
  const own = OWN_MEMORY + (nodes > 1 ? AGENT_MEMORY : 0)
  const most = Math.min(memory * MEMORY_SHARE, memory - own - guests * HYPERVISOR)
  return Math.floor(most / guests / MIB) * MIB
}

/** The part of `whole` that the one at `index` of so many gets, at least 1; the first get what is left. */
function shareOf(whole: number, parts: number, index: number): number {
  return Math.max(1, Math.floor(whole / parts) + (index < whole % parts ? 1 : 0))
}

function share(whole: number, parts: number): number {
  return Math.max(1, Math.floor(whole / parts))
}
