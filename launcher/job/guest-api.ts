// Guests of OSv whose REST server has no TLS. Whoever reaches its port starts what he likes in the guest, as the job's user to
// every file server: so somebody has to want it.
import { resolve } from 'node:path'
import { EXIT_USAGE, LeetError, type Log } from '../../common/index.ts'
import { openOsvBase, osvBuildHasTls, osvStore } from '../images/osv/base.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'

/** For whom guests are booted. */
export interface ApiOrder {
  readonly plan: Pick<JobPlan, 'network'>
  readonly settings: Pick<Settings, 'guest' | 'image'>
  readonly log: Log
}

/** `base`: what the guests boot, for the user. `LEET_E_OSV_BASE` unless the server has TLS or --insecure-guest-api was given. */
export function allowGuestApi(
  base: { readonly tls: boolean; readonly name: string },
  { plan: { network }, settings, log }: ApiOrder,
): void {
  if (base.tls) return
  if (!settings.guest.insecureApi) {
    throw new LeetError({
      code: 'LEET_E_OSV_BASE',
      exitCode: EXIT_USAGE,
      where: base.name,
      what: 'its REST server has no TLS: whoever reaches the port that leads to it controls the guest',
      hint: 'import a base of OSv built with libssl (leet image import osv DIR), or --insecure-guest-api',
    })
  }
  const who =
    network.mode === 'bridge'
      ? `whoever reaches the bridge ${network.bridge} may control them`
      : 'every user of this node may control them by the ports that lead to them (none do with --network bridge=NAME)'
  log.note(`the REST servers of the guests have no TLS: ${who}`)
}

/** The same before anything is made, as far as it can be told: a job that boots no such guests is allowed anything. */
export async function allowPlannedApi(
  order: ApiOrder & { readonly plan: Pick<JobPlan, 'guestKind' | 'session'> },
): Promise<void> {
  const { plan, settings } = order
  if (plan.guestKind !== 'osv' || plan.session) return
  const { name, osvBase } = settings.image
  // Of an image that is named this is told when it is looked for.
  if (name !== undefined) return
  if (osvBase?.includes('/')) {
    return allowGuestApi({ tls: osvBuildHasTls(resolve(osvBase)), name: osvBase }, order)
  }
  // That there is no base yet does not keep anybody from a plan.
  const base = await openOsvBase(osvStore(process.env), osvBase).catch(() => undefined)
  if (base) allowGuestApi({ tls: base.tls, name: `OSv base ${base.id}` }, order)
}
