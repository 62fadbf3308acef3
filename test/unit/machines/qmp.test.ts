import { Duplex, PassThrough } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Deadline, LeetError } from '../../../common/index.ts'
import {
  QMP_LINE_LIMIT,
  QmpClient,
  QmpDecoder,
  type QmpEvent,
  type QmpMessage,
} from '../../../launcher/machines/qmp.ts'

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}'
const limits = () => ({ deadline: Deadline.after(2000) })

describe('QmpDecoder', () => {
  it('reads what QEMU 7.2 says', () => {
    const text = [
      GREETING,
      '{"return": {}, "id": 1}',
      '{"timestamp": {"seconds": 1795425751, "microseconds": 822419}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}',
      '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}',
      '{"error": {"class": "CommandNotFound", "desc": "The command x has not been found"}, "id": 2}',
      '',
    ].join('\r\n')
    const expected: QmpMessage[] = [
      { kind: 'greeting' },
      { kind: 'return', id: 1, value: {} },
      { kind: 'event', name: 'SHUTDOWN', data: { guest: false, reason: 'host-qmp-quit' } },
      { kind: 'event', name: 'STOP', data: {} },
      { kind: 'error', id: 2, description: 'The command x has not been found' },
    ]
    expect(new QmpDecoder().push(Buffer.from(text))).toEqual(expected)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: text.length }), { maxLength: 8 }), (cuts) => {
        const decoder = new QmpDecoder()
        const places = [0, ...cuts.toSorted((a, b) => a - b), text.length]
        const pieces = places.slice(1).map((end, index) => Buffer.from(text.slice(places[index], end)))
        expect(pieces.flatMap((piece) => decoder.push(piece))).toEqual(expected)
      }),
    )
  })

  it('throws nothing but LeetError, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.json(), fc.string(), fc.constant('{"return":1}'))), (lines) => {
        const decoder = new QmpDecoder()
        try {
          decoder.push(Buffer.from(`${lines.join('\n')}\n`))
        } catch (error) {
          expect(error).toBeInstanceOf(LeetError)
        }
      }),
    )
  })

  it('does not hold a line without end', () => {
    const decoder = new QmpDecoder()
    const chunk = Buffer.alloc(64 << 10, 'x')
    const push = () => {
      for (let pushed = 0; pushed <= QMP_LINE_LIMIT; pushed += chunk.length) decoder.push(chunk)
    }
    expect(push).toThrow('longer than 1 MiB')
  })
})

/** A QEMU that answers as told. */
function conversation(answer: (request: { execute: string; id: number }) => string) {
  const out = new PassThrough()
  const stream = Duplex.from({
    readable: out,
    writable: new PassThrough().on('data', (data) => {
      for (const line of String(data).trim().split('\n')) out.write(answer(JSON.parse(line)))
    }),
  })
  const events: QmpEvent[] = []
  const client = new QmpClient(stream, (event) => events.push(event))
  return { out, stream, events, client }
}

describe('QmpClient', () => {
  it('agrees on capabilities and matches answers to commands', async () => {
    const held: string[] = []
    const { out, client, events } = conversation(({ execute, id }) => {
      if (execute === 'qmp_capabilities') return `{"return": {}, "id": ${id}}\n`
      // The first answer comes after the second.
      held.push(`{"return": "${execute}", "id": ${id}}\n`)
      return held.length === 2 ? held.toReversed().join('{"event": "RTC_CHANGE"}\n') : ''
    })
    out.write(`${GREETING}\r\n`)
    await client.start(limits())
    expect(await Promise.all([client.execute('a', {}, limits()), client.execute('b', {}, limits())])).toEqual(
      ['a', 'b'],
    )
    expect(events).toEqual([{ kind: 'event', name: 'RTC_CHANGE', data: {} }])
  })

  it('tells what QEMU refuses', async () => {
    const { client } = conversation(
      ({ id }) => `{"error": {"class": "x", "desc": "no such device"}, "id": ${id}}\n`,
    )
    await expect(client.execute('device_del', {}, limits())).rejects.toMatchObject({
      code: 'LEET_E_QMP',
      message: 'QEMU did not do device_del: no such device',
    })
  })

  it('gives up at the deadline, and at once when the connection ends', async () => {
    const { client, stream } = conversation(() => '')
    await expect(client.start({ deadline: Deadline.after(1) })).rejects.toMatchObject({
      code: 'LEET_E_DEADLINE',
    })
    await expect(client.execute('quit', {}, { deadline: Deadline.after(1) })).rejects.toMatchObject({
      code: 'LEET_E_DEADLINE',
    })
    const pending = client.execute('quit', {}, limits())
    stream.destroy()
    await expect(pending).rejects.toThrow('QEMU has closed the QMP connection')
    await expect(client.execute('quit', {}, limits())).rejects.toThrow('QEMU has closed the QMP connection')
  })

  it('hangs up on what is not QMP', async () => {
    const { client, out, stream } = conversation(() => '')
    const pending = client.execute('quit', {}, limits())
    out.write('SSH-2.0-OpenSSH\r\n')
    await expect(pending).rejects.toThrow('is not JSON')
    expect(stream.destroyed).toBe(true)
  })
})
