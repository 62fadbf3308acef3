// The segments of several nodes joined into one, without any privilege: from the switch of each node a cable to that of
// the first. A cable is a vde_plug at either end and a TLS connection of the job's own between them; its bytes are the
// frames as vde_plug writes them (a length of two bytes before each). All traffic between nodes passes the first one: more
// cables would be loops, which a switch without a spanning tree carries round for ever.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { endOf, LeetError, messageOf, type Scope, type WaitLimits, waitFor } from '../../common/index.ts'
import type { Journal, JournalledChild } from '../journal/journal.ts'
import { clientTls, serverTls } from './tls.ts'

/** What a node's part in a mesh is made with. */
export interface MeshOptions {
  readonly journal: Journal
  /** With which the part ends. */
  readonly scope: Scope
  /** Of the node's switch: `LocalSegment.socketDirectory`. */
  readonly socketDirectory: string
  /** 32 bytes that only this job's processes have. */
  readonly key: Uint8Array
}

/** A node's part in a mesh. */
export interface MeshPart {
  /** Resolves, with what to tell the user, when a cable is gone. */
  readonly ended: Promise<LeetError>
}

/** The first node's part. */
export interface MeshCentre extends MeshPart {
  readonly port: number
}

/** By this byte a node says that it takes this connection for its cable, of those that it may have tried. */
const TAKEN = 0x2b
/** How long one address may take to answer, in milliseconds. */
const DIAL_MS = 5_000

/** Waits for a cable from each of `peers` other nodes; nobody else gets one. */
export async function openMeshCentre(options: MeshOptions, peers: number): Promise<MeshCentre> {
  const lost = Promise.withResolvers<LeetError>()
  const sockets = new Set<TLSSocket>()
  let plugged = 0
  const server = createServer(serverTls(options.key), (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    socket.once('readable', () => {
      if (socket.read(1)?.[0] !== TAKEN || plugged === peers) return void socket.destroy()
      if (++plugged === peers) server.close()
      plugIn(socket, options, `the cable from ${socket.remoteAddress}`).then(lost.resolve)
    })
  })
  // Whoever does not have the key is not worth a word.
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, resolve)
  })
  options.scope.onEnd('the cables of the mesh', () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, ended: lost.promise }
}

/** Where the first node of a mesh is. */
export interface MeshAddress {
  /** Numeric, the likeliest first. */
  readonly addresses: readonly string[]
  readonly port: number
  /** Its name, for messages. */
  readonly node: string
}

/** Lays the cable of another node; `LEET_E_UNREACHABLE` when the first node is not reached. */
export async function joinMesh(
  { addresses, port, node }: MeshAddress,
  options: MeshOptions,
  limits: WaitLimits,
): Promise<MeshPart> {
  const reasons: string[] = []
  for (const host of addresses) {
    const socket = connect({ host, port, ...clientTls(options.key) })
    options.scope.onEnd(`the cable to ${node}`, () => void socket.destroy())
    const opened = new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
    })
    const soon = { ...limits, deadline: limits.deadline.within(DIAL_MS) }
    try {
      await waitFor(opened, soon, { what: 'an answer', where: host })
      socket.write(Uint8Array.of(TAKEN))
      return { ended: plugIn(socket, options, `the cable to ${node}`) }
    } catch (error) {
      socket.destroy()
      if (limits.signal?.aborted || limits.deadline.expired) throw error
      reasons.push(`${host}: ${messageOf(error)}`)
    }
  }
  throw new LeetError({
    code: 'LEET_E_UNREACHABLE',
    what: `${node}, the first node of the mesh, cannot be reached at port ${port}`,
    why: reasons.join('; '),
    hint: 'the nodes must reach each other; a firewall between them needs a hole',
  })
}

// Joins switch and connection; resolves when either is gone, with what to tell the user.
async function plugIn(
  socket: TLSSocket,
  { journal, socketDirectory }: MeshOptions,
  what: string,
): Promise<LeetError> {
  const gone = (why: string, hint?: string) =>
    new LeetError({
      code: 'LEET_E_NETWORK',
      what: `${what}, which joins the guests of two nodes, is gone`,
      why,
      hint,
    })
  let plug: JournalledChild
  try {
    plug = journal.spawn(['vde_plug', socketDirectory], { what, stdio: 'pipe', cwd: '/' })
  } catch (error) {
    socket.destroy()
    return gone(messageOf(error), 'apt-get install vde2 vde-switch (Debian), or --network bridge=NAME')
  }
  const { stdin, stdout, stderr } = plug.child as ChildProcessWithoutNullStreams
  let said = ''
  stderr.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString('utf8')).slice(-2000)
  })
  stdin.on('error', () => {})
  socket.setNoDelay(true)
  socket.pipe(stdin)
  stdout.pipe(socket)
  let broken = 'the other end closed it'
  const closed = new Promise<string>((resolve) => {
    socket.on('error', (error) => {
      broken = error.message
    })
    socket.once('close', () => resolve(broken))
  })
  const why = await Promise.race([
    closed,
    endOf(plug.child).then(() => `vde_plug ended${said.trim() === '' ? '' : `: ${said.trim()}`}`),
  ])
  socket.destroy()
  plug.child.kill('SIGKILL')
  return gone(why)
}
