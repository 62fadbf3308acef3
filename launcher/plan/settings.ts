// What the user asked for, as typed values: what a plan is made from. cli/settings.ts makes them of words.

import type { BindingWish, LineTags, MapBy, OutputFiles, RankBy } from '../../mpi-bridge/index.ts'
import type { SchedulerName } from '../../scheduler-adapters/index.ts'
import type { MountRequest, StageTime } from './mounts.ts'

/** What the user said about nodes. */
export interface AllocationWishes {
  readonly hostfile?: string
  /** Words of `-H`, joined by commas. */
  readonly hosts?: string
  readonly scheduler?: SchedulerName
}

/** Whether vCPUs are put on processors of their own; `auto`: where the job has only some of its node's. */
export type Pinning = 'auto' | 'yes' | 'no'

/** What runs the guests: QEMU as a child of LEET, or a libvirtd of each node. */
export type Hypervisor =
  | { readonly kind: 'qemu' }
  | { readonly kind: 'libvirt'; readonly uri: 'qemu:///session' | 'qemu:///system' }

/** What a guest is: a Linux virtual machine, or no guest at all (the bare host). */
export type GuestKind = 'linux' | 'osv' | 'host'

/** Which process manager's environment the ranks are given; `auto` asks the program's libraries. */
export type MpiChoice = 'auto' | 'openmpi' | 'mpich' | 'none'

/** What --display can show. */
export const DISPLAYS = ['allocation', 'bindings', 'env', 'map'] as const
export type Display = (typeof DISPLAYS)[number]

/** Who reads the user's standard input. */
export type StdinChoice = number | 'all' | 'none'

/** One program of the job. */
export interface ProgramSettings {
  readonly argv: readonly [string, ...string[]]
  /** undefined: one per slot that is left. */
  readonly ranks: number | undefined
  readonly workDir: string | undefined
  /** `NAME` or `NAME=VALUE`. */
  readonly exports: readonly string[]
  /** Whether ranks get the user's own variables too. */
  readonly inherits: boolean
}

/** What is done to the variables of all ranks, one after the other, when all else has been said of them. */
export type EnvironmentEdit =
  | { readonly how: 'set'; readonly name: string; readonly value: string }
  /** `NAME*`: all that begin so. */
  | { readonly how: 'unset'; readonly name: string }
  | {
      readonly how: 'prepend' | 'append'
      readonly name: string
      readonly value: string
      readonly separator: string
    }

/** Everything the user asked for. undefined: not said, the plan decides. */
export interface Settings {
  readonly programs: readonly ProgramSettings[]
  readonly allocation: AllocationWishes
  readonly ppn: number | undefined
  readonly placement: {
    readonly mapBy: MapBy | undefined
    readonly rankBy: RankBy | undefined
    readonly binding: BindingWish | undefined
  }
  /** What is shown before the start. */
  readonly display: ReadonlySet<Display>
  readonly mpi: MpiChoice
  readonly guest: {
    readonly kind: GuestKind
    /** Whether anybody has said that kind. */
    readonly kindSaid: boolean
    readonly count: number | undefined
    /** Bytes. */
    readonly memory: number | undefined
    readonly cpus: number | undefined
    /** Milliseconds. */
    readonly bootTimeout: number
    /** Milliseconds. */
    readonly bootPatience: number
    readonly bootRetries: number
    readonly hypervisor: Hypervisor
    readonly pinning: Pinning
    /** OSv guests may have a REST server without TLS. */
    readonly insecureApi: boolean
  }
  /** Name of a session, or `none`; undefined: that of the job, if there is one. */
  readonly session: string | undefined
  /** OSv guests may serve more than one job. */
  readonly reuseGuests: boolean
  readonly network: {
    readonly mode: 'auto' | 'user' | 'local' | 'mesh' | 'bridge'
    /** Name of the bridge, in mode `bridge`. */
    readonly bridge: string | undefined
    readonly subnet: string
  }
  readonly mounts: Pick<MountRequest, 'wishes' | 'shareBy'>
  /** Names or paths of profiles, `auto` or `none`; empty: not said. */
  readonly profiles: readonly string[]
  readonly image: {
    readonly name: string | undefined
    readonly files: readonly string[]
    readonly kernel: string | undefined
    readonly modules: string | undefined
    /** Of OSv: its base, by id, or the directory that its build wrote; undefined: the one imported last. */
    readonly osvBase: string | undefined
    /** Put the compatibility library into OSv images. */
    readonly osvCompat: boolean
  }
  /** What is carried into OSv guests and back: paths and patterns. */
  readonly staging: {
    /** `auto`: the working directory, where guests cannot read it by NFS. */
    readonly when: StageTime
    /** Carried besides. */
    readonly add: readonly string[]
    /** Of the working directory only this; undefined: all. */
    readonly only?: readonly string[]
    /** What comes back; undefined: all that was changed. */
    readonly out?: readonly string[]
  }
  readonly finalizeRescue: boolean
  /** Milliseconds. */
  readonly timeout: number | undefined
  readonly treeWidth: number
  /** Milliseconds. */
  readonly controllerTimeout: number
  readonly output: {
    readonly tags: LineTags
    /** Standard error of the ranks goes to standard output. */
    readonly merge: boolean
    readonly files: OutputFiles | undefined
  }
  readonly stdin: StdinChoice
  readonly environmentEdits: readonly EnvironmentEdit[]
  /** Directories before PATH in which programs are looked for. */
  readonly path: string | undefined
  /** MPI_UNIVERSE_SIZE; undefined: none. */
  readonly universe: number | 'system' | undefined
  /** The only rank whose output is shown; undefined: all. */
  readonly outputFrom: number | undefined
  /** Say how each rank ended even when all went well. */
  readonly exitCodes: boolean
  readonly reportBindings: boolean
  /** Signals that are passed on to the ranks. */
  readonly forwardSignals: readonly NodeJS.Signals[]
  /** What was accepted without effect, and why. */
  readonly notes: readonly string[]
  readonly events: string | undefined
  readonly dryRun: boolean
  /** Decide and show, but start nothing. */
  readonly doNotLaunch: boolean
  readonly verbose: boolean
  readonly timings: boolean
}
