// The work of a node agent, done in this process: boots the node's guests, serves PMI to its ranks, starts them and
// tells what they do.
import { existsSync } from 'node:fs'
import {
  atMost,
  Deadline,
  eachInTurn,
  failureOf,
  LeetError,
  type Log,
  residentMemory,
  type Timer,
  type WaitLimits,
} from '../../common/index.ts'
import {
  bindRanks,
  type ControlChannel,
  coresOf,
  describeBinding,
  type Exchange,
  openProcessManager,
  type ProcessManager,
  type RankEvent,
  type ServiceAddress,
} from '../../mpi-bridge/index.ts'
import type { Journal } from '../journal/journal.ts'
import type { Placement } from '../machines/spec.ts'
import { sharesProcessors } from '../plan/network.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Mirror, MirrorContext } from './mirror.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import type { NodeNetwork } from './node-network.ts'
import type { BootOrder, GuestPlan, NodeEvent, NodeWorker, RankOrder, WorkerContext } from './worker.ts'

/** What a local worker is made with. */
export interface LocalWorkerContext extends WorkerContext {
  readonly journal: Journal
  readonly log: Log
}

/** How long a rank may wait in the last fence before it is let go (JobPlan.finalizeRescue), in milliseconds. */
const RESCUE_GRACE_MS = 1_000

/** How long a channel may take to be there, and all that is on the node to be gone, in milliseconds. */
const CHANNEL_MS = 30_000
const STOP_MS = 10_000
/** How long results may take to come back from guests. */
const COLLECT_MS = 600_000
/** How long the reason of a guest's end may come after the end of its channel. */
const LOSS_MS = 1_000

/** The worker of the node that this process runs on. */
export function createLocalWorker({ exchange, emit, journal, log, scope }: LocalWorkerContext): NodeWorker {
  /** What is on this node for the job. */
  const node = scope.child('the node')
  let plan: JobPlan | undefined
  /** Address of each guest of the job, by its index. */
  let addresses: readonly string[] = []
  let network: NodeNetwork | undefined
  let placements: readonly Placement[] = []
  let guests = new Map<number, NodeGuest>()
  let mirror: Mirror | undefined
  const channels = new Map<number, Promise<ControlChannel>>()
  const services = new Map<number, Promise<ServiceAddress>>()
  const guestOfTask = new Map<number, number>()
  let manager: ProcessManager | undefined
  let stopping = false
  /** Set for good once ranks are being ended. */
  const ending = new AbortController()
  let killing = false
  let killTimer: Timer | undefined

  const processManager = (): ProcessManager => {
    manager ??= openProcessManager({
      ...{ scope: node, exchange, log },
      ...(plan?.finalizeRescue ? { finalizeRescue: { graceMs: RESCUE_GRACE_MS } } : {}),
    })
    return manager
  }

  function onRankEvent(guest: NodeGuest, event: RankEvent): void {
    if (event.kind === 'lost') {
      void tellLoss(guest, event.error)
      return
    }
    const { rank: task, ...rest } = event
    emit({ ...rest, task } as NodeEvent)
  }

  // When a guest dies its channel breaks first, but why it died says more.
  async function tellLoss(guest: NodeGuest, channelError: LeetError): Promise<void> {
    const error = guest.channelExplains ? channelError : await atMost(LOSS_MS, guest.lost, channelError)
    if (!stopping) emit({ kind: 'guest-lost', guest: guest.index, error })
  }

  function channelOf(guest: NodeGuest, limits: WaitLimits): Promise<ControlChannel> {
    const known = channels.get(guest.index)
    if (known) return known
    const askToEnd = () => processManager().endRanks(guest.index)
    const opened = guest.openChannel((event) => onRankEvent(guest, event), limits, askToEnd)
    channels.set(guest.index, opened)
    return opened
  }

  /** Where the ranks of a guest find the process manager, as they see it. */
  function serviceOf(guest: NodeGuest): Promise<ServiceAddress> {
    const known = services.get(guest.index)
    if (known) return known
    const listening = processManager()
      .listen(guest.index, guest.serviceHost)
      .then(({ port }) => ({ host: guest.serviceAddress, port }))
    services.set(guest.index, listening)
    return listening
  }

  // Nothing is told of a hypervisor that is gone.
  function tellMemory(): void {
    for (const { index, machine } of guests.values()) {
      const memory = machine && residentMemory(machine.pid)
      if (memory) emit({ kind: 'resident', guest: index, ...memory })
    }
  }

  const openChannels = async (): Promise<ControlChannel[]> => {
    const settled = await Promise.allSettled(channels.values())
    return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  }

  function signalAll(signal: NodeJS.Signals): void {
    void openChannels().then((open) => {
      for (const channel of open) channel.signal('all', signal)
    })
  }

  return {
    async reserve(jobPlan, number) {
      if (jobPlan.network.mode === 'none' || jobPlan.session) return
      const [{ reserveNetwork }, { checkMemory, memoryLimit }, { reservePlacement }] = await Promise.all([
        import('./node-network.ts'),
        import('../plan/job-memory.ts'),
        import('./placement.ts'),
      ])
      const own = jobPlan.guests.filter((guest) => guest.node === number)
      checkMemory(own, memoryLimit(), jobPlan.nodes[number]?.name ?? '')
      placements = await reservePlacement(jobPlan, own, { log, scope: node })
      network = await reserveNetwork(jobPlan, own, number, { journal, exchange, scope: node })
      for (const [index, guest] of own.entries()) {
        emit({ kind: 'address', guest: guest.index, address: network.addresses[index] as string })
      }
    },

    async boot(order: BootOrder, signal: AbortSignal) {
      plan = order.plan
      addresses = order.addresses
      const limits = node.within({ deadline: Deadline.after(plan.limits.boot), signal })
      // Guests end before it: what their ranks do at last is still heard.
      processManager()
      if (order.keep) {
        const { serveLines } = await import('./guest-lines.ts')
        serveLines(exchange, (guest) => guests.get(guest)?.line)
      }
      mirror = await mirrorOf(order, { exchange, journal, scope: node }, limits)
      await bringImage(order, exchange, limits)
      const source = await guestsOf(order, { network, placements, mirror, journal, log })
      const booted = await source.boot(
        node,
        (guest, state, detail) => emit({ kind: 'guest', guest, state, ...(detail ? { detail } : {}) }),
        limits,
      )
      guests = new Map(booted.map((guest) => [guest.index, guest]))
      for (const guest of booted) {
        guest.lost.then((error) => {
          if (!stopping) emit({ kind: 'guest-lost', guest: guest.index, error })
        })
      }
      for (const { index, machine } of booted) {
        if (!machine) continue
        const { accelerator, whyEmulated: why } = machine
        emit({ kind: 'machine', guest: index, accelerator, ...(why === undefined ? {} : { why }) })
      }
      for (const { index, door, serviceAddress } of booted) {
        if (door) emit({ kind: 'held', guest: index, ...door, serviceAddress })
      }
      tellMemory()
      // The channel is part of being ready: a guest that cannot start ranks is of no use.
      await Promise.all(booted.map((guest) => channelOf(guest, limits)))
    },

    async prove(signal) {
      if (plan?.guestKind !== 'linux') return
      const { proveFiles, proveReach } = await import('./prove.ts')
      const limits = { deadline: Deadline.after(plan.limits.boot), signal }
      const about = { plan, addresses }
      const began = performance.now()
      await Promise.all(
        [...guests.values()].map(async (guest) => {
          const [channel, service] = await Promise.all([channelOf(guest, limits), serviceOf(guest)])
          await proveReach(channel, { ...about, guest: guest.index, service }, limits)
          await proveFiles(channel, about.plan, guest.index, limits)
        }),
      )
      const took = Math.round(performance.now() - began)
      log.detail(`guests reach what their ranks need (found out in ${took} ms)`)
    },

    async openJob(layout, preput) {
      processManager().addJob(layout, preput)
      await Promise.all([...guests.values()].map(serviceOf))
    },

    async start(job, orders) {
      if (mirror) await mirror.inUse()
      const limits = { deadline: Deadline.after(CHANNEL_MS), signal: ending.signal }
      const byGuest = new Map<number, RankOrder[]>()
      for (const order of orders) {
        const own = byGuest.get(order.guest)
        if (own) own.push(order)
        else byGuest.set(order.guest, [order])
        guestOfTask.set(order.task, order.guest)
      }
      await Promise.all(
        [...byGuest].map(async ([index, own]) => {
          const guest = guests.get(index) as NodeGuest
          const [channel, address] = await Promise.all([channelOf(guest, limits), serviceOf(guest)])
          ending.signal.throwIfAborted()
          const cpusOf = bindingsOf(guest, plan, emit)
          const coarseTimers = plan !== undefined && sharesProcessors(plan.guests[index] as GuestPlan)
          await channel.start(
            own.map((order) => ({
              rank: order.task,
              ...placeRank(guest, order),
              env: { ...order.environment, ...processManager().environment(job, order.rank, address) },
              stdin: order.stdin,
              terminal: order.terminal,
              ...cpusOf(order),
              coarseTimers,
              ...(guest.switchesUser && plan
                ? { user: { uid: plan.user.uid, gid: plan.user.gid, groups: plan.user.groups } }
                : {}),
            })),
          )
          // What was on its way when the others were killed.
          if (killing) channel.signal('all', 'SIGKILL')
        }),
      )
    },

    async write(task, data) {
      const channel = await channels.get(guestOfTask.get(task) as number)
      await channel?.write(task, data)
    },
    endInput(task) {
      channels.get(guestOfTask.get(task) as number)?.then(
        (channel) => channel.endInput(task),
        () => {},
      )
    },
    end(graceMs) {
      if (!ending.signal.aborted) {
        ending.abort(
          new LeetError({ code: 'LEET_E_STOPPED', what: 'the ranks of this node are being ended' }),
        )
        if (graceMs > 0) signalAll('SIGTERM')
      }
      killTimer?.cancel()
      const kill = () => {
        killing = true
        signalAll('SIGKILL')
      }
      if (graceMs > 0) killTimer = node.timer(graceMs, kill)
      else kill()
    },
    signal(signal, tasks) {
      if (tasks === 'all') {
        signalAll(signal)
        return
      }
      for (const task of tasks) {
        channels.get(guestOfTask.get(task) as number)?.then(
          (channel) => channel.signal(task, signal),
          () => {},
        )
      }
    },
    holdOutput(hold) {
      void openChannels().then((open) => {
        for (const channel of open) hold ? channel.pause() : channel.resume()
      })
    },
    async collect(signal) {
      const limits = { deadline: Deadline.after(COLLECT_MS), signal }
      // What one guest fails at is no reason to leave the results of another.
      const ends = await Promise.allSettled([...guests.values()].map((guest) => guest.collect?.(limits)))
      const failed = failureOf(ends)
      if (failed) throw failed
    },

    async merge(signal) {
      await eachInTurn([
        ...[...guests.values()].map((guest) => () => guest.merge?.(signal)),
        () => mirror?.bringBack({ deadline: Deadline.after(COLLECT_MS), signal }),
      ])
    },

    async stop() {
      stopping = true
      tellMemory()
      await node.end(Deadline.after(STOP_MS))
    },
  }
}

interface GuestsContext extends Pick<LocalWorkerContext, 'journal' | 'log'> {
  readonly network: NodeNetwork | undefined
  readonly placements: readonly Placement[]
  readonly mirror: Mirror | undefined
}

/** What the node has instead of the user's working directories, where it lacks them. */
async function mirrorOf(
  { plan, node }: BootOrder,
  context: Pick<MirrorContext, 'exchange' | 'journal' | 'scope'>,
  limits: WaitLimits,
): Promise<Mirror | undefined> {
  if (plan.mirrored === undefined || plan.mirrored.except === node) return undefined
  const { Mirror } = await import('./mirror.ts')
  return Mirror.fetch({ ...context, node: plan.nodes[node]?.name ?? `node ${node}` }, limits)
}

/** Where it cannot be had from the controller it is missed in a moment. */
async function bringImage({ image }: BootOrder, exchange: Exchange, limits: WaitLimits): Promise<void> {
  if (!image || image.kind === 'disk' || existsSync(image.disk)) return
  const { fetchImage } = await import('./image-copy.ts')
  await fetchImage(image, exchange, limits).catch((error) => {
    if (!(error instanceof LeetError && error.code === 'LEET_E_EXCHANGE')) throw error
  })
}

// Each kind's code is loaded only when it is used: a job on the bare host needs none of QEMU, SSH and images.
async function guestsOf(
  { plan, node, image, addresses, secrets, held, keep }: BootOrder,
  { network, placements, mirror, journal, log }: GuestsContext,
): Promise<NodeGuests> {
  const own = plan.guests.filter((guest) => guest.node === node)
  if (plan.guestKind === 'host') {
    const { hostGuests } = await import('./host-guests.ts')
    const [guest] = own
    if (!guest) return { boot: async () => [] }
    return hostGuests(guest, journal)
  }
  if (held) {
    const { access, guests } = held
    if (image?.kind === 'osv' && access.kind === 'osv') {
      const { heldOsvGuests } = await import('./held-osv-guests.ts')
      return heldOsvGuests({ plan, guests: own, held: guests, access, image, journal, log })
    }
    if (access.kind !== 'linux') throw otherSecrets()
    const { heldGuests } = await import('./held-guests.ts')
    return heldGuests({ guests: own, held: guests, access, ownImage: image?.kind === 'disk', log })
  }
  if (!image || !network) throw new Error('a guest without an image or a network')
  if (!existsSync(image.disk)) {
    throw new LeetError({
      code: 'LEET_E_IMAGE_MISSING',
      what: `the image ${image.disk} is not on this node`,
      where: plan.nodes[node]?.name,
      hint:
        image.kind === 'disk'
          ? 'put it into a directory that all nodes share'
          : 'an image of the store is sent to nodes that lack it; one that lies elsewhere must be there',
    })
  }
  const context = { plan, guests: own, network, placements, addresses, mirror, journal, log }
  if (image.kind === 'osv') {
    if (secrets.kind !== 'osv') throw otherSecrets()
    const { osvGuests } = await import('./osv-guests.ts')
    return osvGuests({ ...context, image, secrets, keep: keep ?? false })
  }
  if (secrets.kind !== 'linux') throw otherSecrets()
  if (image.kind === 'disk') {
    const { cloudGuests } = await import('./cloud-guests.ts')
    return cloudGuests({ ...context, image, secrets })
  }
  const { linuxGuests } = await import('./linux-guests.ts')
  return linuxGuests({ ...context, image, secrets })
}

function otherSecrets(): Error {
  return new Error('secrets of another kind of guest than the image')
}

// Ranks of the first job are bound as the plan says. Spawned ones go on where the last was bound, and around: MPI never said
// how many there will be.
function bindingsOf(
  guest: NodeGuest,
  plan: JobPlan | undefined,
  emit: (event: NodeEvent) => void,
): (order: RankOrder) => { cpus?: readonly number[] } {
  const binding = plan?.binding
  if (!plan || !binding) return () => ({})
  const { ranks, name } = plan.guests.find(({ index }) => index === guest.index) as GuestPlan
  const processors = guest.processors?.()
  const bound = processors && bindRanks(processors, binding, ranks.length, name)
  let spawned = 0
  const nextOfSpawned = () => {
    const many = ranks.length + ++spawned
    return processors && bindRanks(processors, { ...binding, overload: true }, many, name).at(-1)
  }
  return ({ task, rank }) => {
    if (task >= plan.size) {
      const cpus = nextOfSpawned() ?? []
      if (processors) emit({ kind: 'bound', task, how: describeBinding(processors, cpus) })
      return cpus.length > 0 ? { cpus } : {}
    }
    const slots = binding.slots?.[rank]
    const cpus =
      processors && slots !== undefined
        ? coresOf(processors, slots, name)
        : (bound?.[ranks.indexOf(rank)] ?? [])
    const how = processors ? describeBinding(processors, cpus) : 'is not bound: its guest cannot bind'
    emit({ kind: 'bound', task, how })
    return cpus.length > 0 ? { cpus } : {}
  }
}

function placeRank(guest: NodeGuest, { argv, workDir }: RankOrder) {
  const placed = guest.place?.(argv, workDir) ?? { argv, workDir }
  return { argv: placed.argv, cwd: placed.workDir }
}
