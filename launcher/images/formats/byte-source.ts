// Where the readers of formats take their bytes from: a file or a buffer, read piece by piece at any place.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** Bytes that can be read at any place: a file or a buffer. `read` may return fewer bytes at the end, never more. */
export interface ByteSource {
  readonly size: number
  read(offset: number, length: number): Buffer
}

/** A buffer as a ByteSource. */
export function bufferSource(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { size: buffer.length, read: (offset, length) => buffer.subarray(offset, offset + length) }
}

/** Opens a file as a ByteSource, gives it to `use`, and closes it. Errors of the file system pass through. */
export function withFile<T>(path: string, use: (source: ByteSource) => T): T {
  const fd = openSync(path, 'r')
  try {
    return use({
      size: fstatSync(fd).size,
      read(offset, length) {
        const buffer = Buffer.allocUnsafe(length)
        return buffer.subarray(0, readSync(fd, buffer, 0, length, offset))
      },
    })
  } finally {
    closeSync(fd)
  }
}
