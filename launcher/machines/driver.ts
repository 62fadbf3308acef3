// What launches QEMU, as an interface: this process itself, or libvirt. What follows is the same whoever did.
import type { Duplex } from 'node:stream'
import type { Log, Scope, WaitLimits } from '../../common/index.ts'
import type { Journal } from '../journal/journal.ts'
import type { BootWatch } from './boot-watch.ts'
import type { Accelerator, MachineSpec } from './spec.ts'

/** What `startMachine` needs besides the specification. */
export interface MachineContext extends WaitLimits {
  /** With which the machine ends. */
  readonly scope: Scope
  readonly journal: Journal
  readonly log: Log
  /** From `findQemu`. */
  readonly qemu: string
  /** From `chooseAccelerator`. */
  readonly accelerator: Accelerator
  /** Who launches QEMU: this process unless told. */
  readonly driver?: MachineDriver
  /** Looks from the start of the hypervisor on whether the machine comes forward. */
  readonly watch?: BootWatch
  /** Sees every console line from the first on: clean, without its newline. */
  readonly onConsoleLine?: (line: string) => void
}

/** A way to have QEMU run. */
export interface MachineDriver {
  /** Launches QEMU for a checked specification; nothing runs after a rejection. */
  launch(spec: MachineSpec, context: MachineContext): Promise<LaunchedMachine>
}

/** A QEMU that runs, as its driver hands it over. */
export interface LaunchedMachine {
  readonly pid: number
  readonly qmp: Duplex
  readonly console: Duplex
  kill(): void
  /** Resolves, with how, when QEMU is gone. */
  readonly ended: Promise<string>
  /** The last that QEMU said on stderr, where that can be read. */
  said(): string
  /** Its interfaces are in their bridges already. */
  readonly plugged: boolean
  /** Its threads are on the processors of its placement already. */
  readonly placed: boolean
}
