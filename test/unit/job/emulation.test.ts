// What the user is told of emulated guests: one line for a whole job.
import { expect, it } from 'vitest'
import { type Log, silentLog } from '../../../common/index.ts'
import { Emulation } from '../../../launcher/job/emulation.ts'
import type { GuestPlan } from '../../../launcher/plan/plan.ts'

const NONE = 'there is no usable /dev/kvm'
const FAILED = 'a tiny guest did not get through under KVM (tried again after 10 minutes)'

/** Notes about two guests on each node, for the reasons of these nodes; undefined: they run under KVM. */
function notes(...reasons: readonly (string | undefined)[]): string[] {
  const said: string[] = []
  const log: Log = { ...silentLog, note: (line) => said.push(line) }
  const places = reasons.flatMap((why, node) => [
    { node, why },
    { node, why },
  ])
  const guests = places.map(({ node }, index) => ({ index, node }) as GuestPlan)
  const emulation = new Emulation({ guests })
  for (const [guest, { node, why }] of places.entries()) {
    emulation.hear(node, { kind: 'guest', guest, state: 'ready' })
    emulation.hear(node, {
      ...{ kind: 'machine', guest, accelerator: why === undefined ? 'kvm' : 'tcg' },
      ...(why === undefined ? {} : { why }),
    })
  }
  emulation.tell(log)
  return said
}

it('is nothing when all guests run under KVM, or none is booted', () => {
  expect(notes(undefined, undefined)).toEqual([])
  expect(notes()).toEqual([])
})

it('is one line with the reason, for all guests and nodes', () => {
  const line = `guests are emulated (TCG), many times slower than under KVM: ${FAILED}`
  expect(notes(FAILED)).toEqual([line])
  expect(notes(FAILED, FAILED, FAILED)).toEqual([line])
})

it('says how many nodes emulate, and how many for which reason', () => {
  expect(notes(NONE, undefined, undefined)).toEqual([
    `guests on 1 of 3 nodes are emulated (TCG), many times slower than under KVM: ${NONE}`,
  ])
  expect(notes(NONE, FAILED, NONE)).toEqual([
    `guests are emulated (TCG), many times slower than under KVM: on 2 nodes ${NONE}; on 1 node ${FAILED}`,
  ])
})
