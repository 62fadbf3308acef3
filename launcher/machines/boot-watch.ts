// Whether a machine that boots is getting on. A guest that hangs says so to nobody: QEMU's emulation of two processors
// loses one now and then, and nodes have reasons of their own. It is told from a slow one by what its hypervisor does: one
// that used much processor time without a step forward, or none at all for long, is hung. A node that is busy with other
// work gives its guests little processor time, so it lets none of them be taken for hung.
import { LeetError, processorUse } from '../../common/index.ts'

/** What a hypervisor's process has used so far, as `processorUse` tells it. */
export interface HypervisorUse {
  /** Milliseconds of processor time. */
  readonly ms: number
  /** One of its threads runs, or waits for a processor or a disk: then it is the node that is slow. */
  readonly active: boolean
}

/** How a machine hangs. */
export interface Hang {
  /** Milliseconds of processor time, or of time, without progress. */
  readonly took: number
  readonly idle: boolean
}

/** Decides from what is seen at intervals whether a machine hangs. Pure but for its memory; it has no clock. */
export class HangDetector {
  readonly #busyLimit: number
  readonly #idleLimit: number
  #use: HypervisorUse | undefined
  #used = 0
  #idle = 0

  /** `busyLimit`: milliseconds of processor time; `idleLimit`: of time without any use of a processor. */
  constructor(busyLimit: number, idleLimit: number) {
    this.#busyLimit = busyLimit
    this.#idleLimit = idleLimit
  }

  /** The machine came forward. */
  progress(): void {
    this.#used = 0
    this.#idle = 0
  }

  /** Takes the next look, `elapsed` milliseconds after the one before it. */
  look(use: HypervisorUse, elapsed: number): Hang | undefined {
    const before = this.#use
    this.#use = use
    if (!before) return undefined
    const used = use.ms - before.ms
    this.#used += used
    this.#idle = used > 0 || use.active ? 0 : this.#idle + elapsed
    if (this.#used >= this.#busyLimit) return { took: this.#used, idle: false }
    if (this.#idle >= this.#idleLimit) return { took: this.#idle, idle: true }
    return undefined
  }
}

/** Lines of a Linux kernel that complains of itself, and what it shows then: they are no progress. */
const COMPLAINT = new RegExp(
  [
    // kernel/rcu/tree_stall.h, kernel/watchdog.c, kernel/hung_task.c
    String.raw`\brcu(_\w+)?:|rcu_\w+ (self-)?detected|watchdog:|soft lockup|hard LOCKUP|blocked for more than|hung_task`,
    // arch/x86/kernel/dumpstack.c and its like
    String.raw`Call Trace:|Modules linked in:|Hardware name:|\bCPU: \d+ PID: \d+|</?(TASK|IRQ|NMI|SOFTIRQ)>|NMI backtrace`,
    String.raw`\bRIP: |\bR[0-9A-Z]{2}: [0-9a-f]{16}|\bCode: [0-9a-f]{2}|\bCS: +[0-9a-f]{4} |\bRSP: [0-9a-f]{4}:|\bCR2: |\bFS: +[0-9a-f]{16}`,
    String.raw`\w\+0x[0-9a-f]+/0x[0-9a-f]+|Sending NMI|\(t=\d+ jiffies`,
  ].join('|'),
)

/** Whether a console line shows that a guest came forward. */
export function isProgress(line: string): boolean {
  return line.trim() !== '' && !COMPLAINT.test(line)
}

/**
 * A kernel starts its processors one after the other while the first waits: under emulation each further one was seen to
 * add a third of what a guest with a single one takes. So much patience is added for each.
 */
const SHARE_OF_VCPU = 1 / 3

/** How often a machine is looked at, in milliseconds. */
const LOOK_MS = 500

/** Watches one start of a machine from the moment on at which its hypervisor runs. */
export class BootWatch {
  readonly #name: string
  readonly #detector: HangDetector
  readonly #hung = Promise.withResolvers<never>()
  #stage = 'the start of its hypervisor'
  #timer: NodeJS.Timeout | undefined
  #patientUntil = 0

  /** `patience`: milliseconds without progress, of time or of the processor time of a guest with one vCPU. */
  constructor(name: string, patience: number, cpus: number) {
    this.#name = name
    this.#detector = new HangDetector(patience * (1 + (cpus - 1) * SHARE_OF_VCPU), patience)
    this.#hung.promise.catch(() => {})
  }

  /** Rejects with `LEET_E_GUEST_HUNG` when the machine hangs; never resolves. */
  get hung(): Promise<never> {
    return this.#hung.promise
  }

  /** Begins to look at the hypervisor. */
  start(pid: number): void {
    let last = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      // Nobody looked while this process itself was held up, so that time proves nothing.
      const elapsed = Math.min(now - last, 2 * LOOK_MS)
      last = now
      const use = processorUse(pid)
      if (!use || now < this.#patientUntil) return
      const hang = this.#detector.look(use, elapsed)
      if (hang) this.#tell(hang)
    }, LOOK_MS)
  }

  /** The guest came forward, and is at a new stage if one is named. */
  progress(stage?: string): void {
    this.#stage = stage ?? this.#stage
    this.#detector.progress()
    this.#patientUntil = 0
  }

  /** The guest does something that has a limit of its own, of so many milliseconds. */
  patience(ms: number): void {
    this.#detector.progress()
    this.#patientUntil = performance.now() + ms
  }

  /** Ends the watch: the guest is up, or gone. */
  stop(): void {
    clearInterval(this.#timer)
  }

  #tell({ took, idle }: Hang): void {
    this.stop()
    const seconds = Math.round(took / 1000)
    const how = idle ? `for ${seconds} s` : `for ${seconds} s of processor time`
    this.#hung.reject(
      new LeetError({
        code: 'LEET_E_GUEST_HUNG',
        where: this.#name,
        what: `made no progress ${how} in ${this.#stage}`,
      }),
    )
  }
}
