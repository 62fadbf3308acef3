// What --dry-run prints: the plan as JSON, and with libvirt the domains that it would be given, by the names of the guests.
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'

/** The text, with its newline. */
export async function dryRunText(plan: JobPlan, { image }: Pick<Settings, 'image'>): Promise<string> {
  return `${JSON.stringify({ ...plan, ...(await domainsOf(plan, image.name)) }, undefined, 2)}\n`
}

async function domainsOf(
  plan: JobPlan,
  image: string | undefined,
): Promise<{ domains?: Readonly<Record<string, string>> }> {
  // In a session there is nothing to be made.
  if (plan.hypervisor.kind !== 'libvirt' || plan.guestKind === 'host' || plan.session) return {}
  const { dryDomains } = await import('../node/dry-domains.ts')
  return { domains: dryDomains(plan, image) }
}
