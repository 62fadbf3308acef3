// OSv guests of one node under QEMU: seed, machine, the wait until REST answers and the seed was applied, and the
// working directory carried in and out where the guest cannot share it.
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { LeetError, type Log, pause, type WaitLimits, waitFor } from '../../common/index.ts'
import { osvSeed, type Seed, type SeedFile, type SeedMount, seedIso } from '../../contextualise/index.ts'
import {
  isSeedFailure,
  type OsvChannel,
  OsvRest,
  openOsvChannel,
  planStageIn,
  type RankListener,
  type StagedIn,
  stagedPath,
  stageIn,
  stageOut,
} from '../../mpi-bridge/index.ts'
import { OSV_MACHINE_TYPE, OSV_REST_PORT, osvCommandLine, osvDisks } from '../images/osv/boot.ts'
import type { Journal } from '../journal/journal.ts'
import { type Machine, type MachineContext, startMachine } from '../machines/machine.ts'
import type { GuestNetwork } from '../networks/guest-network.ts'
import { addressOfServer, type NfsServer } from '../nfs/servers.ts'
import { isLoopback, type PlanMount } from '../plan/mounts.ts'
import { hostsOf } from '../plan/network.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import type { NodeNetwork } from './node-network.ts'
import { prepareMachines } from './virtual-machines.ts'
import type { GuestState, JobSecrets, OsvImageFiles, PemPair } from './worker.ts'

/** What OSv guests are made with. */
export interface OsvGuestsContext {
  readonly plan: JobPlan
  /** The guests of this node. */
  readonly guests: readonly GuestPlan[]
  readonly image: OsvImageFiles
  readonly network: NodeNetwork
  /** Address of each guest of the job, by its index. */
  readonly addresses: readonly string[]
  readonly secrets: JobSecrets
  readonly journal: Journal
  readonly log: Log
}

/** Paths in the guest. */
const TLS_FILES = {
  ca: '/tmp/leet-ca.pem',
  cert: '/tmp/leet-server.pem',
  key: '/tmp/leet-server.key',
} as const
/** One try of a request to a guest that may not be up: QEMU accepts connections before its guest does. */
const TRY_MS = 500
/** A TLS handshake takes a busy, emulated guest longer. */
const LONGEST_TRY_MS = 8_000
const TRY_PAUSE_MS = 20
/** How long a guest whose REST server answers may take to apply its seed. */
const SEED_MS = 20_000
/** How long a mount may take to show the server's entries. */
const MOUNT_MS = 15_000
/** Of a guest's memory, what staged files may take: its /tmp is memory. */
const STAGED_SHARE = 0.5

/** The OSv guests of this node; nothing is started yet. */
export function osvGuests(context: OsvGuestsContext): NodeGuests {
  const { guests, journal, log } = context
  const machines: Machine[] = []
  return {
    async boot(onState, limits) {
      const { qemu, accelerator, network, servers } = await prepareMachines(context, OSV_REST_PORT, limits)
      return Promise.all(
        guests.map(async (plan, index) => {
          const guest = new OsvGuest(
            context,
            plan,
            network.guests[index] as GuestNetwork,
            servers,
            (state, detail) => onState(plan.index, state, detail),
          )
          await guest.boot({ ...limits, journal, log, qemu, accelerator }, (machine) =>
            machines.push(machine),
          )
          return guest
        }),
      )
    },
    async stop(limits) {
      await Promise.allSettled(machines.map((machine) => machine.stop(limits)))
    },
  }
}

class OsvGuest implements NodeGuest {
  readonly index: number
  readonly serviceHost = '127.0.0.1'
  readonly serviceAddress: string
  readonly switchesUser = false
  // The channel tells the end of the guest, since an exit there may be the end of a rank.
  readonly channelExplains = true
  readonly lost: Promise<LeetError> = new Promise(() => {})
  readonly #context: OsvGuestsContext
  readonly #guest: GuestPlan
  readonly #network: GuestNetwork
  readonly #servers: readonly NfsServer[]
  readonly #onState: (state: GuestState, detail?: string) => void
  readonly #nonce = randomBytes(8).toString('hex')
  readonly #seedFailed = Promise.withResolvers<never>()
  readonly #staged = new Map<string, StagedIn>()
  #machine: Machine | undefined
  #rest: OsvRest | undefined
  #channel: OsvChannel | undefined

  constructor(
    context: OsvGuestsContext,
    guest: GuestPlan,
    network: GuestNetwork,
    servers: readonly NfsServer[],
    onState: (state: GuestState, detail?: string) => void,
  ) {
    this.index = guest.index
    this.serviceAddress = network.serviceAddress
    this.#context = context
    this.#guest = guest
    this.#network = network
    this.#servers = servers
    this.#onState = onState
    this.#seedFailed.promise.catch(() => {})
  }

  async boot(machineContext: MachineContext, onStarted: (machine: Machine) => void): Promise<void> {
    const { plan, image, journal } = this.#context
    this.#onState('starting')
    const seed = this.#seed()
    const seedFile = journal.path(`g${this.index}.seed.iso`)
    writeFileSync(seedFile, seedIso(seed, { kind: 'osv', mountTool: image.mountTool }), {
      mode: 0o600,
      flag: 'wx',
    })
    const { commandLine, unsaid } = osvSeed(seed, image.mountTool)
    for (const sentence of unsaid) this.#context.log.detail(`${this.#guest.name}: ${sentence}`)
    const machine = await startMachine(
      {
        name: this.#guest.name,
        memory: this.#guest.memory,
        cpus: this.#guest.cpus,
        machineType: OSV_MACHINE_TYPE,
        kernel: {
          image: image.kernel,
          commandLine: osvCommandLine({ network: commandLine, ...(this.#tls ? { tls: TLS_FILES } : {}) }),
        },
        disks: osvDisks(image.disk, seedFile),
        nics: this.#network.nics,
        shares: [],
        consoleFile: journal.path(`g${this.index}.console`),
      },
      { ...machineContext, onConsoleLine: (line) => this.#onConsoleLine(line) },
    )
    this.#machine = machine
    onStarted(machine)
    this.#onState('booting')
    const { nic, port } = this.#network.control
    const endpoint = { guest: this.#guest.name, host: '127.0.0.1', port: machine.forwardedPort(nic, port) }
    this.#rest = new OsvRest({ ...endpoint, ...(this.#tls ? { tls: this.#tls } : {}) })
    const died = machine.exited.then(({ error }) => Promise.reject(error ?? this.#error('was stopped')))
    died.catch(() => {})
    const ready = this.#becomeReady(machineContext)
    await waitFor(Promise.race([ready, died, this.#seedFailed.promise]), machineContext, {
      what: `the guest’s REST server; its console is ${machine.console.file}`,
      where: this.#guest.name,
    })
    // It holds the key of the guest's server, and the guest has read it.
    rmSync(seedFile)
    machine.exited.then(({ error }) => this.#channel?.guestEnded(error?.message ?? 'it was stopped'))
    if (!this.#readsNfs) await this.#stageIn(machineContext)
    this.#onState('ready', plan.mounts.length > 0 ? 'mounts checked' : undefined)
  }

  async openChannel(listener: RankListener): Promise<OsvChannel> {
    this.#channel = openOsvChannel({
      rest: this.#rest as OsvRest,
      listener,
      log: this.#context.log,
      compat: this.#context.image.compat,
      nonce: this.#nonce,
      newProgram: !this.#readsNfs,
    })
    return this.#channel
  }

  place(argv: readonly [string, ...string[]], workDir: string) {
    const [program, ...words] = argv
    return {
      argv: [this.#context.image.programs[program] ?? program, ...words] as const,
      workDir: this.#staged.get(workDir)?.guestDirectory ?? workDir,
    }
  }

  async collect(limits: WaitLimits): Promise<void> {
    for (const [directory, before] of this.#staged) {
      const brought = await stageOut(this.#rest as OsvRest, before, directory, () => true, limits)
      this.#context.log.detail(`${this.#guest.name}: ${brought.length} files brought back to ${directory}`)
    }
  }

  async stop(limits: WaitLimits): Promise<void> {
    await this.#machine?.stop(limits)
  }

  // NFS used from a program with a name space of its own aborts the guest; without one there can be one rank only.
  get #readsNfs(): boolean {
    const { plan } = this.#context
    return this.#guest.ranks.length === 1 && plan.programs.every(({ workDir }) => isOnNfs(plan, workDir))
  }

  /** How this node proves itself to the guest's REST server and the other way round. */
  get #tls() {
    const { osv } = this.#context.secrets
    return osv && { ca: osv.ca, ...osv.client, serverName: this.#guest.name }
  }

  /** The server's part of TLS, where the seed may put files: in the guest's memory. */
  #tlsFiles(): SeedFile[] {
    const { osv } = this.#context.secrets
    if (!osv) return []
    const { cert, key } = osv.servers[this.index] as PemPair
    const file = (path: string, content: string): SeedFile => ({ path, content, mode: 0o600, owner: 'root' })
    return [file(TLS_FILES.ca, osv.ca), file(TLS_FILES.cert, cert), file(TLS_FILES.key, key)]
  }

  #seed(): Seed {
    const { plan, addresses } = this.#context
    const nfs = plan.mounts.filter((mount) => mount.kind === 'nfs')
    return {
      instanceId: `leet-${plan.jobId}-${this.index}`,
      hostname: this.#guest.name,
      hosts: hostsOf(plan, addresses),
      interfaces: this.#network.interfaces,
      user: { ...plan.user, groups: [] },
      mounts: nfs.map((mount) => osvMount(mount, this.#servers, this.#network.serviceAddress)),
      files: this.#tlsFiles(),
      commands: [],
    }
  }

  #onConsoleLine(line: string): void {
    if (isSeedFailure(line)) this.#seedFailed.reject(this.#error('did not apply its seed', line))
    this.#channel?.consoleLine(line)
  }

  async #becomeReady(limits: WaitLimits): Promise<void> {
    const { plan } = this.#context
    const rest = this.#rest as OsvRest
    await this.#retry(limits, (each) => rest.uptime(each))
    // A disk that OSv cannot read is no failure to it. The host name is the last that every seed says.
    await this.#retry({ ...limits, deadline: limits.deadline.within(SEED_MS) }, async (each) => {
      const name = await rest.operatingSystem('hostname', each)
      if (name !== this.#guest.name) throw this.#error('did not apply its seed', `its host name is ${name}`)
    })
    for (const mount of plan.mounts) {
      if (mount.kind !== 'nfs') continue
      const deadline = limits.deadline.within(MOUNT_MS)
      // The mount point is there before the mount: it is empty.
      await this.#retry({ ...limits, deadline }, async (each) => {
        const entries = await rest.listDirectory(mount.path, each)
        if (entries.every(({ name }) => name === '.' || name === '..'))
          throw this.#error(`shows nothing at ${mount.path}`)
      }).catch((error) => {
        throw limits.signal?.aborted ? error : this.#error(`has not mounted ${mount.path}`, error.message)
      })
    }
  }

  async #retry(limits: WaitLimits, ask: (limits: WaitLimits) => Promise<unknown>): Promise<void> {
    for (let patience = TRY_MS; ; patience = Math.min(2 * patience, LONGEST_TRY_MS)) {
      try {
        await ask({ ...limits, deadline: limits.deadline.within(patience) })
        return
      } catch (error) {
        if (limits.signal?.aborted || limits.deadline.expired) throw error
      }
      await pause(TRY_PAUSE_MS, limits.signal)
    }
  }

  async #stageIn(limits: WaitLimits): Promise<void> {
    const { plan, log } = this.#context
    for (const directory of new Set(plan.programs.map(({ workDir }) => workDir))) {
      const stage = await planStageIn(directory, () => true, limits)
      if (stage.size > this.#guest.memory * STAGED_SHARE) {
        throw this.#error(
          `has no room for the ${Math.ceil(stage.size / 2 ** 20)} MiB of ${directory}`,
          'files are carried into its memory',
          'more --guest-memory, or a working directory with less in it',
        )
      }
      log.detail(
        `${this.#guest.name}: ${stage.entries.length} files of ${directory} are carried in, and results back`,
      )
      this.#staged.set(directory, await stageIn(this.#rest as OsvRest, stage, stagedPath(directory), limits))
    }
  }

  #error(what: string, why?: string, hint?: string): LeetError {
    return new LeetError({
      code: 'LEET_E_OSV_GUEST',
      where: this.#guest.name,
      what,
      ...(why ? { why } : {}),
      ...(hint ? { hint } : {}),
    })
  }
}

// OSv speaks NFS version 3 alone, whatever is best for other guests.
function osvMount(
  mount: PlanMount & { kind: 'nfs' },
  servers: readonly NfsServer[],
  nodeAddress: string,
): SeedMount {
  const address = addressOfServer(servers, mount)
  return {
    source: `${isLoopback(address) ? nodeAddress : address}:${mount.directory}`,
    path: mount.path,
    type: 'nfs',
    options: [],
    required: true,
  }
}

function isOnNfs({ mounts }: JobPlan, path: string): boolean {
  return mounts.some(
    (mount) => mount.kind === 'nfs' && (path === mount.path || path.startsWith(`${mount.path}/`)),
  )
}
