// Which accelerator runs the guests: KVM if it works, which is tried and not guessed, else QEMU's emulation (TCG).
import { accessSync, constants } from 'node:fs'
import { type Log, messageOf } from '../../common/index.ts'
import {
  FAILURE_KEPT_MS,
  type Finding,
  type FindingPlace,
  recallFinding,
  rememberFinding,
} from './accel-findings.ts'
import { type TrialOptions, tryKvm } from './accel-trial.ts'
import type { Accelerator } from './spec.ts'

const KVM = '/dev/kvm'

/** What `chooseAccelerator` needs. */
export interface AcceleratorOptions extends TrialOptions, FindingPlace {
  readonly log: Log
  /** KVM's device; /dev/kvm unless told. */
  readonly device?: string
}

/** What runs the guests; `why` tells why they are emulated. */
export interface AcceleratorChoice {
  readonly accelerator: Accelerator
  readonly why?: string
}

/** Tells a user that guests are emulated. */
export function emulatedText(who: string, why: string): string {
  return `${who} are emulated (TCG), many times slower than under KVM: ${why}`
}

/**
 * KVM if a guest really runs under it on this node, else TCG. Takes time (usually below 1 s) once per boot of the node,
 * and again minutes after KVM was found wanting.
 */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<AcceleratorChoice> {
  const why =
    whyNoAccess(options.device ?? KVM) ??
    whyFailed(recallFinding(options, Date.now()) ?? (await findOut(options)))
  options.log.detail(why === undefined ? 'guests run under KVM' : `guests are emulated (TCG): ${why}`)
  return why === undefined ? { accelerator: 'kvm' } : { accelerator: 'tcg', why }
}

/** What `chooseAccelerator` would most likely say, without a trial: KVM where it was not found wanting. */
export function expectAccelerator(place: FindingPlace): Accelerator {
  return whyNoAccess(KVM) === undefined && recallFinding(place, Date.now())?.works !== false ? 'kvm' : 'tcg'
}

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

function whyFailed(finding: Finding): string | undefined {
  return finding.works ? undefined : `${finding.why} (tried again after ${FAILURE_KEPT_MS / 60_000} minutes)`
}

async function findOut(options: AcceleratorOptions): Promise<Finding> {
  const finding = await tryKvm(options)
  try {
    await rememberFinding(options, finding, Date.now())
  } catch (error) {
    const { cacheDirectory, log } = options
    log.detail(`the trial of KVM cannot be remembered in ${cacheDirectory}: ${messageOf(error)}`)
  }
  return finding
}
