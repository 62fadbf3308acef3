// Linux guests of one node, as they are booted whatever image they have: seed, machine, the wait until the guest says that
// all is in place, and the way to its ranks, over SSH. What differs is their kind: small guests (linux-guests.ts) or
// those of a distribution's own image (cloud-guests.ts).
import { rmSync, writeFileSync } from 'node:fs'
import { type LeetError, type Scope, type WaitLimits, waitFor } from '../../common/index.ts'
import { type Seed, seedIso } from '../../contextualise/index.ts'
import {
  type ControlChannel,
  openSshChannel,
  type Processor,
  type RankEvent,
  type RankListener,
  type SshOptions,
} from '../../mpi-bridge/index.ts'
import type { BootWatch } from '../machines/boot-watch.ts'
import type { MachineSpec, Placement } from '../machines/spec.ts'
import type { GuestNetwork } from '../networks/guest-network.ts'
import { seedMounts } from '../nfs/seed-mounts.ts'
import { type NfsServer, watchNfsServers } from '../nfs/servers.ts'
import { hostsOf } from '../plan/network.ts'
import type { GuestPlan } from '../plan/plan.ts'
import { bootAgain, type MachineParts } from './boot-again.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import { describePlacement } from './placement.ts'
import { lostWith, type MachinesContext, prepareMachines, withConsole } from './virtual-machines.ts'
import type { GuestState, LinuxAccess, LinuxSecrets } from './worker.ts'

/** What guests with an SSH server are made with. */
export interface SshGuestsContext extends MachinesContext {
  readonly secrets: LinuxSecrets
}

/** A guest that is about to boot. */
export interface BootingGuest {
  readonly guest: GuestPlan
  readonly network: GuestNetwork
  readonly seed: Seed
  /** Of the guest, while it boots: what fails in it ends its boot. */
  readonly scope: Scope
  readonly limits: WaitLimits
  /** Is told how the guest comes forward. */
  readonly watch: BootWatch
  readonly onState: (state: GuestState, detail?: string) => void
}

/** Of a guest's machine the files that it is made with: its seed's disk for each dialect, and what its console is written to. */
export interface GuestFiles {
  readonly seeds: readonly string[]
  readonly console: string
}

/** How guests of one kind boot. */
export interface GuestKind {
  /** Dialects that the seed is written in, a disk for each. */
  readonly seeds: readonly ('cloud-config' | 'config-drive')[]
  /** What must be found or built before anything boots. */
  prepare?(limits: WaitLimits): Promise<void>
  machine(booting: BootingGuest, files: GuestFiles): MachineSpec | Promise<MachineSpec>
  /** Watches a guest from its first console line on. */
  watch(booting: BootingGuest): GuestWatch
  /** The processors that ranks of a guest may be bound to; undefined where that is not known. */
  processors?(guest: GuestPlan): readonly Processor[]
}

/** Sees what a guest says while it boots. */
export interface GuestWatch {
  onLine(line: string): void
  /** Resolves, with the way to its ranks, when the guest is ready. Its SSH server is at `port` of this node. */
  ready(port: number): Promise<OpenChannel>
}

/** Opens the way to the ranks of a guest that is ready. */
type OpenChannel = (listener: RankListener, limits: WaitLimits) => Promise<ControlChannel>

/** Of the SSH server in the guest. */
export const SSH_PORT = 22

/** The guests of this node; nothing is started yet. */
export function sshGuests(context: SshGuestsContext, kind: GuestKind): NodeGuests {
  const { guests, journal, log } = context
  return {
    async boot(scope, onState, limits) {
      await kind.prepare?.(limits)
      const { qemu, accelerator, whyEmulated, driver, network, servers } = await prepareMachines(
        context,
        { port: SSH_PORT },
        scope,
        limits,
      )
      if (servers.length > 0) watchNfsServers(servers, log, scope)
      return scope.each(guests, nameOf, (guest, own, index) => {
        const plug = network.guests[index] as GuestNetwork
        const order: GuestOrder = {
          ...{ guest, network: plug },
          seed: seedOf(context, guest, plug, servers),
          onState: (state, detail) => onState(guest.index, state, detail),
        }
        return bootGuest(context, kind, order, own, limits, {
          placement: context.placements[index],
          parts: { journal, log, qemu, accelerator, driver },
          whyEmulated,
          networkEnded: network.ended,
        })
      })
    },
  }
}

/** A guest, before any of its boots. */
type GuestOrder = Omit<BootingGuest, 'scope' | 'limits' | 'watch'>

const nameOf = ({ name }: GuestPlan) => name

interface BootHooks {
  readonly placement: Placement | undefined
  readonly parts: MachineParts
  readonly whyEmulated: string | undefined
  /** The guests no longer reach each other. */
  readonly networkEnded: Promise<LeetError> | undefined
}

async function bootGuest(
  { plan, journal, log }: MachinesContext,
  kind: GuestKind,
  order: GuestOrder,
  scope: Scope,
  limits: WaitLimits,
  { placement, parts, whyEmulated, networkEnded }: BootHooks,
): Promise<NodeGuest> {
  const { guest, network, seed, onState } = order
  const { processors } = kind
  const seeds = kind.seeds.map((dialect) =>
    writeSeed(journal.path(`g${guest.index}.${dialect}.iso`), seedIso(seed, { kind: dialect }), scope),
  )
  const { patience, retries } = plan.limits
  const orders = { guest, retries, patience, log, onState }
  const booted = await bootAgain(
    orders,
    scope,
    async ({ watch, scope: own, limits: ownLimits, start }) => {
      onState('starting', describePlacement(placement))
      const booting: BootingGuest = { ...order, scope: own, limits: ownLimits, watch }
      const spec = await kind.machine(booting, {
        seeds: seeds.map(({ path }) => path),
        console: journal.path(`g${guest.index}.console`),
      })
      const words = kind.watch(booting)
      const machine = await start(placement ? { ...spec, placement } : spec, {
        ...parts,
        onConsoleLine: (line) => words.onLine(line),
      })
      onState('booting')
      const lost = lostWith(machine, networkEnded)
      // All that waits for it hears that it is gone.
      lost.then((error) => own.fail(error))
      const port = machine.forwardedPort(network.control.nic, network.control.port)
      const early = new EarlyListener()
      const opened = words.ready(port).then((open) => open(early.hear, ownLimits))
      const subject = { what: 'the guest to be ready', where: guest.name }
      const channel = await waitFor(opened, ownLimits, subject).catch((error) => {
        throw withConsole(error, machine)
      })
      return { scope: own, machine, lost, port, channel, early }
    },
    limits,
  )
  const { machine, lost, port, channel, early } = booted
  // They hold the guest's private key, and the guest has read it.
  for (const one of seeds) one.remove()
  onState('ready')
  return {
    index: guest.index,
    scope: booted.scope,
    machine: { accelerator: parts.accelerator, whyEmulated, pid: machine.pid },
    serviceHost: '127.0.0.1',
    serviceAddress: network.serviceAddress,
    switchesUser: true,
    ...(processors ? { processors: () => processors(guest) } : {}),
    lost,
    line: machine,
    door: { port },
    async openChannel(listener) {
      early.pass(listener)
      return channel
    },
  }
}

/** Keeps what a channel says until somebody listens: it is opened as the last step of the boot. */
class EarlyListener {
  readonly #kept: RankEvent[] = []
  #listener: RankListener | undefined

  readonly hear: RankListener = (event) => {
    if (this.#listener) this.#listener(event)
    else this.#kept.push(event)
  }

  /** Passes on what was kept, and all that follows. */
  pass(listener: RankListener): void {
    this.#listener = listener
    for (const event of this.#kept.splice(0)) listener(event)
  }
}

// A seed's disk, which holds the guest's private key, is there for as long as the guest needs it.
function writeSeed(
  path: string,
  iso: Uint8Array,
  scope: Scope,
): { readonly path: string; readonly remove: () => void } {
  writeFileSync(path, iso, { mode: 0o600, flag: 'wx' })
  const remove = () => rmSync(path, { force: true })
  scope.onEnd('the seed of a guest', remove)
  return { path, remove }
}

/** The way into a guest of this node, as root with the job's key. */
export function sshAccess(where: string, port: number, { clientKey, hostKey }: LinuxAccess): SshOptions {
  return {
    ...{ where, host: '127.0.0.1', port, username: 'root' },
    privateKey: clientKey.privateKey,
    hostKey: hostKey.publicKey,
  }
}

/** The way to the ranks of a guest of this node. */
export function openGuestChannel(
  guest: GuestPlan,
  { port, access, scope, listener }: GuestWay,
  limits: WaitLimits,
): Promise<ControlChannel> {
  return openSshChannel(
    { ...sshAccess(guest.name, port, access), command: '/leet/starter', scope, listener },
    limits,
  )
}

/** A way into a guest of this node, for its ranks. */
export interface GuestWay {
  /** Of this node, which leads to the guest's SSH server. */
  readonly port: number
  readonly access: LinuxAccess
  /** With which the channel ends. */
  readonly scope: Scope
  readonly listener: RankListener
}

/** What a Linux guest is told at first boot. */
export function seedOf(
  { plan, addresses, secrets }: Pick<SshGuestsContext, 'plan' | 'addresses' | 'secrets'>,
  guest: GuestPlan,
  network: GuestNetwork,
  servers: readonly NfsServer[],
): Seed {
  return {
    instanceId: `leet-${plan.jobId}-${guest.index}`,
    hostname: guest.name,
    hosts: hostsOf(plan, addresses),
    interfaces: network.interfaces,
    user: { ...plan.user, groups: [] },
    ssh: {
      hostKey: { private: secrets.hostKey.privateKey, public: secrets.hostKey.publicKey },
      authorizedKeys: [secrets.clientKey.publicKey],
    },
    mounts: seedMounts(plan.mounts, servers, network.serviceAddress),
    files: [],
    commands: [],
  }
}
