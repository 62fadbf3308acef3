// A name that one process of this node holds at a time: a listening socket in Linux's abstract namespace (unix(7)). The
// kernel knows it in the whole network namespace, whoever's the processes are, and takes it back when its holder ends,
// however that ends.
import { createServer } from 'node:net'

/** A name that is held. */
export interface NameLock {
  release(): void
}

/** Takes a name, such as `guest/10.77.1.1`; undefined when another process has it. */
export function lockName(name: string): Promise<NameLock | undefined> {
  return new Promise((resolve, reject) => {
    // Whoever connects learns that the name is in use, which is no secret.
    const server = createServer((socket) => socket.destroy())
    server.unref()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(`\0leet-${name}`, () => resolve({ release: () => void server.close() }))
  })
}
