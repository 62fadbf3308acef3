// Frames: the 16-byte header before every message, in both directions, as 64-bit clients write it.
// Offsets 0 peer index, 4 tag, 8 length of what follows (big endian), 12 padding. OpenPMIx 3.2 to 6.1, ptl_types.h.
import { malformed } from './wire.ts'

/** Bytes of a header. */
const HEADER_BYTES = 16

/** Tag of events, server to client. */
export const EVENT_TAG = 0

/** Smaller tags than this are channels (events, heartbeats, forwarded output), not requests that want a reply. */
export const FIRST_REQUEST_TAG = 101

/** The longest message accepted; Open MPI's are below a kilobyte for each megabyte of guests. */
export const MAX_MESSAGE_BYTES = 16 * 2 ** 20

/** The longest handshake accepted; OpenPMIx's own server has the same bound. */
export const MAX_HANDSHAKE_BYTES = 128 * 1024

/** One message of a client. */
export interface Frame {
  readonly tag: number
  readonly payload: Buffer
}

/** The header of a message to a client. */
export function frameHeader(tag: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  // The index that a server gives itself is of no interest to clients.
  header.writeInt32BE(-1, 0)
  header.writeUInt32BE(tag, 4)
  header.writeUInt32BE(length, 8)
  header.writeUInt32BE(0, 12)
  return header
}

/**
 * Cuts a byte stream into frames. Keeps at most one incomplete frame, as far as it has come. The first of a client is
 * its handshake; the stream is of no use after anything was thrown.
 */
export class FrameReader {
  private handshake: boolean
  private partial: Buffer = Buffer.alloc(0)
  private partialBytes = 0
  /** Bytes that complete the header or frame begun in `partial`. */
  private wanted = HEADER_BYTES

  constructor(first: 'handshake' | 'message') {
    this.handshake = first === 'handshake'
  }

  /**
   * The frames that `chunk` completes, in order; payloads may be views of the chunk. Throws `LEET_E_PMIX_MESSAGE` for
   * a message that is too long and for a first one that is no handshake.
   */
  push(chunk: Buffer): Frame[] {
    let bytes = chunk
    if (this.partialBytes > 0) {
      this.keep(chunk)
      if (this.partialBytes < this.wanted) return []
      bytes = this.partial.subarray(0, this.partialBytes)
      this.partialBytes = 0
    }
    const frames: Frame[] = []
    let at = 0
    for (;;) {
      this.wanted = HEADER_BYTES
      if (bytes.length - at < HEADER_BYTES) break
      const length = this.handshake ? handshakeLength(bytes, at) : messageLength(bytes, at)
      this.wanted = HEADER_BYTES + length
      if (bytes.length - at < this.wanted) break
      frames.push({
        tag: bytes.readUInt32BE(at + 4),
        payload: bytes.subarray(at + HEADER_BYTES, at + this.wanted),
      })
      at += this.wanted
      this.handshake = false
    }
    if (at < bytes.length) {
      // The frames just cut may be views of the old memory.
      this.partial = Buffer.alloc(0)
      this.keep(bytes.subarray(at))
    }
    return frames
  }

  /** The memory grows as bytes come, whatever length a header promises. */
  private keep(chunk: Buffer): void {
    const needed = this.partialBytes + chunk.length
    if (needed > this.partial.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.partial.length * 2, 256))
      this.partial.copy(larger, 0, 0, this.partialBytes)
      this.partial = larger
    }
    chunk.copy(this.partial, this.partialBytes)
    this.partialBytes = needed
  }
}

function messageLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 8)
  if (length > MAX_MESSAGE_BYTES) throw malformed(`a message of ${length} bytes`)
  return length
}

function handshakeLength(bytes: Buffer, at: number): number {
  if (bytes.readInt32BE(at) !== -1) throw malformed('no handshake')
  // Alone among all headers, this one has its length in the byte order of the client's machine.
  const length = bytes.readUInt32LE(at + 8)
  if (length > MAX_HANDSHAKE_BYTES) throw malformed(`a handshake of ${length} bytes`)
  return length
}
