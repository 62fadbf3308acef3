// Which nodes a job runs on: the scheduler's allocation, a hostfile and `-H` together, by the table in README.md.
import { isSystemError, LeetError, systemReason, usageError } from '../common/index.ts'
import {
  type AdapterInputs,
  type AllocatedNode,
  type Allocation,
  type Origin,
  SCHEDULERS,
  type SchedulerAdapter,
  type SchedulerName,
} from './adapter.ts'
import { flux } from './flux.ts'
import { gridengine } from './gridengine.ts'
import { sameHost } from './host-name.ts'
import { hostfile, local, type NamedHost, parseHostfile, parseHostOption } from './hosts.ts'
import { lsf } from './lsf.ts'
import { openpbs, torque } from './pbs.ts'
import { slurm } from './slurm.ts'

const ADAPTERS: Readonly<Record<SchedulerName, SchedulerAdapter>> = {
  flux,
  slurm,
  lsf,
  gridengine,
  torque,
  openpbs,
  hostfile,
  local,
}

/** The adapter of that name. */
export function adapterOf(name: SchedulerName): SchedulerAdapter {
  return ADAPTERS[name]
}

/** What decides on the nodes of a job. */
export interface AllocationRequest extends AdapterInputs {
  /** Path of `--hostfile`. */
  readonly hostfile?: string
  /** Text of `-H`, repetitions joined by commas. */
  readonly hosts?: string
  /** Takes this source of nodes without looking for another; `local` and `hostfile` leave a batch system aside. */
  readonly scheduler?: SchedulerName
}

/**
 * The nodes of the job and where every figure came from. Throws `LEET_E_SEVERAL_TASKS` when this process is one of
 * several that the scheduler started, `LEET_E_HOST_NOT_ALLOCATED` for a host outside the allocation,
 * `LEET_E_ALLOCATION` for an allocation that cannot be read, `LEET_E_USAGE` for malformed lists.
 */
export async function resolveAllocation(request: AllocationRequest): Promise<Allocation> {
  const { env, scheduler } = request
  if (scheduler === undefined) {
    for (const name of SCHEDULERS) {
      const refusal = ADAPTERS[name].refuseTask?.(env)
      if (refusal) throw refusal
    }
  }
  const files = await readHostfile(request)
  const hosts = request.hosts === undefined ? undefined : parseHostOption(request.hosts)
  if (hosts?.length === 0) throw usageError('no host is named', 'HOST[:SLOTS][,…]', '-H')

  const found = scheduler ?? SCHEDULERS.find((name) => ADAPTERS[name].detect(env))
  if (found === undefined || found === 'local' || found === 'hostfile') {
    return withoutScheduler(request, files, hosts)
  }
  const adapter = ADAPTERS[found]
  const variables = adapter.detect(env)
  if (variables === undefined) {
    throw usageError(
      `this is not a job of ${adapter.title}: its variables are not set`,
      undefined,
      '--scheduler',
    )
  }
  const others = SCHEDULERS.filter((name) => name !== found && ADAPTERS[name].detect(env))
  const given = await adapter.allocation(request)
  const allocation: Allocation = {
    ...given,
    origins: [
      { what: `${adapter.title} job ${given.jobId ?? 'without a number'}`, from: variables },
      ...others.map((name) => ({
        what: `${ADAPTERS[name].title} is left aside`,
        from: `${ADAPTERS[name].detect(env)}: ${adapter.title} comes first`,
      })),
      ...given.origins,
    ],
  }
  const byFile = files
    ? filter(allocation, files, `hostfile ${request.hostfile}`, request.hostname)
    : allocation
  return hosts ? filter(byFile, hosts, '-H', request.hostname) : byFile
}

async function readHostfile({
  hostfile: path,
  readFile,
}: AllocationRequest): Promise<NamedHost[] | undefined> {
  if (path === undefined) return undefined
  let text: string
  try {
    text = await readFile(path)
  } catch (cause) {
    throw new LeetError({
      code: 'LEET_E_USAGE',
      what: `${path} cannot be read`,
      where: '--hostfile',
      ...(isSystemError(cause) ? { why: systemReason(cause) } : {}),
      exitCode: 2,
      cause,
    })
  }
  const hosts = parseHostfile(text, path)
  if (hosts.length === 0) throw usageError(`${path} names no host`, undefined, '--hostfile')
  return hosts
}

async function withoutScheduler(
  request: AllocationRequest,
  files: NamedHost[] | undefined,
  hosts: NamedHost[] | undefined,
): Promise<Allocation> {
  const defining = files ?? hosts
  if (!defining) return local.allocation(request)
  const source = files ? `hostfile ${request.hostfile}` : '-H'
  const open = defining.filter(({ slots }) => slots === undefined)
  // Open MPI's rules: -H gives one slot, a hostfile without a count all CPUs of the node; those are not known from
  // here, and taken to be as many as here.
  const usual = files ? request.cpus : 1
  const base = await hostfile.allocation(request)
  const allocation: Allocation = {
    ...base,
    nodes: defining.map(({ name, slots, maxSlots, user }) => ({
      name: name === 'localhost' ? ownName(request.hostname) : name,
      slots: Math.min(slots ?? usual, maxSlots ?? Number.POSITIVE_INFINITY),
      ...(maxSlots !== undefined && { maxSlots }),
      ...(user !== undefined && { user }),
    })),
    origins: [
      { what: `${defining.length} nodes`, from: source },
      ...(open.length < defining.length ? [{ what: 'slots', from: `counts in ${source}` }] : []),
      ...(open.length > 0
        ? [
            {
              what: `${usual} slots of ${open
                .map(({ name }) => name)
                .slice(0, 3)
                .join(', ')}${open.length > 3 ? ', …' : ''}`,
              from: files ? 'no slots= given: as many as this host has CPUs' : 'no count given: one',
            },
          ]
        : []),
    ],
  }
  if (new Set(allocation.nodes.map(({ name }) => name)).size < allocation.nodes.length) {
    throw usageError('localhost and its own name stand for one host', 'name it once', source)
  }
  return files && hosts ? filter(allocation, hosts, '-H', request.hostname) : allocation
}

/** Leaves of an allocation what the user names, in the allocation's order; counts can lower slots, never raise them. */
function filter(
  allocation: Allocation,
  hosts: readonly NamedHost[],
  source: string,
  hostname: string,
): Allocation {
  const chosen = new Map<AllocatedNode, NamedHost>()
  for (const host of hosts) {
    const wanted = host.name === 'localhost' ? ownName(hostname) : host.name
    const exact = allocation.nodes.filter(({ name }) => name.toLowerCase() === wanted.toLowerCase())
    const matches = exact.length > 0 ? exact : allocation.nodes.filter(({ name }) => sameHost(name, wanted))
    const [node] = matches
    if (node === undefined || matches.length > 1) {
      const names = allocation.nodes.map(({ name }) => name)
      throw new LeetError({
        code: 'LEET_E_HOST_NOT_ALLOCATED',
        what: `${host.name} ${node ? 'could be several nodes' : 'is not among the nodes'} of this job`,
        where: source,
        why: `they are ${names.slice(0, 8).join(', ')}${names.length > 8 ? `, … (${names.length})` : ''}`,
        hint: 'leet explain allocation',
        exitCode: 2,
      })
    }
    chosen.set(node, host)
  }
  const lowered: Origin[] = []
  const nodes = allocation.nodes.flatMap((node) => {
    const host = chosen.get(node)
    if (!host) return []
    if (host.slots !== undefined && host.slots > node.slots) {
      lowered.push({
        what: `${node.name} keeps ${node.slots} slots`,
        from: `${source} asks for ${host.slots}`,
      })
    }
    return [{ ...node, slots: Math.min(node.slots, host.slots ?? node.slots, host.maxSlots ?? node.slots) }]
  })
  return {
    ...allocation,
    nodes,
    origins: [
      ...allocation.origins,
      { what: `${nodes.length} of ${allocation.nodes.length} nodes`, from: `${source} chooses among them` },
      ...lowered,
    ],
  }
}

function ownName(hostname: string): string {
  return hostname === '' ? 'localhost' : hostname
}

/**
 * The node of the allocation on which this process runs; undefined when on none (salloc runs its command on the submit
 * host). The scheduler's own word for it comes before the host's name.
 */
export function nodeOfThisProcess(
  { scheduler, nodes }: Allocation,
  { env, hostname }: Pick<AdapterInputs, 'env' | 'hostname'>,
): AllocatedNode | undefined {
  if (scheduler === 'local') return nodes[0]
  const variable = ADAPTERS[scheduler].nodeVariable
  const told = variable && env[variable]
  if (told) return nodes.find(({ name }) => name === told)
  const exact = nodes.find(({ name }) => name.toLowerCase() === hostname.toLowerCase())
  if (exact) return exact
  const matches = nodes.filter(({ name }) => sameHost(name, hostname))
  return matches.length === 1 ? matches[0] : undefined
}
