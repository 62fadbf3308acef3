// What --dry-run prints: the plan as JSON, with the image that is named, and with libvirt the domains that it would be given, by
// the names of the guests.
import type { Log } from '../../common/index.ts'
import { namedImage } from '../job/guest-image.ts'
import type { GuestImage } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'

/** What would be run. */
export interface DryRun {
  readonly plan: JobPlan
  readonly settings: Pick<Settings, 'image' | 'guest'>
  /** Programs that the guests must be able to run. */
  readonly programs: readonly string[]
  readonly log: Log
  readonly keep?: boolean
}

/** The text, with its newline. An image that could not be used is refused. */
export async function dryRunText(run: DryRun): Promise<string> {
  const { plan } = run
  // In a session there is nothing to be made.
  const found = plan.session || plan.guestKind === 'host' ? undefined : await namedImage(run)
  const image = found && { image: { id: found.id, ...found.image } }
  return `${JSON.stringify({ ...plan, ...image, ...(await domainsOf(plan, found?.image)) }, undefined, 2)}\n`
}

async function domainsOf(
  plan: JobPlan,
  image: GuestImage | undefined,
): Promise<{ domains?: Readonly<Record<string, string>> }> {
  if (plan.hypervisor.kind !== 'libvirt' || plan.guestKind === 'host' || plan.session) return {}
  const { dryDomains } = await import('../node/dry-domains.ts')
  return { domains: dryDomains(plan, image) }
}
