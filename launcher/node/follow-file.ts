// A file that another process writes, followed from its present end: the console of a guest that a session keeps. When
// the file is put aside (GuestConsole does so when it has grown large) what is left of it is read before the new one.
import { closeSync, type FSWatcher, fstatSync, openSync, readSync, statSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'

/** A file that is followed until it is closed. */
export interface FollowedFile {
  /** Reads what is there now, without waiting to be told of it. */
  read(): void
  close(): void
}

const PIECE = 64 << 10

/** Gives `onData` whatever is written from now on. */
export function followFile(path: string, onData: (data: Uint8Array) => void): FollowedFile {
  let file: number | undefined = openSync(path, 'r')
  let position = fstatSync(file).size
  const buffer = Buffer.alloc(PIECE)
  const drain = () => {
    if (file === undefined) return
    for (let size = readSync(file, buffer, 0, PIECE, position); size > 0; ) {
      position += size
      onData(Buffer.from(buffer.subarray(0, size)))
      size = readSync(file, buffer, 0, PIECE, position)
    }
  }
  const read = () => {
    drain()
    const now = statSync(path, { throwIfNoEntry: false })
    if (file === undefined || !now || now.ino === fstatSync(file).ino) return
    closeSync(file)
    file = openSync(path, 'r')
    position = 0
    drain()
  }
  // The directory, because the file itself may be replaced.
  const watcher: FSWatcher = watch(dirname(path), (_, name) => {
    if (name === null || name === basename(path)) read()
  })
  watcher.on('error', () => {})
  return {
    read,
    close() {
      watcher.close()
      if (file !== undefined) closeSync(file)
      file = undefined
    },
  }
}
