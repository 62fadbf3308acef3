// The bytes under every PMIx message: integers, strings and packs in the two encodings that OpenPMIx calls v21/v3
// ("fixed") and v4/v41 ("flex128"), each with or without type descriptions. Pure; reading is bounded by the bytes given.
// Observed with libpmix 3.2.3 to 6.1.0; src/mca/bfrops and src/mca/psquash of OpenPMIx 4.2.2.
import { LeetError } from '../../common/index.ts'

/** How a peer writes its packs; chosen by its handshake. The four formats are the values of `formats`. */
export interface Format {
  /** Index in `formats`, for caches and for the wire between agents. */
  readonly id: number
  /** Integers are base-128 varints, signed ones zig-zag coded; otherwise big endian of natural width. */
  readonly flex: boolean
  /** Each pack says its type; only debug builds of the client library do that unless told. */
  readonly described: boolean
}

/** Every format there is. */
export const formats: readonly Format[] = [
  { id: 0, flex: false, described: false },
  { id: 1, flex: true, described: false },
  { id: 2, flex: false, described: true },
  { id: 3, flex: true, described: true },
]

/** The format of these two properties. */
export function formatOf(flex: boolean, described: boolean): Format {
  return formats[(flex ? 1 : 0) + (described ? 2 : 0)] as Format
}

/** A message that is not what the format says. */
export function malformed(what: string): LeetError {
  return new LeetError({
    code: 'LEET_E_PMIX_MESSAGE',
    what: `malformed PMIx message (${what})`,
    hint: 'see mpi-bridge/pmix/README.md for the client libraries that are known to work',
  })
}

const INT32_TYPE = 9
const MAX_U32 = 0xffffffff
const MAX_THINGS = 2 ** 18

/** Writes bytes into a buffer that grows. Strings hold one byte per character (latin1), so that nothing is lost. */
export class Writer {
  readonly format: Format
  private bytes: Buffer
  private length = 0

  constructor(format: Format, expectedBytes = 256) {
    this.format = format
    this.bytes = Buffer.allocUnsafe(expectedBytes)
  }

  /** What was written; a view, valid until the next write. */
  result(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  private reserve(count: number): number {
    const at = this.length
    const needed = at + count
    if (needed > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2))
      this.bytes.copy(larger, 0, 0, at)
      this.bytes = larger
    }
    this.length = needed
    return at
  }

  u8(value: number): this {
    const at = this.reserve(1)
    this.bytes[at] = value
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.reserve(bytes.length)
    this.bytes.set(bytes, at)
    return this
  }

  u16(value: number): this {
    if (this.format.flex) return this.varint(value)
    const at = this.reserve(2)
    this.bytes.writeUInt16BE(value, at)
    return this
  }

  i16(value: number): this {
    if (this.format.flex) return this.varint(zigZag(value))
    const at = this.reserve(2)
    this.bytes.writeInt16BE(value, at)
    return this
  }

  u32(value: number): this {
    return this.format.flex ? this.varint(value) : this.fixedU32(value)
  }

  i32(value: number): this {
    if (this.format.flex) return this.varint(zigZag(value))
    const at = this.reserve(4)
    this.bytes.writeInt32BE(value, at)
    return this
  }

  u64(value: bigint): this {
    if (this.format.flex) return this.wideVarint(value)
    const at = this.reserve(8)
    this.bytes.writeBigUInt64BE(value, at)
    return this
  }

  i64(value: bigint): this {
    if (this.format.flex) return this.wideVarint(value >= 0n ? value * 2n : ~value * 2n + 1n)
    const at = this.reserve(8)
    this.bytes.writeBigInt64BE(value, at)
    return this
  }

  /** A size_t: fixed encodings say the sender's width first. */
  size(value: number): this {
    if (this.format.flex) return this.varint(value)
    return this.u16(15)
      .fixedU32(Math.floor(value / 2 ** 32))
      .fixedU32(value >>> 0)
  }

  wideSize(value: bigint): this {
    if (!this.format.flex) this.u16(15)
    return this.u64(value)
  }

  /** A C int: fixed encodings say its width first. */
  int(value: number): this {
    if (!this.format.flex) this.u16(INT32_TYPE)
    return this.i32(value)
  }

  unsignedInt(value: number): this {
    if (!this.format.flex) this.u16(14)
    return this.u32(value)
  }

  /** Null is the C null pointer. */
  string(value: string | null): this {
    if (value === null) return this.i32(0)
    this.i32(value.length + 1)
    const at = this.reserve(value.length + 1)
    this.bytes.write(value, at, value.length, 'latin1')
    this.bytes[at + value.length] = 0
    return this
  }

  /** Bytes with their length, as byte objects and buffers have them. */
  sized(bytes: Uint8Array): this {
    return this.size(bytes.length).raw(bytes)
  }

  /** Begins a pack of `count` values of a type. */
  pack(type: number, count = 1): this {
    if (this.format.described) this.u16(INT32_TYPE)
    this.i32(count)
    if (this.format.described) this.u16(type)
    return this
  }

  private fixedU32(value: number): this {
    const at = this.reserve(4)
    this.bytes.writeUInt32BE(value, at)
    return this
  }

  /** `value` is a whole number below 2^53, which never needs the ninth byte. */
  private varint(value: number): this {
    let rest = value
    while (rest > 0x7f) {
      this.u8((rest % 128) | 0x80)
      rest = Math.floor(rest / 128)
    }
    return this.u8(rest)
  }

  private wideVarint(value: bigint): this {
    let rest = value
    let groups = 0
    while (rest > 0x7fn && groups < 8) {
      this.u8(Number(rest & 0x7fn) | 0x80)
      rest >>= 7n
      groups++
    }
    return this.u8(Number(rest))
  }
}

/** Reads what `Writer` writes. Every method throws `LEET_E_PMIX_MESSAGE` when the bytes do not hold what it reads. */
export class Reader {
  readonly format: Format
  private readonly bytes: Buffer
  private at = 0
  private things = 0

  constructor(format: Format, bytes: Uint8Array) {
    this.format = format
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.bytes.length - this.at
  }

  private take(count: number): number {
    const at = this.at
    if (count > this.bytes.length - at) throw malformed('it ends early')
    this.at = at + count
    return at
  }

  u8(): number {
    return this.bytes[this.take(1)] as number
  }

  /** A view of the next bytes, not a copy. */
  raw(count: number): Buffer {
    const at = this.take(count)
    return this.bytes.subarray(at, at + count)
  }

  u16(): number {
    if (!this.format.flex) return this.bytes.readUInt16BE(this.take(2))
    return atMost(this.varint(), 0xffff)
  }

  i16(): number {
    if (!this.format.flex) return this.bytes.readInt16BE(this.take(2))
    return unZigZag(atMost(this.varint(), 0xffff))
  }

  u32(): number {
    if (!this.format.flex) return this.bytes.readUInt32BE(this.take(4))
    return atMost(this.varint(), MAX_U32)
  }

  i32(): number {
    if (!this.format.flex) return this.bytes.readInt32BE(this.take(4))
    return unZigZag(atMost(this.varint(), MAX_U32))
  }

  u64(): bigint {
    return this.format.flex ? this.wideVarint() : this.bytes.readBigUInt64BE(this.take(8))
  }

  i64(): bigint {
    if (!this.format.flex) return this.bytes.readBigInt64BE(this.take(8))
    const coded = this.wideVarint()
    return coded % 2n === 0n ? coded / 2n : ~(coded / 2n)
  }

  /** A size_t that counts something in this message, so below 2^53. */
  size(): number {
    if (this.format.flex) return this.varint()
    return this.widthTag() === 14 ? this.u32() : safe(Number(this.u64()))
  }

  wideSize(): bigint {
    return !this.format.flex && this.widthTag() === 14 ? BigInt(this.u32()) : this.u64()
  }

  int(): number {
    if (!this.format.flex && this.u16() !== INT32_TYPE) throw malformed('width of an int')
    return this.i32()
  }

  unsignedInt(): number {
    if (!this.format.flex && this.u16() !== 14) throw malformed('width of an unsigned int')
    return this.u32()
  }

  string(): string | null {
    const length = this.i32()
    if (length === 0) return null
    if (length < 0) throw malformed('length of a string')
    const at = this.take(length)
    if (this.bytes[at + length - 1] !== 0) throw malformed('end of a string')
    return this.bytes.toString('latin1', at, at + length - 1)
  }

  /** A view of bytes written with their length. */
  sized(): Buffer {
    return this.raw(this.size())
  }

  /** Begins a pack: gives the number of values of that type. No type takes less than a byte, which bounds the count. */
  pack(type: number): number {
    if (this.format.described && this.u16() !== INT32_TYPE) throw malformed('description of a pack')
    const count = this.i32()
    if (this.format.described) {
      const found = this.u16()
      if (found !== type) throw malformed(`a pack of type ${found} where ${type} is due`)
    }
    return this.counted(count)
  }

  /** Begins a pack that must hold exactly so many values. */
  packOf(type: number, count = 1): void {
    const found = this.pack(type)
    if (found !== count) throw malformed(`a pack of ${found} where ${count} are due`)
  }

  /**
   * Checks a count of things that follow and take at least a byte each, before memory is set aside for them.
   * All things of a message together are bounded too: as objects they take far more memory than as bytes.
   */
  counted(count: number): number {
    this.things += count
    if (count < 0 || count > this.remaining || this.things > MAX_THINGS)
      throw malformed(`a count of ${count}`)
    return count
  }

  private widthTag(): number {
    const tag = this.u16()
    if (tag !== 14 && tag !== 15) throw malformed('width of a size')
    return tag
  }

  private varint(): number {
    let value = 0
    let weight = 1
    for (let group = 0; group < 8; group++) {
      const byte = this.u8()
      if (byte < 0x80) return safe(value + byte * weight)
      value += (byte - 0x80) * weight
      weight *= 128
    }
    return safe(value + this.u8() * weight)
  }

  private wideVarint(): bigint {
    let value = 0n
    for (let group = 0n; group < 8n; group++) {
      const byte = this.u8()
      value |= BigInt(byte & 0x7f) << (group * 7n)
      if (byte < 0x80) return value
    }
    return value | (BigInt(this.u8()) << 56n)
  }
}

function zigZag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1
}

function unZigZag(coded: number): number {
  return coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2
}

function atMost(value: number, most: number): number {
  if (value > most) throw malformed('an integer too large for its type')
  return value
}

function safe(value: number): number {
  return atMost(value, Number.MAX_SAFE_INTEGER)
}
