// A running virtual machine, whoever launched its QEMU: followed and ended through its QMP connection, its console kept.

import { Deadline, LeetError, type Log, type WaitLimits, waitFor } from '../../common/index.ts'
import { cleanLine, GuestConsole } from './console.ts'
import type { LaunchedMachine, MachineContext } from './driver.ts'
import { pinVcpus } from './pinning.ts'
import { qemuDriver } from './qemu-driver.ts'
import { QmpClient, type QmpEvent } from './qmp.ts'
import { checkMachineSpec, type MachineSpec } from './spec.ts'
import { plugTaps } from './taps.ts'
import { type Forward, parseUsernet } from './usernet.ts'

/** Why a machine is no longer there. */
type MachineExitReason =
  /** `stop` was called. */
  | 'stopped'
  /** The guest powered itself off. */
  | 'shutdown'
  /** The guest reset itself, which is what a kernel that panics with `panic=-1` does. */
  | 'reset'
  /** The guest's kernel panicked. */
  | 'panic'
  /** QEMU halted the guest: `internal-error` (KVM), `io-error` (a disk is full). */
  | 'halted'
  /** QEMU itself ended or was ended. */
  | 'qemu'

/** How a machine ended. */
interface MachineExit {
  readonly reason: MachineExitReason
  /** What happened, in a few words, without the console. */
  readonly cause: string
  /** Says what happened, with the last console lines; undefined when `stop` was called. */
  readonly error: LeetError | undefined
}

/** A virtual machine whose QEMU runs. */
export interface Machine {
  readonly name: string
  /** Of QEMU. */
  readonly pid: number
  readonly console: GuestConsole
  /** Types on the serial console; lost when the guest is gone. */
  type(bytes: Uint8Array): void
  /** Resolves when the machine has ended, for whatever reason; never rejects. */
  readonly exited: Promise<MachineExit>
  /** Port of 127.0.0.1 that leads to a port of the guest; `LEET_E_MACHINE` when the specification has no such forward. */
  forwardedPort(nic: string, guestPort: number): number
  /** Ends QEMU, without asking the guest. Resolves when it has ended; a QEMU that does not quit in time is killed. */
  stop(limits: WaitLimits): Promise<MachineExit>
}

/**
 * Starts a machine. Resolves as soon as QEMU runs and its ports are known, which is long before the guest is up.
 * `LEET_E_MACHINE` when QEMU refuses, with what it says; `LEET_E_GUEST_HUNG`; `LEET_E_DEADLINE`; the signal's reason. Nothing runs after a
 * rejection.
 */
export async function startMachine(spec: MachineSpec, context: MachineContext): Promise<Machine> {
  checkMachineSpec(spec)
  const { scope } = context
  const limits = scope.within(context)
  scope.check()
  const launched = await (context.driver ?? qemuDriver).launch(spec, { ...context, ...limits })
  const machine = new RunningMachine(spec, launched, context)
  scope.onEnd(`the machine of ${spec.name}`, async (ending) => void (await machine.stop(ending)))
  try {
    const started = machine.start(spec, limits)
    context.watch?.start(machine.pid)
    await Promise.race([started, ...(context.watch ? [context.watch.hung] : [])])
    context.watch?.progress('its boot')
    return machine
  } catch (error) {
    if (error instanceof LeetError && error.code === 'LEET_E_QMP') {
      // What QEMU says on its way out explains more than a connection that ended.
      const limits = { deadline: Deadline.after(QUIT_MS) }
      const exit = await waitFor(machine.exited, limits, { what: 'QEMU to end' }).catch(() => undefined)
      if (exit?.error) throw exit.error
    }
    await machine.stop({ deadline: Deadline.after(0) })
    throw error
  }
}

/** How many console lines an error shows. */
const LINES_SHOWN = 15
/** How long QEMU may take to end after `quit`. */
const QUIT_MS = 2000
/** How long SIGKILL may take. */
const KILL_MS = 5000

class RunningMachine implements Machine {
  readonly name: string
  readonly pid: number
  readonly console: GuestConsole
  readonly exited: Promise<MachineExit>
  readonly #log: Log
  readonly #qmp: QmpClient
  readonly #launched: LaunchedMachine
  #forwards: readonly Forward[] = []
  #stopping = false
  #reason: MachineExitReason | undefined
  #cause = ''
  #panic: string | undefined

  constructor(spec: MachineSpec, launched: LaunchedMachine, { log, onConsoleLine }: MachineContext) {
    this.name = spec.name
    this.#log = log
    this.#launched = launched
    this.pid = launched.pid
    this.#qmp = new QmpClient(launched.qmp, (event) => this.#onEvent(event))
    try {
      this.console = new GuestConsole(launched.console, {
        file: spec.consoleFile,
        log,
        onLine: (line) => {
          this.#panic ??= /Kernel panic - not syncing: .*/.exec(line)?.[0]
          onConsoleLine?.(line)
        },
      })
    } catch (error) {
      this.#launched.kill()
      throw error
    }
    this.exited = launched.ended.then((how) => this.#onExit(how))
  }

  async start({ nics, placement }: MachineSpec, limits: WaitLimits): Promise<void> {
    await this.#qmp.start(limits)
    this.#forwards = parseUsernet(await this.#ask('info usernet', limits))
    if (!this.#launched.plugged && nics.some(({ link }) => link.kind === 'bridge')) {
      await plugTaps(nics, await this.#ask('info network', limits), limits)
    }
    if (placement?.vcpus && !this.#launched.placed) {
      await pinVcpus(placement.vcpus, await this.#qmp.execute('query-cpus-fast', {}, limits), limits)
    }
  }

  // A question that only the monitor for people can answer.
  async #ask(question: string, limits: WaitLimits): Promise<string> {
    return String(await this.#qmp.execute('human-monitor-command', { 'command-line': question }, limits))
  }

  forwardedPort(nic: string, guestPort: number): number {
    const found = this.#forwards.find((forward) => forward.nic === nic && forward.guestPort === guestPort)
    if (found) return found.hostPort
    throw new LeetError({
      code: 'LEET_E_MACHINE',
      where: `guest ${this.name}`,
      what: `no port of the host leads to port ${guestPort} of network interface ${nic}`,
    })
  }

  type(bytes: Uint8Array): void {
    const { console } = this.#launched
    if (console.writable) console.write(bytes)
  }

  async stop({ deadline, signal }: WaitLimits): Promise<MachineExit> {
    this.#stopping = true
    const quit: WaitLimits = { deadline: deadline.within(QUIT_MS), signal }
    try {
      if (!deadline.expired) {
        await Promise.race([this.#qmp.execute('quit', {}, quit), this.exited])
        return await waitFor(this.exited, quit, { what: 'QEMU to quit' })
      }
    } catch {
      // Killed below, whatever QEMU said.
    }
    this.#launched.kill()
    return await waitFor(
      this.exited,
      { deadline: Deadline.after(KILL_MS) },
      { what: `the end of QEMU (pid ${this.pid}) after SIGKILL`, where: `guest ${this.name}` },
    )
  }

  #onEvent({ name, data }: QmpEvent): void {
    if (name === 'GUEST_PANICKED') this.#end('panic', 'its kernel panicked')
    else if (name === 'SHUTDOWN') {
      const [reason, cause] = SHUTDOWN_REASONS[String(data.reason)] ?? [
        'qemu',
        `QEMU shut down (${data.reason})`,
      ]
      this.#reason ??= reason
      this.#cause ||= cause
    } else if (name === 'STOP') void this.#onHalt()
  }

  // The machine has been halted while QEMU lives on: nobody asked for that, so it is an error of the host's.
  async #onHalt(): Promise<void> {
    const limits = { deadline: Deadline.after(QUIT_MS) }
    const status = await this.#qmp.execute('query-status', {}, limits).catch(() => undefined)
    const state = String((status as { status?: unknown } | undefined)?.status)
    if (state === 'internal-error' || state === 'io-error') this.#end('halted', `QEMU halted it (${state})`)
  }

  #end(reason: MachineExitReason, cause: string): void {
    this.#reason ??= reason
    this.#cause ||= cause
    this.#launched.kill()
  }

  #onExit(how: string): MachineExit {
    if (this.#stopping) return { reason: 'stopped', cause: 'it was stopped', error: undefined }
    let reason = this.#reason ?? 'qemu'
    // Whoever ended QEMU is known to its driver at best.
    let why = reason === 'qemu' ? [this.#cause, how].filter(Boolean).join('; ') : this.#cause
    if (this.#panic !== undefined) {
      reason = 'panic'
      why = this.#panic
    }
    const stderr = this.#launched.said().split('\n').map(cleanLine).filter(Boolean)
    if (reason !== 'qemu') for (const line of stderr) this.#log.detail(`QEMU of guest ${this.name}: ${line}`)
    const said = section('QEMU says', reason === 'qemu' ? stderr : [])
    return {
      reason,
      cause: [why, ...said].join('\n'),
      error: new LeetError({
        code: 'LEET_E_MACHINE',
        where: `guest ${this.name}`,
        what: 'ended unexpectedly',
        why: [why, ...said, ...section('last lines of its console', this.console.tail(LINES_SHOWN))].join(
          '\n',
        ),
        hint: stderr.some((line) => /bridge helper|acl file|access denied by acl/.test(line))
          ? BRIDGE_HINT
          : undefined,
      }),
    }
  }
}

const BRIDGE_HINT =
  'qemu-bridge-helper must be setuid root, and /etc/qemu/bridge.conf must have the line `allow BRIDGE` for your bridge'

// Reasons of the SHUTDOWN event: QEMU's qapi/run-state.json, ShutdownCause.
const SHUTDOWN_REASONS: Readonly<Record<string, readonly [MachineExitReason, string]>> = {
  'guest-shutdown': ['shutdown', 'it powered itself off'],
  'guest-reset': ['reset', 'it reset itself'],
  'subsystem-reset': ['reset', 'it reset itself'],
  'guest-panic': ['panic', 'its kernel panicked'],
  'host-signal': ['qemu', 'QEMU was ended by a signal'],
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  | ${line}`)]
}
