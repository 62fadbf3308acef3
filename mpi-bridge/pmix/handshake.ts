// The first message of a connection: who the client is and how it writes. OpenPMIx 3.2 to 6.1, ptl_base_handshake.h.
import { HEADER_BYTES } from './frames.ts'
import { type Format, formatOf, malformed } from './wire.ts'

/** The longest handshake accepted; OpenPMIx's own server has the same bound. */
const MAX_HANDSHAKE_BYTES = 128 * 1024

/** What a client says of itself. Credentials prove nothing across machines and are not kept. */
export interface Handshake {
  readonly nspace: string
  readonly rank: number
  /** Version of the client library. */
  readonly version: string
  readonly format: Format
}

/** A handshake read from the beginning of a stream, and how many bytes it took. */
export interface HandshakeRead {
  readonly handshake: Handshake
  readonly bytes: number
}

/**
 * Reads the handshake at the beginning of `bytes`; undefined while it has not come completely.
 * Throws `LEET_E_PMIX_MESSAGE` when it is none, or that of a tool or launcher.
 */
export function readHandshake(bytes: Buffer): HandshakeRead | undefined {
  if (bytes.length < HEADER_BYTES) return undefined
  if (bytes.readInt32BE(0) !== -1) throw malformed('no handshake')
  // Alone among all headers, this one has its length in the byte order of the client's machine.
  const length = bytes.readUInt32LE(8)
  if (length > MAX_HANDSHAKE_BYTES) throw malformed(`a handshake of ${length} bytes`)
  const end = HEADER_BYTES + length
  if (bytes.length < end) return undefined

  let at = HEADER_BYTES
  const take = (count: number) => {
    if (count > end - at) throw malformed('handshake ends early')
    at += count
    return at - count
  }
  const string = () => {
    const stop = bytes.indexOf(0, at)
    if (stop < 0 || stop >= end) throw malformed('handshake ends early')
    const from = take(stop + 1 - at)
    return bytes.toString('latin1', from, stop)
  }
  string() // the security module: none, native or munge
  take(bytes.readUInt32BE(take(4)))
  if (bytes[take(1)] !== 0) throw malformed('a tool, not a rank')
  const nspace = string()
  const rank = bytes.readUInt32BE(take(4))
  const version = string()
  const flex = isFlex(string())
  const described = isDescribed(bytes[take(1)])
  // What follows (the data store, then additions of later versions) changes nothing.
  return { handshake: { nspace, rank, version, format: formatOf(flex, described) }, bytes: end }
}

/** The answer to a client that is taken: unlike all else without a header. `index` is a number of its own. */
export function acceptance(index: number): Buffer {
  const answer = Buffer.alloc(8)
  answer.writeUInt32BE(index, 4)
  return answer
}

/** The answer to a client that is not; then the connection is closed. */
export function refusal(status: number): Buffer {
  const answer = Buffer.alloc(4)
  answer.writeInt32BE(status)
  return answer
}

function isFlex(encoding: string): boolean {
  switch (encoding) {
    case 'v21':
    case 'v3':
      return false
    case 'v4':
    case 'v41':
      return true
    default:
      throw malformed(`encoding ${JSON.stringify(encoding.slice(0, 16))}`)
  }
}

function isDescribed(type: number | undefined): boolean {
  if (type === 1 || type === 2) return type === 2
  throw malformed('kind of buffers')
}
