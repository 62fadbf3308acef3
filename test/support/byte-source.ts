// A buffer as the readers of file formats take it, in the place of a file.
import type { ByteSource } from '../../launcher/images/formats/index.ts'

/** A buffer as a ByteSource. */
export function bufferSource(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { size: buffer.length, read: (offset, length) => buffer.subarray(offset, offset + length) }
}
