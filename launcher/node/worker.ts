// What a node agent does, as an interface: boots its guests, starts and feeds its ranks, and tells what happens.
// On a one-node job the controller calls it directly; with more nodes the same calls and events cross the agents' links.
import type { LeetError, ProcessIdentity, ResidentMemory, Scope } from '../../common/index.ts'
import type { Exchange, JobLayout, Preput, RankEnd } from '../../mpi-bridge/index.ts'
import type { StageLink } from '../images/osv/stage-links.ts'
import type { DiskFormat } from '../machines/spec.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'

/** An Ed25519 key in OpenSSH form. */
export interface KeyPair {
  readonly privateKey: string
  readonly publicKey: string
}

/** A certificate and its private key, PEM. */
export interface PemPair {
  readonly cert: string
  readonly key: string
}

/** What leads into Linux guests: the key that opens them, and the one by which their SSH servers are known. */
export interface LinuxAccess {
  readonly kind: 'linux'
  readonly clientKey: KeyPair
  readonly hostKey: Pick<KeyPair, 'publicKey'>
}

/** What leads into OSv guests. */
export interface OsvAccess {
  readonly kind: 'osv'
  /** The job's CA as PEM, and the client's part; undefined where their REST servers speak no TLS. */
  readonly tls?: { readonly ca: string; readonly client: PemPair }
}

/** What leads into guests that are up. */
export type GuestAccess = LinuxAccess | OsvAccess

/** Of guests that a job boots: what leads into them, what they prove themselves with, and what joins their nodes. */
export type GuestSecrets = LinuxSecrets | OsvSecrets

interface MeshSecret {
  /** For the cables between the switches of several nodes: 32 bytes, base64url. */
  readonly mesh?: string
}

/** Of Linux guests. */
export interface LinuxSecrets extends LinuxAccess, MeshSecret {
  readonly hostKey: KeyPair
}

/** Of OSv guests. */
export interface OsvSecrets extends OsvAccess, MeshSecret {
  /** `servers`: the part of each guest, by its index. */
  readonly tls?: NonNullable<OsvAccess['tls']> & { readonly servers: readonly PemPair[] }
}

/**
 * Secrets of a job; one that boots no guests has none. They travel only over authenticated, encrypted links and into
 * files of mode 0600.
 */
export type JobSecrets = GuestSecrets | { readonly kind: 'host' }

/** Where the parts of an image lie on a node. */
export interface LinuxImageFiles {
  readonly kernel: string
  readonly initrd: string
  readonly disk: string
}

/** A disk image that boots by itself, on a node. */
export interface DiskImageFile {
  readonly disk: string
  readonly format: DiskFormat
}

/** Where the parts of an OSv image lie on a node, and what it can do. */
export interface OsvImageFiles {
  /** undefined: the disk boots by itself. */
  readonly kernel: string | undefined
  readonly disk: string
  /** `raw` unless told. */
  readonly format?: DiskFormat
  /** Programs run with the compatibility library. */
  readonly compat: boolean
  /** Its REST server can speak TLS. */
  readonly tls: boolean
  readonly mountTool: 'mount-fs.so' | 'mount-nfs.so' | undefined
  /** Path in the guest of each program, by its path on the node. */
  readonly programs: Readonly<Record<string, string>>
  /** Through which a directory that was carried into the guest is found under its own path. */
  readonly links: readonly StageLink[]
}

/** The image of a job, by the kind of its guests. */
export type GuestImage =
  | ({ readonly kind: 'linux' } & LinuxImageFiles)
  /** Linux, with cloud-init. */
  | ({ readonly kind: 'disk' } & DiskImageFile)
  | ({ readonly kind: 'osv' } & OsvImageFiles)

/** What a node is told before it boots its guests. */
export interface BootOrder {
  readonly plan: JobPlan
  /** Index of the node. */
  readonly node: number
  /** undefined on the bare host. */
  readonly image: GuestImage | undefined
  /** Address of each guest of the job, by its index, as all nodes told them. */
  readonly addresses: readonly string[]
  readonly secrets: JobSecrets
  /** The guests stay for several jobs: their user may want to watch them. */
  readonly keep?: boolean
  /** Guests of a session, by their names, that are used as they are; undefined when the node boots its own. */
  readonly held?: { readonly access: GuestAccess; readonly guests: Readonly<Record<string, HeldGuest>> }
}

/** How a guest that is up is reached on its node. */
export interface HeldGuest {
  /** Port of its SSH server, or of OSv's REST server, at `host`: 127.0.0.1 of the node unless told. */
  readonly port: number
  readonly host?: string
  /** Address at which it reaches services that listen on the node's 127.0.0.1. */
  readonly serviceAddress: string
  /** Of an OSv guest: its hypervisor, and the file on its node that its console is written to. */
  readonly osv?: { readonly machine: ProcessIdentity; readonly console: string }
}

/** A rank to start: what the controller decides. The node adds the address of its PMI service. */
export interface RankOrder {
  /** Number of the process among all that this leet-mpirun starts: the ranks of the first job, then spawned ones. */
  readonly task: number
  /** Its rank in its job. */
  readonly rank: number
  /** The guest that it runs in. */
  readonly guest: number
  readonly argv: readonly [string, ...string[]]
  readonly environment: Readonly<Record<string, string>>
  readonly workDir: string
  readonly stdin: boolean
  /** Give it a pseudo-terminal as stdout, so that C programs buffer by line. */
  readonly terminal: boolean
}

/** What a node tells the controller. */
export type NodeEvent =
  /** The address that a guest of this node will have, told before `reserve` resolves. */
  | { readonly kind: 'address'; readonly guest: number; readonly address: string }
  | { readonly kind: 'guest'; readonly guest: number; readonly state: GuestState; readonly detail?: string }
  /** The machine of a guest that is ready; `why` it is emulated, if it is. */
  | { readonly kind: 'machine'; readonly guest: number; readonly accelerator: string; readonly why?: string }
  /** What the hypervisor of a guest takes of the node's memory. */
  | ({ readonly kind: 'resident'; readonly guest: number } & ResidentMemory)
  /** A guest is up and can be reached so. */
  | ({ readonly kind: 'held'; readonly guest: number } & HeldGuest)
  | { readonly kind: 'guest-lost'; readonly guest: number; readonly error: LeetError }
  /** To which processors a rank will be bound, told before it begins when the plan says something of binding. */
  | { readonly kind: 'bound'; readonly task: number; readonly how: string }
  | { readonly kind: 'began'; readonly task: number; readonly pid: number }
  | {
      readonly kind: 'output'
      readonly task: number
      readonly stream: 'stdout' | 'stderr'
      readonly data: Uint8Array
    }
  | { readonly kind: 'ended'; readonly task: number; readonly end: RankEnd }
  | { readonly kind: 'failed'; readonly task: number; readonly error: LeetError }

/** Stages of a guest, in order; `detail` of the event tells more. One that is `hung` is at `starting` again. */
export type GuestState = 'hung' | 'starting' | 'booting' | 'contextualised' | 'ready' | 'stopped'

/** One node of a job at work. Calls reject with LeetError; events come through the listener given at creation. */
export interface NodeWorker {
  /** Takes addresses for the node's guests, which are told as events, and checks that the node can have them. */
  reserve(plan: JobPlan, node: number, signal: AbortSignal): Promise<void>
  /** Boots the node's guests; resolves when every one is ready. */
  boot(order: BootOrder, signal: AbortSignal): Promise<void>
  /** Has the node's guests prove that they reach the next guest and their process manager. After all nodes' `boot`. */
  prove(signal: AbortSignal): Promise<void>
  /** Opens the process manager for a job's ranks on this node. */
  openJob(layout: JobLayout, preput: readonly Preput[]): Promise<void>
  /** Starts ranks; resolves when all were handed over. Rejects when the ranks of this node are being ended. */
  start(job: string, ranks: readonly RankOrder[]): Promise<void>
  /** Input for a task; resolves when more may be given. */
  write(task: number, data: Uint8Array): Promise<void>
  endInput(task: number): void
  /**
   * Ends all ranks: asks them to, and kills what is left after `graceMs`. From now on none can be started; one that is
   * being started is killed. May be called again with less time.
   */
  end(graceMs: number): void
  /** Passes a signal of the user on to the process groups of tasks. */
  signal(signal: NodeJS.Signals, tasks: readonly number[] | 'all'): void
  /** Output of ranks stops or goes on, so that a slow reader does not fill memory. */
  holdOutput(hold: boolean): void
  /**
   * Reads what the ranks wrote in guests that cannot share a directory with their node. After the last rank. What `signal` leaves
   * no time for is kept where it can be, and the error says where.
   */
  collect(signal: AbortSignal): Promise<void>
  /**
   * Brings that into the user's directories: also what came before `collect` failed. One node after the other, since each must
   * see what another has brought. What `signal` leaves no time for is kept, and the error says where.
   */
  merge(signal: AbortSignal): Promise<void>
  /** Ends ranks and guests and leaves nothing. */
  stop(): Promise<void>
}

/**
 * Boots the guests of all nodes; resolves when every one is ready and reaches the others. `orderOf` is asked once all
 * addresses were told.
 */
export async function bootGuests(
  plan: JobPlan,
  workers: readonly NodeWorker[],
  orderOf: (node: number) => BootOrder,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(workers.map((worker, node) => worker.reserve(plan, node, signal)))
  await Promise.all(workers.map((worker, node) => worker.boot(orderOf(node), signal)))
  await Promise.all(workers.map((worker) => worker.prove(signal)))
}

/** What a worker is made with. */
export interface WorkerContext {
  /** With which all that is made for the node ends, if the worker was not stopped before. */
  readonly scope: Scope
  readonly exchange: Exchange
  readonly emit: (event: NodeEvent) => void
}

export type { GuestPlan }
