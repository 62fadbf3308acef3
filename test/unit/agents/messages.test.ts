import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  decodeMessage,
  decodeNodes,
  encodeHead,
  encodeNodes,
  fromWire,
  type Message,
  toWire,
} from '../../../launcher/agents/messages.ts'

const whole = fc.nat()
const text = fc.string({ unit: 'grapheme' })
const error = fc.constant({ code: 'LEET_E_X', what: 'broke' } as const)
const messages: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    kind: fc.constant('hello'),
    version: text,
    node: fc.integer({ min: -1, max: 9 }),
    names: fc.array(text),
  }),
  fc.record({ kind: fc.constant('signal'), signal: text, tasks: fc.array(whole), all: fc.boolean() }),
  fc.record({ kind: fc.constant('done'), id: whole, error }, { requiredKeys: ['kind', 'id'] }),
  fc.record({ kind: fc.constant('met'), id: text, sizes: fc.array(whole), packed: fc.boolean() }),
  fc.record({ kind: fc.constant('output'), task: whole, stream: text }),
)

describe('messages between controller and agents', () => {
  it('come back as they were sent, with their body', () => {
    fc.assert(
      fc.property(messages, fc.uint8Array({ maxLength: 64 }), (message, body) => {
        const decoded = decodeMessage(Buffer.concat([encodeHead(message), body]))
        expect(decoded.message).toEqual(message)
        expect(Buffer.compare(decoded.body, body)).toBe(0)
      }),
    )
  })

  it('are refused with a LeetError whatever else the bytes are', () => {
    const refused = (data: Buffer) => {
      try {
        decodeMessage(data)
      } catch (thrown) {
        return thrown instanceof LeetError && thrown.code === 'LEET_E_LINK'
      }
      return false
    }
    const framed = (json: string) => Buffer.concat([encodeHead(JSON.parse(json)), Buffer.from('body')])
    fc.assert(fc.property(fc.uint8Array({ maxLength: 3 }), (bytes) => refused(Buffer.from(bytes))))
    fc.assert(fc.property(fc.jsonValue(), (value) => refused(framed(JSON.stringify(value)))))
    fc.assert(
      fc.property(messages, fc.nat(), (message, cut) => {
        const head = encodeHead(message)
        return refused(head.subarray(0, cut % head.length))
      }),
    )
    expect(refused(framed('{"kind":"toString"}'))).toBe(true)
    expect(refused(framed('{"kind":"credit","bytes":-1}'))).toBe(true)
    expect(refused(framed('{"kind":"credit","bytes":1e30}'))).toBe(true)
    expect(refused(framed('{"kind":"ask","id":1,"to":-2,"topic":"x"}'))).toBe(true)
    expect(refused(Buffer.from([0, 0, 0, 4, 0x7b, 0x7b, 0x7b, 0x7b]))).toBe(true)
  })

  it('carry errors with all that a user reads, and with the node that they came from', () => {
    const details = {
      code: 'LEET_E_QEMU',
      what: 'it broke',
      why: 'no memory',
      hint: 'less',
      exitCode: 3,
    } as const
    const arrived = fromWire(toWire(new LeetError({ ...details, cause: new Error('secret') })), 'node3')
    expect(arrived.details).toEqual({ ...details, where: 'node3' })
    const others = [{ ...details, where: 'g1', cause: new Error('secret') }]
    expect(fromWire(toWire(new LeetError({ ...details, also: others })), 'node3').details.also).toEqual([
      { ...details, where: 'g1 on node3' },
    ])
    const from = (where: string) =>
      fromWire(toWire(new LeetError({ ...details, where })), 'node3').details.where
    expect(from('guest g1')).toBe('guest g1 on node3')
    expect(from('guest g1 of node3')).toBe('guest g1 of node3')
    expect(fromWire(toWire(new TypeError('odd')), 'node3').message).toBe('node3: odd')
    fc.assert(fc.property(fc.jsonValue(), (value) => fromWire(value) instanceof LeetError))
  })

  it('carry sets of nodes in ranges', () => {
    expect(encodeNodes([0, 1, 2, 3, 7, 9, 10])).toBe('0-3,7,9-10')
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(99), { minLength: 1 }), (set) => {
        const nodes = set.sort((a, b) => a - b)
        expect(decodeNodes(encodeNodes(nodes), 100)).toEqual(nodes)
      }),
    )
    for (const bad of ['', 'x', '3-1', '1,1', '2,1', '0-100', '0-999999999', '1-2-3', '-1', '1,,2']) {
      expect(() => decodeNodes(bad, 100), bad).toThrow(LeetError)
    }
  })
})
