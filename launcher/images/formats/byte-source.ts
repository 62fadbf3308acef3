// Where the readers of formats take their bytes from, piece by piece at any place.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** Bytes that can be read at any place. `read` may return fewer bytes at the end, never more. */
export interface ByteSource {
  readonly size: number
  read(offset: number, length: number): Buffer
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
