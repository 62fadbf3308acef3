// Whether an accelerator works is tried with a tiny guest. The trial must say the same on a busy node as on an idle one, so
// what counts is not how long the guest takes but what it does: it fails by ending wrongly, or by having used more CPU time
// than it can need. The two ways in which a KVM of no use shows are told apart by its process: mostly a vCPU works for ever in
// the kernel or in the guest, and its CPU time grows; or no thread has anything to do any more. A guest that only waits for
// a processor is in state R, and is waited for.
import { writeFileSync } from 'node:fs'
import { atMost, type ChildEnd, Deadline, endOf, processorUse } from '../../common/index.ts'
import type { Journal } from '../journal/journal.ts'
import type { Finding } from './accel-findings.ts'
import { PROBE_ARGUMENTS, PROBE_STATUS, probeFirmware } from './probe-guest.ts'
import type { Accelerator } from './spec.ts'

/** What a trial needs. */
export interface TrialOptions {
  readonly journal: Journal
  readonly qemu: string
  readonly signal?: AbortSignal
}

/** QEMU's process at one moment. */
export interface Look {
  /** CPU time that it has used. */
  readonly cpuMs: number
  /** A thread runs, waits for a processor, or for a disk. */
  readonly active: boolean
}

/** What was seen of one try so far. */
export interface Sight {
  readonly looks: readonly Look[]
  /** undefined: it runs. */
  readonly end: ChildEnd | undefined
  /** What it said on stderr. */
  readonly complaint: string
  /** It had all the time that a try has. */
  readonly late: boolean
}

/** What that means; undefined: nothing yet. After `unclear` another try may say more. */
export type Verdict = 'works' | 'fails' | 'unclear' | undefined

/** After so many looks in a row at a process that does nothing it is taken to do nothing for ever. */
export const STILL_LOOKS = 25
const LOOK_MS = 20

/** What one try shows when the guest may use `cpuLimitMs` of CPU time. */
export function verdictOf({ looks, end, late }: Sight, cpuLimitMs: number): Verdict {
  if (end) return end.kind === 'exit' && end.status === PROBE_STATUS ? 'works' : 'fails'
  if ((looks.at(-1)?.cpuMs ?? 0) > cpuLimitMs) return 'fails'
  const moved = looks.findLastIndex(({ active, cpuMs }, index) => active || cpuMs !== looks[index - 1]?.cpuMs)
  // Looks are counted, not time: on a busy node this process comes late to them, and has seen nothing meanwhile.
  if (looks.length - 1 - moved >= STILL_LOOKS || late) return 'unclear'
  return undefined
}

const TRIES = 3
/** How long a try may take: enough for the guest where it gets a thirtieth of a processor. */
const TRY_MS = 3000

/** Runs a tiny guest under an accelerator, again while nothing is clear; it may use `cpuLimitMs` of CPU time. */
export async function tryAccelerator(
  accelerator: Accelerator,
  cpuLimitMs: number,
  options: TrialOptions,
): Promise<Finding> {
  return (await trial(accelerator, cpuLimitMs, options)).finding
}

/** Bounds of what the tiny guest may use of CPU time under KVM, QEMU's own start included. */
const LEAST_CPU_MS = 500
const MOST_CPU_MS = 2000

/**
 * Tries KVM. Emulation, which takes less than a tenth of a second of a processor, is the measure of this node: what
 * needs five times as much is of no use.
 */
export async function tryKvm(options: TrialOptions): Promise<Finding> {
  const { finding, cpuMs } = await trial('tcg', MOST_CPU_MS, options)
  const limit = finding.works ? Math.min(MOST_CPU_MS, Math.max(LEAST_CPU_MS, 5 * cpuMs)) : MOST_CPU_MS
  return await tryAccelerator('kvm', limit, options)
}

async function trial(
  accelerator: Accelerator,
  cpuLimitMs: number,
  options: TrialOptions,
): Promise<{ readonly finding: Finding; readonly cpuMs: number }> {
  for (let tries = 1; ; tries++) {
    const { verdict, sight } = await oneTry(accelerator, cpuLimitMs, options)
    const cpuMs = sight.looks.at(-1)?.cpuMs ?? 0
    if (verdict === 'works') return { finding: { works: true }, cpuMs }
    if (verdict === 'fails' || tries === TRIES) {
      return { finding: { works: false, why: whyNot(sight, accelerator, tries) }, cpuMs }
    }
  }
}

function whyNot({ end, complaint, late }: Sight, accelerator: Accelerator, tries: number): string {
  const said = end && complaint.trim().split('\n').at(-1)
  if (said) return said
  const stood = !end && !late && tries > 1
  return `a tiny guest did ${stood ? 'nothing' : 'not get through'} under ${accelerator.toUpperCase()}${tries > 1 ? ` in ${tries} tries` : ''}`
}

async function oneTry(
  accelerator: Accelerator,
  cpuLimitMs: number,
  { journal, qemu, signal }: TrialOptions,
): Promise<{ readonly verdict: Verdict; readonly sight: Sight }> {
  const firmware = journal.path(`probe-${accelerator}.bin`)
  writeFileSync(firmware, probeFirmware(), { mode: 0o600 })
  const { child, pid } = journal.spawn([qemu, ...PROBE_ARGUMENTS, '-accel', accelerator, '-bios', firmware], {
    what: `the trial of ${accelerator}`,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    complaint = (complaint + bytes.toString('utf8')).slice(-1000)
  })
  const ended = endOf(child)
  const deadline = Deadline.after(TRY_MS)
  const looks: Look[] = []
  try {
    for (;;) {
      const { expired } = deadline
      const end = await atMost(LOOK_MS, ended, undefined, signal)
      const use = end ? undefined : processorUse(pid)
      if (use) looks.push({ cpuMs: use.ms, active: use.active })
      // One more look after the deadline: the end may have come while this process waited for a processor itself.
      const sight = { looks, end, complaint, late: expired }
      const verdict = verdictOf(sight, cpuLimitMs)
      if (verdict) return { verdict, sight }
    }
  } finally {
    child.kill('SIGKILL')
  }
}
