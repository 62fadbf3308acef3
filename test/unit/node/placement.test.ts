// Where guests run on a node: as a function of its processors, and by what /proc and /sys say of them.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Scope, silentLog } from '../../../common/index.ts'
import {
  describePlacement,
  hugePageFor,
  placeGuests,
  reservePlacement,
} from '../../../launcher/node/placement.ts'
import type { GuestPlan } from '../../../launcher/plan/plan.ts'
import type { Processor } from '../../../mpi-bridge/index.ts'
import { type FakeRoot, fakeRoot } from './tree.ts'

/** Processors `ids` of each NUMA node. */
const processors = (...nodes: readonly (readonly number[])[]): Processor[] =>
  nodes.flatMap((ids, numa) => ids.map((id) => ({ id, core: id, package: numa, numa })))

describe('placeGuests', () => {
  it('keeps a guest within a NUMA node, its other threads beside it', () => {
    expect(placeGuests(processors([0, 1, 2], [8, 9, 10, 11]), [{ cpus: 2 }, { cpus: 3 }])).toEqual([
      { vcpus: [8, 9], others: [10, 11], memoryNode: 1 },
      // It fills its node.
      { vcpus: [0, 1, 2], others: [10, 11], memoryNode: 0 },
    ])
  })

  it('spreads a guest that is larger than a NUMA node, without a node for its memory', () => {
    expect(placeGuests(processors([0, 1], [8, 9]), [{ cpus: 3 }])).toEqual([
      { vcpus: [0, 1, 8], others: [9] },
    ])
  })

  it('leaves other threads with the vCPUs where there is no room', () => {
    expect(placeGuests(processors([4, 5]), [{ cpus: 1 }, { cpus: 1 }])).toEqual([
      { vcpus: [4], others: [4], memoryNode: 0 },
      { vcpus: [5], others: [5], memoryNode: 0 },
    ])
  })

  it('gives each processor away once, or none at all', () => {
    const node = fc.uniqueArray(fc.nat(63), { maxLength: 16 })
    const guest = fc.record({ cpus: fc.integer({ min: 1, max: 9 }) })
    fc.assert(
      fc.property(node, fc.array(guest, { maxLength: 6 }), (ids, guests) => {
        const half = Math.floor(ids.length / 2)
        const all = processors(ids.slice(0, half), ids.slice(half))
        const placed = placeGuests(all, guests)
        const wanted = guests.reduce((sum, { cpus }) => sum + cpus, 0)
        if (wanted > ids.length) {
          expect(placed).toBeUndefined()
          return
        }
        const used = (placed ?? []).flatMap(({ vcpus }) => vcpus ?? [])
        expect(new Set(used).size).toBe(wanted)
        expect(used.every((id) => ids.includes(id))).toBe(true)
        expect(placed?.map(({ vcpus }) => vcpus?.length)).toEqual(guests.map(({ cpus }) => cpus))
        for (const { others } of placed ?? []) expect(others?.length).toBeGreaterThan(0)
      }),
    )
  })
})

describe('reservePlacement', () => {
  const GUESTS = [{ cpus: 2 }, { cpus: 1 }] as GuestPlan[]
  let tree: FakeRoot | undefined
  let scope: Scope
  beforeEach(() => {
    scope = Scope.open({ name: 'the node', warn() {} })
  })
  afterEach(async () => {
    await scope.end()
    tree?.remove()
  })
  // Processors beyond those of this machine: no job of it has a name of theirs.
  const node = (allowed: string, more: Readonly<Record<string, string>> = {}) => {
    tree = fakeRoot({
      'proc/self/status': `Name:\tleet\nCpus_allowed_list:\t${allowed}\n`,
      'sys/devices/system/cpu/online': '9000-9007\n',
      'sys/devices/system/node/has_memory': '0-1\n',
      ...Object.fromEntries(
        [0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => [
          `sys/devices/system/cpu/cpu${9000 + cpu}/node${cpu < 4 ? 0 : 1}/cpulist`,
          '',
        ]),
      ),
      ...more,
    })
    return tree.root
  }
  const reserve = (pinning: 'auto' | 'yes' | 'no', root: string, guests = GUESTS) =>
    reservePlacement({ pinning }, guests, { log: silentLog, scope, root })

  it('pins by itself only where the job has some of the processors', async () => {
    expect(await reserve('auto', node('9000-9007'))).toEqual([])
    expect(await reserve('auto', node('9002-9007'))).toEqual([
      { vcpus: [9002, 9003], others: [9005, 9006, 9007], memoryNode: 0 },
      { vcpus: [9004], others: [9005, 9006, 9007], memoryNode: 1 },
    ])
    expect(await reserve('no', node('9002-9007'))).toEqual([])
  })

  it('takes processors that no other job has', async () => {
    const root = node('9000-9003')
    expect(await reserve('yes', root, [{ cpus: 2 }] as GuestPlan[])).toMatchObject([{ vcpus: [9000, 9001] }])
    expect(await reserve('yes', root, [{ cpus: 2 }] as GuestPlan[])).toMatchObject([{ vcpus: [9002, 9003] }])
    await expect(reserve('yes', root, [{ cpus: 1 }] as GuestPlan[])).rejects.toMatchObject({
      code: 'LEET_E_PLACEMENT',
      message: expect.stringContaining('0 of the job’s 4 processors are free'),
    })
  })

  it('keeps guests that are too many on the job’s processors', async () => {
    expect(await reserve('auto', node('9006,9007'))).toEqual([
      { others: [9006, 9007] },
      { others: [9006, 9007] },
    ])
  })

  it('has the memory consist of huge pages where all of it can', async () => {
    const meminfo = 'HugePages_Free:      300\nHugePages_Rsvd:       44\nHugepagesize:       2048 kB\n'
    const guests = [{ cpus: 1, memory: 512 << 20 }] as GuestPlan[]
    const root = node('9000-9007', { 'proc/meminfo': meminfo })
    expect(await reserve('auto', root, guests)).toEqual([{ hugePage: 2 << 20 }])
    expect(hugePageFor([{ memory: 513 << 20 }], meminfo)).toBeUndefined()
    expect(hugePageFor([{ memory: 1 }], 'MemTotal: 4 kB\n')).toBeUndefined()
  })
})

describe('describePlacement', () => {
  it('says where a guest runs', () => {
    expect(describePlacement({ vcpus: [2, 3], others: [4], memoryNode: 1 })).toBe(
      'vCPUs on processors 2,3, other threads on 4, memory of NUMA node 1',
    )
    expect(describePlacement({ others: [4] })).toBeUndefined()
  })
})
