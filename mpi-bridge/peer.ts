// Whose process is at the other end of a connection from this machine: the kernel's socket tables say it (proc(5),
// /proc/net/tcp). Other users of a login or compute node must not speak for a rank, whatever they guess.
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'

/** Whether the peer may be a rank: `foreign` belongs to another user, `unknown` cannot be told. */
export type PeerVerdict = 'own' | 'foreign' | 'unknown'

/** Asks about connections; answers of one reading of the tables are shared by all who asked before it. */
export type PeerCheck = (socket: Socket) => Promise<PeerVerdict>

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']

/** Makes the check. Peers may belong to the users of `uids` and to root. */
export function createPeerCheck(uids: ReadonlySet<number>): PeerCheck {
  let next: Promise<Buffer[]> | undefined
  let last: Promise<unknown> = Promise.resolve()
  const tables = (): Promise<Buffer[]> => {
    // One reading at a time; whoever asks while one is under way shares the one after it.
    next ??= last.then(() => {
      next = undefined
      const reading = Promise.all(TABLES.map((path) => readFile(path).catch(() => Buffer.alloc(0))))
      last = reading
      return reading
    })
    return next
  }
  return async (socket) => {
    const { remoteAddress, remotePort, localAddress, localPort } = socket
    if (!remoteAddress || !localAddress || !remotePort || !localPort) return 'unknown'
    const ours = endpoint(localAddress, localPort)
    const theirs = endpoint(remoteAddress, remotePort)
    if (!ours || !theirs) return 'unknown'
    return verdictOf(await tables(), ours, theirs, uids)
  }
}

/** Whether an address is this machine's: only then do its tables know the peer. */
export function isLocalPeer(remoteAddress: string | undefined, localAddress: string | undefined): boolean {
  return remoteAddress !== undefined && (remoteAddress === localAddress || /^127\./.test(remoteAddress))
}

/** An IPv4 address and port as the tables print them on a little-endian machine: `0100007F:1F90`. */
export function endpoint(address: string, port: number): string | undefined {
  const match = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/i.exec(address)
  if (!match) return undefined
  const hex = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0')
  const bytes = match.slice(1, 5).map(Number).reverse()
  if (bytes.some((byte) => byte > 255)) return undefined
  return `${bytes.map((byte) => hex(byte, 2)).join('')}:${hex(port, 4)}`
}

/** Reads the verdict from socket tables: that of IPv4, then that of IPv6, where IPv4 peers are mapped. */
export function verdictOf(
  tables: readonly Buffer[],
  ours: string,
  theirs: string,
  uids: ReadonlySet<number>,
): PeerVerdict {
  const mapped = '0000000000000000FFFF0000'
  const rows = (a: string, b: string) => [`${a} ${b} `, `${mapped}${a} ${mapped}${b} `]
  const uid = ownerOf(tables, rows(theirs, ours))
  if (uid !== undefined) return uid === 0 || uids.has(uid) ? 'own' : 'foreign'
  // Our own end is listed, the other is not: it is in another network namespace, or gone.
  return ownerOf(tables, rows(ours, theirs)) === undefined ? 'unknown' : 'foreign'
}

/** The uid of the first row that has one of the address pairs. */
function ownerOf(tables: readonly Buffer[], pairs: readonly string[]): number | undefined {
  for (const table of tables) {
    for (const pair of pairs) {
      const at = table.indexOf(pair, 0, 'latin1')
      if (at < 0) continue
      // After the addresses: state, queues, timer, retransmits, uid.
      const fields = table.toString('latin1', at + pair.length, at + pair.length + 80).split(/ +/)
      const uid = Number(fields[4])
      if (Number.isSafeInteger(uid)) return uid
    }
  }
  return undefined
}
