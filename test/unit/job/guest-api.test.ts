// OSv guests whose REST server has no TLS: refused, unless somebody wants them.
import { describe, expect, it } from 'vitest'
import { silentLog } from '../../../common/index.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import { type ApiOrder, allowGuestApi, allowPlannedApi } from '../../../launcher/job/guest-api.ts'
import type { NetworkPlan } from '../../../launcher/plan/plan.ts'
import { parseCommandWords } from '../../../mpi-bridge/index.ts'

const orderOf = (line: string, network: Partial<NetworkPlan> = {}, environment = {}) => {
  const notes: string[] = []
  const settings = readSettings(parseCommandWords(OPTIONS, [...line.split(' '), 'a']), environment)
  const order: ApiOrder = {
    settings,
    plan: { network: { mode: 'local', subnet: '10.77.0.0/16', ...network } },
    log: { ...silentLog, note: (text) => notes.push(text) },
  }
  return { order, notes }
}
const refusal = expect.objectContaining({
  code: 'LEET_E_OSV_BASE',
  exitCode: 2,
  details: expect.objectContaining({
    where: 'the base',
    hint: expect.stringContaining('--insecure-guest-api'),
  }),
})

describe('a REST server of OSv guests', () => {
  it('with TLS needs nothing, and nothing is said of it', () => {
    for (const line of ['--guest osv', '--guest osv --insecure-guest-api']) {
      const { order, notes } = orderOf(line)
      allowGuestApi({ tls: true, name: 'the base' }, order)
      expect(notes).toEqual([])
    }
  })

  it('without TLS is refused', () => {
    const { order } = orderOf('--guest osv')
    expect(() => allowGuestApi({ tls: false, name: 'the base' }, order)).toThrow(refusal)
    const off = orderOf('--guest osv', {}, { LEET_OSV_INSECURE_API: 'false' })
    expect(() => allowGuestApi({ tls: false, name: 'the base' }, off.order)).toThrow(refusal)
  })

  it.each([
    ['the flag', '--insecure-guest-api', {}],
    ['the variable', '--guest osv', { LEET_OSV_INSECURE_API: 'true' }],
  ])('without TLS is noted once, with who may reach it, where %s allows it', (_, line, environment) => {
    const local = orderOf(line, {}, environment)
    allowGuestApi({ tls: false, name: 'the base' }, local.order)
    expect(local.notes).toEqual([expect.stringContaining('every user of this node')])
    const bridged = orderOf(line, { mode: 'bridge', bridge: 'br7' }, environment)
    allowGuestApi({ tls: false, name: 'the base' }, bridged.order)
    expect(bridged.notes).toEqual([expect.stringContaining('bridge br7')])
  })

  it('is looked at for a plan alone, as far as there is one', async () => {
    const planned = ({ order }: ReturnType<typeof orderOf>, more: object = {}) =>
      allowPlannedApi({ ...order, plan: { ...order.plan, guestKind: 'osv', ...more } })
    const none = orderOf('--guest osv --osv-base /no/build')
    await expect(planned(none)).rejects.toMatchObject({ code: 'LEET_E_OSV_BASE' })
    await planned(none, { guestKind: 'linux' })
    await planned(none, { session: { id: 's', needs: [] } })
    await planned(orderOf(`--guest osv --osv-base ${'0'.repeat(64)}`))
  })
})
