// The frames of leet-starter: what is sent is what the format says, what comes may be anything.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import type { RankStart } from '../../../mpi-bridge/channels/channel.ts'
import {
  encodeInputEnd,
  encodeInputHead,
  encodeShutdown,
  encodeSignal,
  encodeStart,
  FrameDecoder,
  START_STAGES,
  type StarterFrame,
} from '../../../mpi-bridge/starter/codec.ts'

/** A frame as the starter sends it. */
function frame(type: number, rank: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUInt32BE(payload.length, 0)
  head.writeUInt8(type, 4)
  head.writeUInt32BE(rank, 5)
  return Buffer.concat([head, payload])
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function decodeAll(bytes: Uint8Array, cuts: readonly number[] = []): StarterFrame[] {
  const decoder = new FrameDecoder()
  const frames: StarterFrame[] = []
  let from = 0
  for (const to of [...cuts, bytes.length]) {
    decoder.push(bytes.subarray(from, to), (decoded) => frames.push(copied(decoded)))
    from = to
  }
  return frames
}

const copied = (decoded: StarterFrame): StarterFrame =>
  decoded.kind === 'output' ? { ...decoded, data: Uint8Array.from(decoded.data) } : decoded

/** Reads a start frame as README.md describes it. */
function parseStart(bytes: Buffer): RankStart {
  expect(bytes.readUInt32BE(0)).toBe(bytes.length - 9)
  expect(bytes[4]).toBe(1)
  const flags = bytes[9] as number
  let at = 10
  const next = () => {
    at += 4
    return bytes.readUInt32BE(at - 4)
  }
  const [argc, envc, groupCount, cpuCount, uid, gid] = Array.from({ length: 6 }, next) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const groups = Array.from({ length: groupCount }, next)
  const cpus = Array.from({ length: cpuCount }, next)
  const strings = bytes.subarray(at).toString('utf8').split('\0')
  expect(strings.pop()).toBe('')
  expect(strings).toHaveLength(1 + argc + envc)
  const [cwd, ...rest] = strings as [string, ...string[]]
  return {
    rank: bytes.readUInt32BE(5),
    argv: rest.slice(0, argc),
    env: Object.fromEntries(
      rest.slice(argc).map((entry) => {
        const equals = entry.indexOf('=')
        return [entry.slice(0, equals), entry.slice(equals + 1)]
      }),
    ),
    cwd,
    stdin: (flags & 1) !== 0,
    terminal: (flags & 2) !== 0,
    ...((flags & 4) !== 0 ? { user: { uid, gid, groups } } : {}),
    ...((flags & 8) !== 0 ? { coarseTimers: true } : {}),
    ...(cpuCount > 0 ? { cpus } : {}),
  }
}

const text = fc.string({ unit: 'grapheme' }).map((value) => value.replaceAll('\0', ''))
const id = fc.nat(0xffff_fffe)
const starts: fc.Arbitrary<RankStart> = fc.record(
  {
    rank: fc.nat((1 << 20) - 1),
    argv: fc
      .tuple(
        text.filter((name) => name !== ''),
        fc.array(text),
      )
      .map(([name, rest]) => [name, ...rest]),
    env: fc.dictionary(
      text.filter((name) => name !== '' && name !== '__proto__' && !name.includes('=')),
      text,
    ),
    cwd: text,
    stdin: fc.boolean(),
    terminal: fc.boolean(),
    coarseTimers: fc.constant(true),
    user: fc.record({ uid: id, gid: id, groups: fc.array(id) }),
    cpus: fc.array(fc.nat(8191), { minLength: 1 }),
  },
  { requiredKeys: ['rank', 'argv', 'env', 'cwd', 'stdin', 'terminal'] },
)

describe('frames to the starter', () => {
  it('a start holds all of its specification', () => {
    fc.assert(
      fc.property(starts, (start) => {
        expect(parseStart(encodeStart(start))).toEqual(start)
      }),
    )
  })

  const start: RankStart = { rank: 0, argv: ['true'], env: {}, cwd: '/', stdin: false, terminal: false }
  it.each<[string, Partial<RankStart>]>([
    ['no program', { argv: [] }],
    ['an empty program name', { argv: [''] }],
    ['a NUL in an argument', { argv: ['true', 'a\0b'] }],
    ['a NUL in a variable', { env: { A: 'a\0b' } }],
    ['a NUL in the directory', { cwd: '/\0' }],
    ['a variable without a name', { env: { '': 'x' } }],
    ['a variable with = in its name', { env: { 'A=B': 'x' } }],
    ['a negative rank', { rank: -1 }],
    ['a rank too high', { rank: 1 << 20 }],
    ['half a user', { user: { uid: 1.5, gid: 0, groups: [] } }],
    ['the user number that means none', { user: { uid: 0xffff_ffff, gid: 0, groups: [] } }],
    ['a CPU that no machine has', { cpus: [8192] }],
    ['more than execve takes', { env: { A: 'x'.repeat(17 << 20) } }],
  ])('refuses %s', (_, change) => {
    expect(() => encodeStart({ ...start, ...change })).toThrow(
      expect.objectContaining({ code: 'LEET_E_RANK_START' }),
    )
  })

  it('the small ones are as described', () => {
    expect(encodeInputHead(3, 5).toString('hex')).toBe('000000050200000003')
    expect(encodeInputEnd(3).toString('hex')).toBe('000000000300000003')
    expect(encodeSignal(3, 15).toString('hex')).toBe('0000000104000000030f')
    expect(encodeSignal('all', 9).toString('hex')).toBe('0000000104ffffffff09')
    expect(encodeShutdown(15, 1000).toString('hex')).toBe('0000000505ffffffff0f000003e8')
  })
})

const rank = fc.nat((1 << 20) - 1)
const bytes = fc.uint8Array({ maxLength: 300 })
/** A frame together with its bytes. */
const frames: fc.Arbitrary<[StarterFrame, Buffer]> = fc.oneof(
  fc
    .tuple(fc.nat(), fc.nat())
    .map(([protocol, pid]): [StarterFrame, Buffer] => [
      { kind: 'ready', protocol, pid },
      frame(16, 0xffff_ffff, Buffer.concat([u32(protocol), u32(pid)])),
    ]),
  fc
    .tuple(rank, fc.nat())
    .map(([rank, pid]): [StarterFrame, Buffer] => [{ kind: 'began', rank, pid }, frame(17, rank, u32(pid))]),
  fc
    .tuple(rank, fc.boolean(), bytes)
    .map(([rank, isOut, data]): [StarterFrame, Buffer] => [
      { kind: 'output', rank, stream: isOut ? 'stdout' : 'stderr', data },
      frame(isOut ? 18 : 19, rank, data),
    ]),
  fc
    .tuple(rank, fc.nat(255))
    .map(([rank, status]): [StarterFrame, Buffer] => [
      { kind: 'exited', rank, end: { kind: 'exit', status } },
      frame(20, rank, Uint8Array.of(0, status, 0)),
    ]),
  fc
    .tuple(rank, fc.integer({ min: 1, max: 64 }), fc.boolean())
    .map(([rank, signal, core]): [StarterFrame, Buffer] => [
      { kind: 'exited', rank, end: { kind: 'signal', signal, core } },
      frame(20, rank, Uint8Array.of(1, signal, core ? 1 : 0)),
    ]),
  fc
    .tuple(rank, fc.nat(133), fc.integer({ min: 1, max: START_STAGES.length }))
    .map(([rank, errno, stage]): [StarterFrame, Buffer] => [
      { kind: 'failed', rank, errno, stage: START_STAGES[stage - 1] as (typeof START_STAGES)[number] },
      frame(21, rank, Buffer.concat([u32(errno), Uint8Array.of(stage)])),
    ]),
  fc
    .tuple(rank, fc.nat())
    .map(([rank, bytes]): [StarterFrame, Buffer] => [
      { kind: 'input-taken', rank, bytes },
      frame(22, rank, u32(bytes)),
    ]),
  rank.map((rank): [StarterFrame, Buffer] => [
    { kind: 'input-closed', rank },
    frame(23, rank, new Uint8Array()),
  ]),
)

describe('frames from the starter', () => {
  it('are the same however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(frames), fc.array(fc.nat(4000)), (list, cuts) => {
        const stream = Buffer.concat(list.map(([, encoded]) => encoded))
        const inside = cuts.filter((cut) => cut <= stream.length).sort((one, other) => one - other)
        expect(decodeAll(stream, inside)).toEqual(list.map(([decoded]) => decoded))
      }),
    )
  })

  it('come out whole from a stream of single bytes', () => {
    const data = Uint8Array.from({ length: 500 }, (_, index) => index % 256)
    const stream = frame(18, 1, data)
    const cuts = Array.from({ length: stream.length }, (_, index) => index)
    expect(decodeAll(stream, cuts)).toEqual([{ kind: 'output', rank: 1, stream: 'stdout', data }])
  })

  it('anything else is a LeetError', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            bytes,
            frames.map(([, encoded]) => encoded),
          ),
        ),
        (chunks) => {
          const decoder = new FrameDecoder()
          try {
            for (const chunk of chunks) decoder.push(chunk, () => {})
          } catch (error) {
            expect(error).toBeInstanceOf(LeetError)
            expect((error as LeetError).code).toBe('LEET_E_STARTER_PROTOCOL')
          }
        },
      ),
    )
  })

  it.each<[string, Buffer]>([
    ['a frame too large, before its payload has come', frame(18, 0, Buffer.alloc(65537)).subarray(0, 9)],
    ['an unknown type', frame(99, 0, Buffer.alloc(0))],
    ['a type of the other direction', frame(1, 0, Buffer.alloc(0))],
    ['a rank out of range', frame(17, 1 << 20, u32(1))],
    ['a short frame', frame(17, 0, Buffer.alloc(3))],
    ['a signal that is none', frame(20, 0, Uint8Array.of(1, 65, 0))],
    ['a kind of end that is none', frame(20, 0, Uint8Array.of(2, 0, 0))],
    ['a stage that is none', frame(21, 0, Uint8Array.of(0, 0, 0, 2, 10))],
  ])('refuses %s', (_, stream) => {
    expect(() => decodeAll(stream)).toThrow(expect.objectContaining({ code: 'LEET_E_STARTER_PROTOCOL' }))
  })

  it('a refusal is made fit to print', () => {
    expect(decodeAll(frame(24, 0xffff_ffff, Buffer.from('no\x1b[2J\n')))).toEqual([
      { kind: 'refused', why: 'no?[2J?' },
    ])
  })
})
