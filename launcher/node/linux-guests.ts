// Linux guests of one node under QEMU: seed, machine, and the wait until init says that all is in place.
import { rmSync, writeFileSync } from 'node:fs'
import { LeetError, type Log, pause, waitFor } from '../../common/index.ts'
import { type Seed, seedIso } from '../../contextualise/index.ts'
import { openSshChannel } from '../../mpi-bridge/index.ts'
import { type InitLine, parseInitLine } from '../images/init-lines.ts'
import { linuxCommandLine } from '../images/linux.ts'
import type { Journal } from '../journal/journal.ts'
import { type Machine, type MachineContext, startMachine } from '../machines/machine.ts'
import type { MachineSpec } from '../machines/spec.ts'
import type { GuestNetwork } from '../networks/guest-network.ts'
import { explainNfsFailure } from '../nfs/failures.ts'
import { machineShares, seedMounts } from '../nfs/seed-mounts.ts'
import { type NfsServer, watchNfsServers } from '../nfs/servers.ts'
import { hostsOf } from '../plan/network.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import type { NodeNetwork } from './node-network.ts'
import { prepareMachines } from './virtual-machines.ts'
import type { GuestState, JobSecrets, LinuxImageFiles } from './worker.ts'

/** What Linux guests are made with. */
export interface LinuxGuestsContext {
  readonly plan: JobPlan
  /** The guests of this node. */
  readonly guests: readonly GuestPlan[]
  readonly image: LinuxImageFiles
  readonly network: NodeNetwork
  /** Address of each guest of the job, by its index. */
  readonly addresses: readonly string[]
  readonly secrets: JobSecrets
  readonly journal: Journal
  readonly log: Log
}

const SSH_PORT = 22
/** How much later than QEMU this process may get the signal that ended QEMU, in milliseconds. */
const SIGNAL_MS = 300
/** Steps of init that tell the user how far a guest is. */
const STATE_OF_STEP: Readonly<Record<string, GuestState>> = { seed: 'booting', ssh: 'contextualised' }

/** The Linux guests of this node; nothing is started yet. */
export function linuxGuests(context: LinuxGuestsContext): NodeGuests {
  const { guests, journal, log } = context
  const machines: Machine[] = []
  let watch: { stop(): void } | undefined
  return {
    async boot(onState, limits) {
      const { qemu, accelerator, network, servers } = await prepareMachines(context, SSH_PORT, limits)
      if (servers.length > 0) watch = watchNfsServers(servers, log)
      return Promise.all(
        guests.map((guest, index) =>
          bootGuest(context, guest, network.guests[index] as GuestNetwork, {
            machineContext: { ...limits, journal, log, qemu, accelerator },
            onState: (state, detail) => onState(guest.index, state, detail),
            onStarted: (machine) => machines.push(machine),
            networkEnded: network.ended,
            servers,
          }),
        ),
      )
    },
    async stop(limits) {
      watch?.stop()
      await Promise.allSettled(machines.map((machine) => machine.stop(limits)))
    },
  }
}

/** The virtual machine of a Linux guest. */
export function linuxMachine(
  plan: JobPlan,
  guest: GuestPlan,
  network: GuestNetwork,
  image: LinuxImageFiles,
  files: { readonly seed: string; readonly console: string },
): MachineSpec {
  return {
    name: guest.name,
    memory: guest.memory,
    cpus: guest.cpus,
    machineType: 'q35',
    kernel: { image: image.kernel, initrd: image.initrd, commandLine: linuxCommandLine() },
    disks: [
      { serial: 'leet-image', path: image.disk, readonly: true },
      { serial: 'leet-seed', path: files.seed, readonly: true },
    ],
    nics: network.nics,
    shares: machineShares(plan.mounts),
    consoleFile: files.console,
  }
}

interface BootHooks {
  readonly machineContext: MachineContext
  readonly onState: (state: GuestState, detail?: string) => void
  readonly onStarted: (machine: Machine) => void
  /** The guests no longer reach each other. */
  readonly networkEnded: Promise<LeetError> | undefined
  readonly servers: readonly NfsServer[]
}

async function bootGuest(
  { plan, image, addresses, secrets, journal }: LinuxGuestsContext,
  guest: GuestPlan,
  network: GuestNetwork,
  { machineContext, onState, onStarted, networkEnded, servers }: BootHooks,
): Promise<NodeGuest> {
  onState('starting')
  const seedFile = journal.path(`g${guest.index}.seed.iso`)
  const seed = seedOf(plan, guest, network, addresses, servers, secrets)
  writeFileSync(seedFile, seedIso(seed, { kind: 'cloud-config' }), { mode: 0o600, flag: 'wx' })
  const init = new InitWatch(guest.name, onState)
  const spec = linuxMachine(plan, guest, network, image, {
    seed: seedFile,
    console: journal.path(`g${guest.index}.console`),
  })
  const machine = await startMachine(spec, { ...machineContext, onConsoleLine: (line) => init.onLine(line) })
  onStarted(machine)
  onState('booting')
  const exited = machine.exited.then(async ({ reason, error }) => {
    // A scheduler that ends a job signals its hypervisors too. What it tells this process says more.
    if (reason === 'qemu') await pause(SIGNAL_MS)
    return error ?? new Promise<LeetError>(() => {})
  })
  const lost = networkEnded ? Promise.race([exited, networkEnded]) : exited
  const ready = Promise.race([init.ready, lost.then((error) => Promise.reject(error))])
  await waitFor(ready, machineContext, { what: 'the guest to be ready', where: guest.name }).catch(
    (error) => {
      throw withConsole(error, machine)
    },
  )
  // It holds the guest's private key, and the guest has read it.
  rmSync(seedFile)
  onState('ready')
  return {
    index: guest.index,
    serviceHost: '127.0.0.1',
    serviceAddress: network.serviceAddress,
    switchesUser: true,
    lost,
    openChannel: (listener, limits) =>
      openSshChannel(
        {
          where: guest.name,
          host: '127.0.0.1',
          port: machine.forwardedPort(network.control.nic, network.control.port),
          username: 'root',
          privateKey: secrets.clientKey.privateKey,
          hostKey: secrets.hostKey.publicKey,
          command: '/leet/starter',
          listener,
        },
        limits,
      ),
    stop: async (limits) => void (await machine.stop(limits)),
  }
}

// A guest that is late has most often said on its console what it is doing.
function withConsole(error: unknown, machine: Machine): unknown {
  if (!(error instanceof LeetError && error.code === 'LEET_E_DEADLINE')) return error
  const lines = machine.console.tail(10)
  const why =
    lines.length > 0 ? `the last lines of its console are\n${lines.join('\n')}` : 'its console is empty'
  return new LeetError({ ...error.details, why, hint: 'a longer --boot-timeout' })
}

// What init says on the console, until it is ready or gives up.
class InitWatch {
  readonly ready: Promise<void>
  readonly #name: string
  readonly #onState: (state: GuestState, detail?: string) => void
  #resolve: () => void = () => {}
  #reject: (error: LeetError) => void = () => {}

  constructor(name: string, onState: (state: GuestState, detail?: string) => void) {
    this.#name = name
    this.#onState = onState
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // A guest may fail before anybody waits for it.
    this.ready.catch(() => {})
  }

  onLine(line: string): void {
    const said = parseInitLine(line)
    if (!said) return
    if (said.kind === 'ready') this.#resolve()
    else if (said.kind === 'off') this.#fail('ended by itself', { why: said.fields.reason })
    else this.#onStep(said)
  }

  #onStep({ step, ok, fatal, fields }: Extract<InitLine, { kind: 'step' }>): void {
    const { reason, ...about } = fields
    const detail = [step, ...Object.values(about)].join(' ')
    if (ok) {
      const state = STATE_OF_STEP[step]
      if (state) this.#onState(state, detail)
    } else if (fatal) this.#fail(`cannot be used: ${detail} failed`, whyOf(step, fields))
    else this.#onState('booting', `${detail} failed: ${reason ?? 'no reason given'}`)
  }

  #fail(what: string, because: { readonly why: string | undefined; readonly hint?: string }): void {
    this.#reject(new LeetError({ code: 'LEET_E_GUEST_INIT', where: this.#name, what, ...because }))
  }
}

function whyOf(
  step: string,
  { reason, type, source }: InitLine['fields'],
): { readonly why: string | undefined; readonly hint?: string } {
  const byNfs = step === 'mount' && type?.startsWith('nfs')
  return byNfs ? explainNfsFailure(reason ?? '', source ?? '') : { why: reason }
}

/** What a Linux guest is told at first boot. */
export function seedOf(
  plan: JobPlan,
  guest: GuestPlan,
  network: GuestNetwork,
  addresses: readonly string[],
  servers: readonly NfsServer[],
  secrets: JobSecrets,
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
