// Which accelerator runs the guests: KVM if it works, which is tried and not guessed, else QEMU's emulation (TCG). What
// the trial found is remembered until the node boots again.
import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Deadline, endOf, type Log, messageOf, type WaitLimits, waitFor } from '../../common/index.ts'
import type { Journal } from '../journal/journal.ts'
import { thisPlace } from '../journal/journal.ts'
import { PROBE_ARGUMENTS, PROBE_STATUS, probeFirmware } from './probe-guest.ts'

/** QEMU's name of what runs a guest's instructions. */
export type Accelerator = 'kvm' | 'tcg'

/** What `chooseAccelerator` needs. */
export interface AcceleratorOptions {
  readonly journal: Journal
  readonly qemu: string
  /** LEET's cache directory; findings are kept in its folder `accelerator`. */
  readonly cacheDirectory: string
  readonly log: Log
  readonly signal?: AbortSignal
}

/** KVM if a guest really runs under it on this node, else TCG. Takes time (usually below 1 s) once per boot of the node. */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  const { log } = options
  const closed = whyNoAccess('/dev/kvm')
  if (closed !== undefined) {
    log.detail(`guests are emulated (TCG): ${closed}`)
    return 'tcg'
  }
  const finding = recall(options) ?? (await tryAndRemember(options))
  log.detail(
    finding.works
      ? 'guests run under KVM'
      : `guests are emulated (TCG): KVM does not work here: ${finding.why}`,
  )
  return finding.works ? 'kvm' : 'tcg'
}

/** What `chooseAccelerator` would most likely say, without a trial: KVM where it was not found wanting. */
export function expectAccelerator(options: Pick<AcceleratorOptions, 'qemu' | 'cacheDirectory'>): Accelerator {
  return whyNoAccess('/dev/kvm') === undefined && recall(options)?.works !== false ? 'kvm' : 'tcg'
}

/** What a trial found. */
export type Finding = { readonly works: true } | { readonly works: false; readonly why: string }

/** Runs a tiny guest under an accelerator, for at most `limitMs`. */
export async function tryAccelerator(
  accelerator: Accelerator,
  limitMs: number,
  { journal, qemu, signal }: Pick<AcceleratorOptions, 'journal' | 'qemu' | 'signal'>,
): Promise<Finding> {
  const firmware = journal.path(`probe-${accelerator}.bin`)
  writeFileSync(firmware, probeFirmware(), { mode: 0o600 })
  const { child } = journal.spawn([qemu, ...PROBE_ARGUMENTS, '-accel', accelerator, '-bios', firmware], {
    what: `the trial of ${accelerator}`,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    complaint = (complaint + bytes.toString('utf8')).slice(-1000)
  })
  const limits: WaitLimits = { deadline: Deadline.after(limitMs), signal }
  try {
    const end = await waitFor(endOf(child), limits, { what: 'the tiny guest' })
    if (end.kind === 'exit' && end.status === PROBE_STATUS) return { works: true }
    return { works: false, why: complaint.trim().split('\n').at(-1) || 'a tiny guest did not get through' }
  } catch (error) {
    if (signal?.aborted) throw error
    return { works: false, why: `a tiny guest did not get through in ${limitMs.toFixed(0)} ms` }
  } finally {
    child.kill('SIGKILL')
  }
}

// Emulation, which takes less than a tenth of a second on an idle node, is the measure: what needs five times as long on
// this node, as busy as it is, is of no use.
async function tryKvm(options: AcceleratorOptions): Promise<Finding> {
  const begin = performance.now()
  const emulation = await tryAccelerator('tcg', LONGEST_MS, options)
  const took = performance.now() - begin
  const limit = emulation.works ? Math.min(LONGEST_MS, Math.max(SHORTEST_MS, 5 * took)) : LONGEST_MS
  return await tryAccelerator('kvm', limit, options)
}

const SHORTEST_MS = 500
const LONGEST_MS = 5000

function whyNoAccess(device: string): string | undefined {
  try {
    accessSync(device, constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
      ? `no permission to use ${device} (its group is usually kvm)`
      : `there is no usable ${device}`
  }
}

async function tryAndRemember(options: AcceleratorOptions): Promise<Finding> {
  const finding = await tryKvm(options)
  const { folder, file } = placeOfFinding(options)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const fresh = `${file}.${process.pid}`
    writeFileSync(fresh, `${JSON.stringify({ qemu: options.qemu, finding })}\n`, { mode: 0o600 })
    renameSync(fresh, file)
    await forgetOld(folder)
  } catch (error) {
    options.log.detail(`the trial of KVM cannot be remembered in ${folder}: ${messageOf(error)}`)
  }
  return finding
}

function recall(options: Pick<AcceleratorOptions, 'qemu' | 'cacheDirectory'>): Finding | undefined {
  try {
    const { qemu, finding } = JSON.parse(readFileSync(placeOfFinding(options).file, 'utf8'))
    if (qemu !== options.qemu) return undefined
    return finding.works === true ? { works: true } : { works: false, why: String(finding.why) }
  } catch {
    return undefined
  }
}

// By boot id: the cache may lie in a home directory that many nodes share, and a boot id is one boot of one node.
function placeOfFinding({ cacheDirectory }: Pick<AcceleratorOptions, 'cacheDirectory'>): {
  folder: string
  file: string
} {
  const folder = join(cacheDirectory, 'accelerator')
  return { folder, file: join(folder, `${thisPlace().boot}.json`) }
}

const KEPT_MS = 30 * 24 * 3600 * 1000

async function forgetOld(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    if (Date.now() - (await stat(file)).mtimeMs > KEPT_MS) await rm(file, { force: true })
  }
}
