// An NFS server that answers procedure NULL of NFS, or nothing, and is silent to everything else: for servers that hang.
import { createServer, type Socket } from 'node:net'

/** A simulated server on 127.0.0.1. */
export interface NullServer {
  readonly port: number
  /** Whether NULL is answered; everything else never is. */
  answers: boolean
  /** Calls so far. */
  calls: number
  close(): Promise<void>
}

/** Starts one; `port` is chosen by the kernel unless told. */
export async function startNullServer(port = 0): Promise<NullServer> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (call) => {
      made.calls++
      // RFC 5531: xid, call, RPC version, program, version, procedure.
      const isNull = call.length >= 28 && call.readUInt32BE(16) === 100_003 && call.readUInt32BE(24) === 0
      if (!made.answers || !isNull) return
      const reply = Buffer.alloc(28)
      reply.writeUInt32BE(0x8000_0018, 0)
      call.copy(reply, 4, 4, 8)
      reply.writeUInt32BE(1, 8)
      socket.write(reply)
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const made: NullServer = {
    port: (server.address() as { port: number }).port,
    answers: true,
    calls: 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
  return made
}
