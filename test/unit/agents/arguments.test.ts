import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  decodeArguments,
  encodeArguments,
  packOrders,
  shared,
  unpackOrders,
} from '../../../launcher/agents/arguments.ts'
import type { RankOrder } from '../../../launcher/node/worker.ts'

const call = { kind: 'call', id: 1, method: 'start' } as const

describe('arguments of calls', () => {
  it('come back as they were given, shared or not', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.boolean())), (args) => {
        const plain = args.map(([arg]) => JSON.parse(JSON.stringify(arg)))
        const { sizes, packed, body } = encodeArguments(
          plain.map((arg, i) => (args[i]?.[1] ? shared(arg) : arg)),
        )
        expect(decodeArguments({ ...call, sizes, packed }, Buffer.concat(body))).toEqual(plain)
      }),
    )
  })

  it('turn shared ones into bytes once', () => {
    const layout = {
      guests: Array.from({ length: 1000 }, (_, guest) => ({ guest, name: `leet-job-g${guest}` })),
    }
    const [first, second] = [encodeArguments([shared(layout)]), encodeArguments([shared(layout)])]
    expect(first.body[0]).toBe(second.body[0])
    expect(first.body[0]?.length).toBeLessThan(JSON.stringify(layout).length / 4)
  })

  it('are refused when they are broken', () => {
    for (const [sizes, packed, body] of [
      [[3], [0], 'xyz'],
      [[3], [], 'xyz'],
      [[9], [], '1'],
      [[], [], '1'],
    ] as const) {
      const message = { ...call, sizes: [...sizes], packed: [...packed] }
      expect(() => decodeArguments(message, Buffer.from(body)), body).toThrow(LeetError)
    }
  })

  it('carry what the environments of ranks have in common once', () => {
    const environment = fc.dictionary(fc.stringMatching(/^[A-D_]{1,4}$/), fc.constantFrom('', 'a', 'b'))
    fc.assert(
      fc.property(fc.array(environment), (environments) => {
        const orders = environments.map((one, task) => ({ task, environment: one }) as unknown as RankOrder)
        expect(unpackOrders(...packOrders(orders))).toEqual(orders)
      }),
    )
    const [common, own] = packOrders([
      { environment: { HOME: '/home', RANK: '0' } },
      { environment: { HOME: '/home', RANK: '1', MORE: '' } },
    ] as unknown as RankOrder[])
    expect(common).toEqual({ HOME: '/home' })
    expect(own.map((order) => order.environment)).toEqual([{ RANK: '0' }, { RANK: '1', MORE: '' }])
  })
})
