// The first message of a connection: who the client is and how it writes. OpenPMIx 3.2 to 6.1, ptl_base_handshake.h.
import { type Format, formatOf, malformed } from './wire.ts'

/** What a client says of itself. Credentials prove nothing across machines and are not kept. */
export interface Handshake {
  readonly nspace: string
  readonly rank: number
  /** Version of the client library. */
  readonly version: string
  readonly format: Format
}

/** Reads the payload of a handshake. Throws `LEET_E_PMIX_MESSAGE` when it is none, or that of a tool or launcher. */
export function readHandshake(bytes: Buffer): Handshake {
  let at = 0
  const take = (count: number) => {
    if (count > bytes.length - at) throw malformed('handshake ends early')
    at += count
    return at - count
  }
  const string = () => {
    const stop = bytes.indexOf(0, at)
    if (stop < 0) throw malformed('handshake ends early')
    return bytes.toString('latin1', take(stop + 1 - at), stop)
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
  return { nspace, rank, version, format: formatOf(flex, described) }
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
