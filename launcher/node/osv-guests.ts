// OSv guests of one node under QEMU: seed, machine, and the wait until REST answers and the seed was applied.
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import {
  abortReason,
  atMost,
  Deadline,
  eachInTurn,
  identify,
  LeetError,
  messageOf,
  pause,
  type Scope,
  type WaitLimits,
  waitFor,
} from '../../common/index.ts'
import { osvSeed, type Seed, type SeedFile, type SeedMount, seedIso } from '../../contextualise/index.ts'
import {
  isMountFailure,
  isSeedFailure,
  isServing,
  mountedAt,
  type OsvChannel,
  type OsvLook,
  type OsvRest,
  openOsvChannel,
  type RankListener,
} from '../../mpi-bridge/index.ts'
import {
  OSV_MACHINE_TYPE,
  OSV_REST_PORT,
  type OsvBoot,
  osvCommandLine,
  osvDisks,
} from '../images/osv/boot.ts'
import { isOnDisk, WORK_MOUNT } from '../images/osv/stage-links.ts'
import { type BootWatch, isProgress } from '../machines/boot-watch.ts'
import type { Machine } from '../machines/machine.ts'
import type { Disk, MachineSpec, Placement } from '../machines/spec.ts'
import type { GuestNetwork } from '../networks/guest-network.ts'
import { explainNfsFailure } from '../nfs/failures.ts'
import { addressOfServer, type NfsServer } from '../nfs/servers.ts'
import { isLoopback, type PlanMount, workDirWay } from '../plan/mounts.ts'
import { hostsOf } from '../plan/network.ts'
import type { GuestPlan } from '../plan/plan.ts'
import { type BootTry, bootAgain, type MachineParts } from './boot-again.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import type { OpenNetwork } from './node-network.ts'
import { osvRestOf } from './osv-rest.ts'
import { OsvStaging } from './osv-staging.ts'
import { describePlacement } from './placement.ts'
import { type FetchedResults, mergeResults, notAllBack } from './results.ts'
import { type CarriedDirectory, planStaging, stageRoots } from './stage-roots.ts'
import {
  lastWords,
  lostWith,
  type MachinesContext,
  prepareMachines,
  withConsole,
} from './virtual-machines.ts'
import { WorkDisk } from './work-disk.ts'
import type { GuestState, OsvImageFiles, OsvSecrets, PemPair } from './worker.ts'

/** What OSv guests are made with. */
export interface OsvGuestsContext extends MachinesContext {
  readonly secrets: OsvSecrets
  readonly image: OsvImageFiles
  /** Whether a session keeps them, for the ranks of several jobs. */
  readonly keep: boolean
}

/** What libext says when all has been written (ext_vfsops.cc). */
const UNMOUNTED = '[ext4] Unmounted'

/** Paths in the guest. */
const TLS_FILES = {
  ca: '/tmp/leet-ca.pem',
  cert: '/tmp/leet-server.pem',
  key: '/tmp/leet-server.key',
} as const
/** One try of a request: a TLS handshake takes a busy, emulated guest seconds. */
const TRY_MS = 8_000
/** A console that does not say that the server is there may be another OSv's: then it is asked. */
const SILENCE_MS = 10_000
const TRY_PAUSE_MS = 20
/** How long a guest whose REST server answers may take to apply its seed. */
const SEED_MS = 60_000
/** How long a guest may take to unmount its file systems and end, and what is left of it to be read, in milliseconds. */
const SHUTDOWN_MS = 10_000
const ENDED_MS = 1_000
const READ_MS = 600_000
/** How long a mount may take to show the server's entries; that it failed is said on the console. */
const MOUNT_MS = 60_000

/** The OSv guests of this node; nothing is started yet. */
export function osvGuests(context: OsvGuestsContext): NodeGuests {
  const { guests, journal, log } = context
  return {
    async boot(scope, onState, limits) {
      const carries = !context.keep && guests.some((guest) => workDirWay(context.plan, guest) === 'carried')
      const control = { port: OSV_REST_PORT, unprotected: !context.secrets.tls }
      const [prepared, stages] = await Promise.all([
        prepareMachines(context, control, scope, limits),
        carries ? planStaging(context.mirror?.roots ?? stageRoots(context.plan), limits) : [],
      ])
      const { qemu, accelerator, whyEmulated, driver, network, servers } = prepared
      const parts = { journal, log, qemu, accelerator, driver }
      return scope.each(guests, nameOf, async (plan, own, index) => {
        const guest = new OsvGuest(
          context,
          plan,
          network.guests[index] as GuestNetwork,
          context.placements[index],
          network.ended,
          servers,
          stages,
          (state, detail) => onState(plan.index, state, detail),
          whyEmulated,
        )
        await guest.boot(parts, own, limits)
        return guest
      })
    },
  }
}

const nameOf = ({ name }: GuestPlan) => name

class OsvGuest implements NodeGuest {
  readonly index: number
  readonly serviceHost = '127.0.0.1'
  readonly serviceAddress: string
  readonly switchesUser = false
  // The channel tells the end of the guest, since an exit there may be the end of a rank.
  readonly channelExplains = true
  readonly #context: OsvGuestsContext
  readonly #guest: GuestPlan
  readonly #network: GuestNetwork
  readonly #placement: Placement | undefined
  readonly #networkEnded: OpenNetwork['ended']
  readonly #servers: readonly NfsServer[]
  readonly #stages: readonly CarriedDirectory[]
  readonly #onState: (state: GuestState, detail?: string) => void
  readonly #whyEmulated: string | undefined
  readonly #nonce = randomBytes(8).toString('hex')
  #scope: Scope | undefined
  #unmounted = false
  #staging: OsvStaging | undefined
  #disk: WorkDisk | undefined
  readonly #fetched: FetchedResults[] = []
  #machine: Machine | undefined
  #accelerator = ''
  #rest: OsvRest | undefined
  #channel: OsvChannel | undefined

  constructor(
    context: OsvGuestsContext,
    guest: GuestPlan,
    network: GuestNetwork,
    placement: Placement | undefined,
    networkEnded: OpenNetwork['ended'],
    servers: readonly NfsServer[],
    stages: readonly CarriedDirectory[],
    onState: (state: GuestState, detail?: string) => void,
    whyEmulated: string | undefined,
  ) {
    this.index = guest.index
    this.serviceAddress = network.serviceAddress
    this.#context = context
    this.#guest = guest
    this.#network = network
    this.#placement = placement
    this.#networkEnded = networkEnded
    this.#servers = servers
    this.#stages = stages
    this.#onState = onState
    this.#whyEmulated = whyEmulated
  }

  async boot(parts: MachineParts, scope: Scope, limits: WaitLimits): Promise<void> {
    const { plan, image, journal, keep, log } = this.#context
    if (!keep) this.#staging = this.#stagingOf()
    const onDisk = this.#stagesOf('disk')
    if (onDisk.length > 0) {
      const own = { journal, scope, guest: this.#guest.name }
      this.#disk = await WorkDisk.make(onDisk, own, scope.within(limits))
    }
    const carried = await this.#staging?.seed()
    const seed = osvSeedOf(this.#context, this.#guest, this.#network, this.#servers, carried)
    const seedFile = journal.path(`g${this.index}.seed.iso`)
    writeFileSync(seedFile, seedIso(seed, { kind: 'osv', mountTool: image.mountTool }), {
      mode: 0o600,
      flag: 'wx',
    })
    const removeSeed = () => rmSync(seedFile, { force: true })
    scope.onEnd('the seed of a guest', removeSeed)
    for (const sentence of osvSeed(seed, image.mountTool).unsaid) {
      this.#context.log.detail(`${this.#guest.name}: ${sentence}`)
    }
    const { patience, retries } = plan.limits
    const machine = await bootAgain(
      { guest: this.#guest, retries, patience, log, onState: this.#onState },
      scope,
      (attempt) => this.#try(attempt, parts, seed, seedFile),
      limits,
    )
    // It holds the key of the guest's server, and the guest has read it.
    removeSeed()
    // What its console said of the end the channel knows, and tells apart from what was said at boot.
    machine.exited.then(({ cause }) => this.#channel?.guestEnded(cause))
    await this.#staging?.stageIn(this.#rest as OsvRest, this.scope.within(limits))
    this.#onState('ready', plan.mounts.length > 0 ? 'mounts checked' : undefined)
  }

  async #try(
    { watch, scope, limits, start }: BootTry,
    parts: MachineParts,
    seed: Seed,
    seedFile: string,
  ): Promise<Machine> {
    const { image, journal } = this.#context
    this.#onState('starting', describePlacement(this.#placement))
    const layer = journal.path(`g${this.index}.qcow2`)
    if (image.kernel === undefined) {
      const { makeOsvLayer } = await import('./osv-disk.ts')
      const own = { disk: image.disk, format: image.format ?? 'raw' }
      await makeOsvLayer(layer, own, (root) => commandLineOf(image, seed, { root }), limits)
    }
    const spec = osvMachine(this.#guest, this.#network, image, seed, {
      seed: seedFile,
      console: journal.path(`g${this.index}.console`),
      layer,
      work: this.#disk?.path,
    })
    const serving = Promise.withResolvers<void>()
    const mounted = new Set<string>()
    const machine = await start(this.#placement ? { ...spec, placement: this.#placement } : spec, {
      ...parts,
      onConsoleLine: (line) => {
        if (isProgress(line)) watch.progress()
        if (isSeedFailure(line)) scope.fail(this.#seedFailure(line))
        if (isServing(line)) serving.resolve()
        const path = mountedAt(line)
        if (path !== undefined) mounted.add(path)
        if (line.startsWith(UNMOUNTED)) this.#unmounted = true
      },
    })
    machine.console.watch((data) => this.#channel?.consoleData(data))
    this.#scope = scope
    this.#machine = machine
    this.#accelerator = parts.accelerator
    this.#onState('booting')
    this.#rest = osvRestOf(this.#guest.name, this.#address(machine), this.#context.secrets)
    this.#rest.prepare()
    // All that asks it something hears that it is gone.
    machine.exited.then(({ error }) => scope.fail(error ?? this.#error('was stopped')))
    const ready = this.#becomeReady(limits, serving.promise, mounted, watch)
    await waitFor(ready, limits, {
      what: 'the guest’s REST server',
      where: this.#guest.name,
    }).catch((error) => {
      throw withConsole(error, machine)
    })
    return machine
  }

  get scope(): Scope {
    return this.#scope as Scope
  }

  get machine() {
    const machine = this.#machine
    return machine && { accelerator: this.#accelerator, whyEmulated: this.#whyEmulated, pid: machine.pid }
  }

  async openChannel(
    listener: RankListener,
    _limits: WaitLimits,
    askToEnd: () => boolean,
  ): Promise<OsvChannel> {
    this.#disk?.inUse()
    this.#channel = openOsvChannel({
      ...{ scope: this.scope, listener, askToEnd, hasDisk: this.#disk !== undefined },
      rest: this.#rest as OsvRest,
      log: this.#context.log,
      compat: this.#context.image.compat,
      nonce: this.#nonce,
      newProgram: !this.#context.plan.mounts.some(({ kind }) => kind === 'nfs'),
    })
    return this.#channel
  }

  get line(): NodeGuest['line'] {
    return this.#machine
  }

  get lost(): Promise<LeetError> {
    // Of guests that are kept nobody has a channel with ranks that would tell.
    if (this.#context.keep) return lostWith(this.#machine as Machine, this.#networkEnded)
    return this.#networkEnded ?? new Promise(() => {})
  }

  get door(): NodeGuest['door'] {
    const machine = this.#machine
    const identity = machine && identify(machine.pid)
    if (!machine || !identity) return undefined
    return { ...this.#address(machine), osv: { machine: identity, console: machine.console.file } }
  }

  place(argv: readonly [string, ...string[]], workDir: string) {
    return this.#staging?.place(argv, workDir) ?? { argv, workDir }
  }

  async collect(limits: WaitLimits): Promise<void> {
    // In turn: what reads the disk ends the guest.
    await eachInTurn([() => this.#readMemory(limits), () => this.#readDisk(limits)])
  }

  async merge(signal: AbortSignal): Promise<void> {
    const own = { guest: this.#guest.name, log: this.#context.log }
    const all = this.#fetched.splice(0)
    await eachInTurn(all.map((fetched) => () => mergeResults(fetched, own, signal)))
  }

  async #readMemory(limits: WaitLimits): Promise<void> {
    const own = { journal: this.#context.journal, scope: this.scope }
    const carried = await this.#staging?.fetch(this.#rest as OsvRest, own, limits)
    if (carried) this.#fetched.push(carried)
  }

  // However the job ended: what the ranks wrote is not to be lost with it.
  async #readDisk({ signal }: WaitLimits): Promise<void> {
    const disk = this.#disk
    if (!disk) return
    const { name } = this.#guest
    const clean = await this.#shutDown()
    if (!clean) {
      this.#context.log.warn(
        `${name} ended before its file systems were unmounted: what its ranks wrote last may be missing`,
      )
    }
    const fetched = await disk.fetch(clean, { deadline: Deadline.after(READ_MS), signal }).catch((error) => {
      throw notAllBack(name, disk.kept, messageOf(error), error)
    })
    this.#fetched.push(fetched)
  }

  /** Ends the guest so that its file systems are whole; false when it was gone, or had to be killed. */
  async #shutDown(): Promise<boolean> {
    const machine = this.#machine as Machine
    const limits = { deadline: Deadline.after(SHUTDOWN_MS) }
    await this.#channel?.close(limits)
    // One whose ranks had to end has been powered off.
    const isOff = this.#channel?.ended ?? false
    if (!isOff) await (this.#rest as OsvRest).shutDown(limits).catch(() => {})
    const deadline = isOff ? Deadline.after(ENDED_MS) : limits.deadline
    const subject = { what: 'the guest to unmount its file systems' }
    const ended = await waitFor(machine.exited, { deadline }, subject).catch(() => undefined)
    if (!ended) await machine.stop({ deadline: Deadline.after(0) })
    return ended?.reason === 'shutdown' && this.#unmounted
  }

  get #readsNfs(): boolean {
    return workDirWay(this.#context.plan, this.#guest) === 'nfs'
  }

  async #becomeReady(
    limits: WaitLimits,
    serving: Promise<void>,
    mounted: ReadonlySet<string>,
    watch: BootWatch,
  ): Promise<void> {
    const { plan } = this.#context
    const rest = this.#rest as OsvRest
    // QEMU accepts connections before its guest does, and a handshake that is given up costs an emulated guest as much as one
    // that succeeds: nothing is asked before the server says that it is there.
    await atMost(SILENCE_MS, serving, undefined, limits.signal)
    const mounts = plan.mounts.filter(({ kind }) => kind === 'nfs').map(({ path }) => path)
    const paths = [...mounts, ...(this.#disk ? [WORK_MOUNT] : [])]
    const look = (each: WaitLimits) => rest.look(paths, each)
    let seen = await this.#retry(limits, look)
    this.#onState('booting', 'REST answers')
    watch.progress('its set-up, after REST answered')
    // A seed that OSv cannot read is no failure to it. The host name is the last that every seed says, but for mounts.
    if (seen.hostname !== this.#guest.name) {
      seen = await this.#retry({ ...limits, deadline: limits.deadline.within(SEED_MS) }, async (each) => {
        const now = await look(each)
        if (now.hostname === this.#guest.name) return now
        throw this.#error('did not apply its seed', `its host name is ${now.hostname}`)
      })
    }
    this.#onState('contextualised')
    // A guest that answers does not hang, and what is asked from here on has limits of its own.
    watch.stop()
    // A mount that fails OSv only prints.
    if (this.#disk && seen.directories.at(-1)?.entries.length === 0) {
      const said = lastWords(this.#machine as Machine)
      throw this.#error('has not mounted the disk with the working directory', said)
    }
    const missing = ({ directories }: OsvLook) =>
      mounts.find((path, index) => !mounted.has(path) && !showsMount(path, directories[index]))
    if (missing(seen) === undefined) return
    await this.#retry({ ...limits, deadline: limits.deadline.within(MOUNT_MS) }, async (each) => {
      const path = missing(await look(each))
      if (path !== undefined) throw this.#error(`has not mounted ${path}`, 'it shows nothing there')
    })
  }

  async #retry<T>(limits: WaitLimits, ask: (limits: WaitLimits) => Promise<T>): Promise<T> {
    for (let patience = TRY_MS; ; patience *= 2) {
      try {
        return await ask({ ...limits, deadline: limits.deadline.within(patience) })
      } catch (error) {
        if (limits.signal?.aborted) throw abortReason(limits.signal)
        if (limits.deadline.expired) throw error
      }
      await pause(TRY_PAUSE_MS, limits.signal)
    }
  }

  #address(machine: Machine): { readonly host: string; readonly port: number } {
    const { address, control } = this.#network
    if (control.direct) return { host: address, port: control.port }
    return { host: '127.0.0.1', port: machine.forwardedPort(control.nic, control.port) }
  }

  /** The working directories that are carried in on a disk, or into the guest's memory. */
  #stagesOf(where: 'disk' | 'memory'): readonly CarriedDirectory[] {
    const { plan, image, keep } = this.#context
    if (keep || workDirWay(plan, this.#guest) !== 'carried') return []
    return this.#stages.filter(({ directory }) => isOnDisk(image.links, directory) === (where === 'disk'))
  }

  #stagingOf(): OsvStaging {
    const { plan, image, log } = this.#context
    if (this.#readsNfs) {
      log.detail(`${this.#guest.name}: the working directory is read over NFS by its one rank`)
    }
    return new OsvStaging({ plan, stages: this.#stagesOf('memory'), image, log, guest: this.#guest })
  }

  /** OSv does not say which of several mounts failed. */
  #seedFailure(line: string): LeetError {
    const what = 'did not apply its seed'
    const [mount, another] = this.#context.plan.mounts.filter(({ kind }) => kind === 'nfs')
    if (mount?.kind !== 'nfs' || another || !isMountFailure(line)) return this.#error(what, line)
    const { why, hint } = explainNfsFailure(line, `${mount.server}:${mount.directory}`)
    return this.#error(what, why, hint)
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

/**
 * Whether a directory is one that was mounted. An export may be empty, and the mount point is there before the mount: empty too,
 * and on the read-only image without a time. mount-fs.so says on the console that it has mounted, mount-nfs.so says nothing.
 */
function showsMount(path: string, seen: OsvLook['directories'][number] | undefined): boolean {
  if (!seen) return false
  return seen.entries.length > 0 || (seen.modified !== 0 && !path.startsWith('/tmp/'))
}

/** What a guest is told at its first boot. */
export function osvSeedOf(
  { plan, addresses, secrets }: Pick<OsvGuestsContext, 'plan' | 'addresses' | 'secrets'>,
  guest: GuestPlan,
  network: GuestNetwork,
  servers: readonly NfsServer[],
  carried: Pick<Seed, 'directories'> & { readonly files?: readonly SeedFile[] } = {},
): Seed {
  return {
    instanceId: `leet-${plan.jobId}-${guest.index}`,
    hostname: guest.name,
    hosts: hostsOf(plan, addresses),
    interfaces: network.interfaces,
    user: { ...plan.user, groups: [] },
    mounts: plan.mounts.flatMap((mount) =>
      mount.kind === 'nfs' ? [osvMount(mount, servers, network.serviceAddress)] : [],
    ),
    files: [...tlsFiles(secrets, guest), ...(carried.files ?? [])],
    ...(carried.directories ? { directories: carried.directories } : {}),
    commands: [],
  }
}

/** The virtual machine of a guest with this seed; `layer` is its own over a disk that boots by itself. */
export function osvMachine(
  { name, memory, cpus }: GuestPlan,
  { nics }: GuestNetwork,
  image: Pick<OsvImageFiles, 'kernel' | 'disk' | 'format' | 'mountTool'>,
  seed: Seed,
  files: {
    readonly seed: string
    readonly console: string
    readonly layer?: string
    readonly work?: string | undefined
  },
): MachineSpec {
  const { kernel, disk, format = 'raw' } = image
  const workMount = files.work === undefined ? undefined : WORK_MOUNT
  const [root, ...more] = osvDisks(disk, files.seed, files.work) as [Disk, ...Disk[]]
  const base = { path: disk, format }
  return {
    name,
    memory,
    cpus,
    machineType: OSV_MACHINE_TYPE,
    ...(kernel === undefined
      ? {
          disks: [
            { ...root, path: files.layer as string, format: 'qcow2', base, readonly: false, bootIndex: 0 },
            ...more,
          ],
        }
      : {
          kernel: { image: kernel, commandLine: commandLineOf(image, seed, { workMount }) },
          disks: [root, ...more],
        }),
    nics,
    shares: [],
    consoleFile: files.console,
  }
}

function commandLineOf(
  { mountTool }: Pick<OsvImageFiles, 'mountTool'>,
  seed: Seed,
  more: Pick<OsvBoot, 'root' | 'workMount'>,
): string {
  const { commandLine } = osvSeed(seed, mountTool)
  const tls = seed.files.some(({ path }) => path === TLS_FILES.key) ? { tls: TLS_FILES } : {}
  return osvCommandLine({ network: commandLine, ...more, ...tls })
}

/** The server's part of TLS, where the seed may put files: in the guest's memory. */
function tlsFiles({ tls }: OsvSecrets, { index }: GuestPlan): SeedFile[] {
  if (!tls) return []
  const { cert, key } = tls.servers[index] as PemPair
  const file = (path: string, content: string): SeedFile => ({ path, content, mode: 0o600, owner: 'root' })
  return [file(TLS_FILES.ca, tls.ca), file(TLS_FILES.cert, cert), file(TLS_FILES.key, key)]
}

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
    options: mount.options,
    required: true,
  }
}
