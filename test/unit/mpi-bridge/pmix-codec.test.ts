// The codec by its properties: what is written is read back in every format, streams may be cut anywhere, and no
// bytes do more than be refused.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { FrameReader, frameHeader, MAX_MESSAGE_BYTES } from '../../../mpi-bridge/pmix/frames.ts'
import { readHandshake } from '../../../mpi-bridge/pmix/handshake.ts'
import { decodeRequest } from '../../../mpi-bridge/pmix/requests.ts'
import {
  type Data,
  type Info,
  type KeyValue,
  readData,
  Type,
  UnknownTypeError,
  type Value,
  writeData,
} from '../../../mpi-bridge/pmix/values.ts'
import { type Format, formatOf, formats, Reader, Writer } from '../../../mpi-bridge/pmix/wire.ts'
import { handshakeHeader, handshakeOf, requestFrame } from './pmix-world.ts'

const flex = formatOf(true, false)
const fixed = formatOf(false, false)

const byte = fc.integer({ min: 0, max: 255 })
const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffffffff })
const i32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
/** One character a byte. */
const latin1 = fc
  .array(fc.integer({ min: 1, max: 255 }), { maxLength: 300 })
  .map((codes) => String.fromCharCode(...codes))
const proc = fc.record({ nspace: latin1, rank: u32 })

const scalars: [number, fc.Arbitrary<Data>][] = [
  [Type.BOOL, fc.boolean()],
  [Type.BYTE, byte],
  [Type.STRING, fc.option(latin1)],
  [Type.SIZE, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
  [Type.PID, u32],
  [Type.INT, i32],
  [Type.INT16, fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })],
  [Type.INT64, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  [Type.UINT, u32],
  [Type.UINT16, u16],
  [Type.UINT32, u32],
  [Type.UINT64, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
  [Type.DOUBLE, fc.double().map((each) => each.toFixed(6))],
  [Type.STATUS, i32],
  [Type.PROC, proc],
  [Type.BYTE_OBJECT, bytes],
  [Type.BUFFER, fc.record({ tag: byte, bytes })],
  [Type.ENVAR, fc.record({ name: latin1, value: latin1, separator: byte })],
  [
    Type.TIMEVAL,
    fc.record({
      seconds: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      microseconds: fc.bigInt({ min: 0n, max: 999_999n }),
    }),
  ],
]
const scalar: fc.Arbitrary<Value> = fc.oneof(
  ...scalars.map(([type, data]) => data.map((each): Value => ({ type, data: each }))),
)
const array: fc.Arbitrary<Value> = fc
  .constantFrom(...scalars)
  .chain(([elements, data]) => fc.array(data, { maxLength: 5 }).map((items) => ({ elements, items })))
  .map((data) => ({ type: Type.DATA_ARRAY, data }))
const plain = fc.oneof(scalar, array)
const nothing: fc.Arbitrary<Value> = fc.constant({ type: Type.UNDEF, data: null })
const keyValue: fc.Arbitrary<KeyValue> = fc
  .tuple(latin1, fc.oneof(plain, nothing))
  .map(([key, value]) => ({ key, ...value }))
const info: fc.Arbitrary<Info> = fc.tuple(keyValue, u32).map(([pair, flags]) => ({ ...pair, flags }))
const infos = fc.array(info, { maxLength: 3 })
const value: fc.Arbitrary<Value> = fc.oneof(
  plain,
  keyValue.map((data): Value => ({ type: Type.KVAL, data })),
  infos.map((items): Value => ({ type: Type.DATA_ARRAY, data: { elements: Type.INFO, items } })),
  fc.tuple(proc, keyValue).map(([who, pair]): Value => ({ type: Type.PDATA, data: { proc: who, ...pair } })),
  fc
    .record({
      command: fc.option(latin1),
      argv: fc.array(latin1, { maxLength: 4 }),
      env: fc.array(latin1, { maxLength: 4 }),
      cwd: fc.option(latin1),
      maxprocs: i32,
      info: infos,
    })
    .map((data): Value => ({ type: Type.APP, data })),
  fc
    .record({ keys: fc.array(latin1, { maxLength: 4 }), qualifiers: infos })
    .map((data): Value => ({ type: Type.QUERY, data })),
)

function write(format: Format, { type, data }: Value): Buffer {
  const writer = new Writer(format, 1)
  writeData(writer.pack(type), type, data)
  return writer.result()
}

function read(format: Format, type: number, from: Uint8Array): Data {
  const reader = new Reader(format, from)
  reader.packOf(type)
  const data = readData(reader, type)
  expect(reader.remaining).toBe(0)
  return data
}

/** Runs what may only succeed or refuse. */
function attempt(body: () => unknown): void {
  try {
    body()
  } catch (error) {
    if (!(error instanceof UnknownTypeError)) expect(error).toBeInstanceOf(LeetError)
  }
}

describe('integers', () => {
  it.each([
    ['02', (writer: Writer) => writer.i32(1)],
    ['5b', (writer: Writer) => writer.i32(-46)],
    ['5d', (writer: Writer) => writer.i32(-47)],
    ['54', (writer: Writer) => writer.i32(42)],
    ['b009', (writer: Writer) => writer.i32(600)],
    ['feffffff0f', (writer: Writer) => writer.u32(0xfffffffe)],
    ['ffffffff0f', (writer: Writer) => writer.i32(-(2 ** 31))],
    ['ffffffffffffffffff', (writer: Writer) => writer.u64(2n ** 64n - 1n)],
  ])('are flexible: %s', (hex, writes) => {
    expect(writes(new Writer(flex)).result().toString('hex')).toBe(hex)
  })

  it.each([
    ['000f0000000000000001', (writer: Writer) => writer.size(1)],
    ['000f0000000100000000', (writer: Writer) => writer.size(2 ** 32)],
    ['ffffffd1', (writer: Writer) => writer.i32(-47)],
    ['0009ffffffff', (writer: Writer) => writer.int(-1)],
  ])('are fixed: %s', (hex, writes) => {
    expect(writes(new Writer(fixed)).result().toString('hex')).toBe(hex)
  })

  it.each(formats)('are read back in format %o', (format) => {
    const cases = fc.record({
      size: fc.maxSafeNat(),
      wide: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      u32,
      i32,
      u16,
    })
    fc.assert(
      fc.property(cases, (all) => {
        const writer = new Writer(format).size(all.size).i64(all.wide).u32(all.u32).i32(all.i32).u16(all.u16)
        const reader = new Reader(format, writer.result())
        const back = {
          size: reader.size(),
          wide: reader.i64(),
          u32: reader.u32(),
          i32: reader.i32(),
          u16: reader.u16(),
        }
        expect({ ...back, left: reader.remaining }).toEqual({ ...all, left: 0 })
      }),
    )
  })

  it('that do not fit their type are refused', () => {
    const tooLarge = new Writer(flex).u64(2n ** 60n).result()
    for (const read of [
      (reader: Reader) => reader.u16(),
      (reader: Reader) => reader.u32(),
      (reader: Reader) => reader.i32(),
      (reader: Reader) => reader.size(),
    ]) {
      expect(() => read(new Reader(flex, tooLarge))).toThrow(LeetError)
    }
  })
})

describe('values', () => {
  it.each(formats)('are read back in format %o', (format) => {
    fc.assert(
      fc.property(value, (each) => {
        expect(read(format, each.type, write(format, each))).toEqual(each.data)
      }),
    )
  })

  it('mean the same in every format', () => {
    fc.assert(
      fc.property(value, fc.constantFrom(...formats), fc.constantFrom(...formats), (each, from, to) => {
        const there = { type: each.type, data: read(from, each.type, write(from, each)) }
        expect(write(to, there)).toEqual(write(to, each))
      }),
    )
  })

  it('that are cut short are refused', () => {
    fc.assert(
      fc.property(value, fc.constantFrom(...formats), fc.nat(), (each, format, cut) => {
        const whole = write(format, each)
        const part = whole.subarray(0, cut % whole.length)
        expect(() => {
          const reader = new Reader(format, part)
          reader.packOf(each.type)
          readData(reader, each.type)
        }).toThrow(LeetError)
      }),
    )
  })

  it('nested without end are refused', () => {
    let nested: Value = { type: Type.BYTE, data: 1 }
    for (let depth = 0; depth < 100; depth++) nested = { type: Type.VALUE, data: nested }
    const deep = write(flex, nested)
    expect(() => read(flex, Type.VALUE, deep)).toThrow(/nested/)
  })

  it('whose count promises more than there is are refused before memory is set aside', () => {
    const array = new Writer(flex)
      .u16(Type.BYTE)
      .size(2 ** 40)
      .result()
    expect(() => readData(new Reader(flex, array), Type.DATA_ARRAY)).toThrow(/count/)
    const nothings = new Writer(flex)
      .u16(Type.UNDEF)
      .size(2 ** 40)
      .result()
    expect(() => readData(new Reader(flex, nothings), Type.DATA_ARRAY)).toThrow(/nothing/)
    const many = Buffer.concat([
      new Writer(flex)
        .u16(Type.BYTE)
        .size(2 ** 20)
        .result(),
      Buffer.alloc(2 ** 20),
    ])
    expect(() => readData(new Reader(flex, many), Type.DATA_ARRAY)).toThrow(/count/)
  })
})

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    const frame = fc.tuple(u32, fc.uint8Array({ maxLength: 600 }))
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }),
        (frames, cuts) => {
          const stream = Buffer.concat(
            frames.flatMap(([tag, payload]) => [frameHeader(tag, payload.length), payload]),
          )
          const reader = new FrameReader('message')
          const seen: [number, string][] = []
          for (let at = 0, cut = 0; at < stream.length; cut++) {
            const end = at + (cuts[cut % cuts.length] as number)
            for (const { tag, payload } of reader.push(stream.subarray(at, end))) {
              seen.push([tag, payload.toString('hex')])
            }
            at = end
          }
          expect(seen).toEqual(frames.map(([tag, payload]) => [tag, Buffer.from(payload).toString('hex')]))
        },
      ),
    )
  })

  it('that are too long end the stream', () => {
    const header = requestFrame(101, Buffer.alloc(0))
    header.writeUInt32BE(MAX_MESSAGE_BYTES + 1, 8)
    expect(() => new FrameReader('message').push(header)).toThrow(/bytes/)
  })
})

describe('handshakes', () => {
  const who = { nspace: 'leet-job', rank: 7 }

  const read = (stream: Buffer) => {
    const frames = new FrameReader('handshake').push(stream)
    return frames.map(({ payload }) => readHandshake(payload))
  }

  it.each(formats)('are read when they are complete, in format %o', (format) => {
    const whole = handshakeOf(who, format)
    for (let length = 0; length < whole.length; length++) {
      expect(read(whole.subarray(0, length))).toEqual([])
    }
    expect(read(whole)).toEqual([{ ...who, version: '4.2.2', format }])
  })

  it('are followed by messages', () => {
    const stream = Buffer.concat([
      handshakeOf(who, flex),
      requestFrame(101, Buffer.from('some')),
      Buffer.alloc(3),
    ])
    const [, message, ...more] = new FrameReader('handshake').push(stream)
    expect([message, more]).toEqual([{ tag: 101, payload: Buffer.from('some') }, []])
  })

  it.each([
    ['an encoding nobody speaks', handshakeOf(who, flex, 'v99')],
    ['the encoding of version 2.0', handshakeOf(who, fixed, 'v20')],
    ['no handshake', requestFrame(101, Buffer.alloc(8))],
    ['one too long', handshakeHeader(2 ** 30)],
    ['one that ends early', Buffer.concat([handshakeHeader(6), Buffer.from('native')])],
  ])('are refused: %s', (_, bytes) => {
    expect(() => read(bytes)).toThrow(LeetError)
  })

  it('of tools are refused', () => {
    const tool = Buffer.concat([
      Buffer.from('native\0', 'latin1'),
      Buffer.from([0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1]),
      Buffer.alloc(40),
    ])
    expect(() => readHandshake(tool)).toThrow(/tool/)
  })

  it('of random bytes are refused or wait for more', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (garbage) => {
        attempt(() => readHandshake(Buffer.from(garbage)))
        attempt(() => read(Buffer.from(garbage)))
      }),
    )
  })
})

describe('requests', () => {
  it('of random bytes are read or refused', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...formats),
        byte,
        fc.uint8Array({ maxLength: 200 }),
        (format, command, rest) => {
          const head = new Writer(format)
            .pack(Type.COMMAND)
            .u8(command % 40)
            .result()
          attempt(() => decodeRequest(Buffer.concat([head, rest]), format))
          attempt(() => decodeRequest(Buffer.from(rest), format))
        },
      ),
      { numRuns: 2000 },
    )
  })
})
