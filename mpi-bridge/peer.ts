// Whose process is at the other end of a connection from this machine: the kernel's socket tables say it (proc(5),
// /proc/net/tcp). Other users of a login or compute node must not speak for a rank, whatever they guess.
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { pause } from '../common/index.ts'

/** Whether the peer may be a rank: `foreign` belongs to another user, `unknown` cannot be told. */
export type PeerVerdict = 'own' | 'foreign' | 'unknown'

/** A reading takes milliseconds, more where thousands of sockets are: the pause after it is so many times as long. */
const PAUSE_FACTOR = 2
/** Bounds of the pause, in milliseconds. */
const LEAST_PAUSE = 4
const MOST_PAUSE = 100

/**
 * Reads the tables for whoever asks: who asks while a reading is under way shares the one after it, and readings keep
 * a distance, so that many ranks that connect one after the other are answered by few of them.
 */
class TableReader {
  #next: Promise<Tables> | undefined
  #notBefore = 0

  tables(): Promise<Tables> {
    this.#next ??= this.#read()
    return this.#next
  }

  async #read(): Promise<Tables> {
    await pause(Math.max(0, this.#notBefore - performance.now()))
    this.#next = undefined
    const begin = performance.now()
    const tables = new Tables(readTable('tcp'), () => readTable('tcp6'))
    const end = performance.now()
    this.#notBefore = end + Math.min(MOST_PAUSE, Math.max(LEAST_PAUSE, (end - begin) * PAUSE_FACTOR))
    return tables
  }
}

/** One for all process managers of this process: the tables are the machine's. */
const reader = new TableReader()

/** Whose the other end of a connection from this machine is; peers may belong to the users of `uids` and to root. */
export async function checkPeer(socket: Socket, uids: ReadonlySet<number>): Promise<PeerVerdict> {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  if (!remoteAddress || !localAddress || !remotePort || !localPort) return 'unknown'
  const ours = endpoint(localAddress, localPort)
  const theirs = endpoint(remoteAddress, remotePort)
  return ours && theirs ? (await reader.tables()).verdict(ours, theirs, uids) : 'unknown'
}

/** At once: the kernel gives 4 KiB at a time, and so many trips through a thread pool take long on a busy machine. */
function readTable(name: 'tcp' | 'tcp6'): Buffer {
  try {
    return readFileSync(`/proc/net/${name}`)
  } catch {
    return Buffer.alloc(0)
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

/** What the tables said at one time. */
export class Tables {
  readonly #ipv4: Buffer
  readonly #readIpv6: () => Buffer
  #ipv6: Buffer | undefined
  /** Rows of one of our ports, found once for all of its connections. */
  readonly #ports = new Map<string, PortRows>()

  /** The table of IPv4; that of IPv6, where few programs have IPv4 connections, is read when it is needed. */
  constructor(ipv4: Buffer, readIpv6: () => Buffer) {
    this.#ipv4 = ipv4
    this.#readIpv6 = readIpv6
  }

  /** Whose the other end of the connection between `ours` and `theirs` is. */
  verdict(ours: string, theirs: string, uids: ReadonlySet<number>): PeerVerdict {
    let rows = this.#ports.get(ours)
    if (!rows) {
      rows = rowsOf(this.#ipv4, ours)
      this.#ports.set(ours, rows)
    }
    let uid = rows.owners.get(theirs)
    if (uid === undefined) {
      this.#ipv6 ??= this.#readIpv6()
      uid = rowsOf(this.#ipv6, MAPPED + ours).owners.get(MAPPED + theirs)
    }
    if (uid !== undefined) return uid === 0 || uids.has(uid) ? 'own' : 'foreign'
    // Our own end is listed, the other is not: it is in another network namespace, or gone.
    return rows.peers.has(theirs) ? 'foreign' : 'unknown'
  }
}

interface PortRows {
  /** Users of the other ends, by their endpoint. */
  readonly owners: ReadonlyMap<string, number>
  /** The other ends that our own rows name. */
  readonly peers: ReadonlySet<string>
}

/** What goes before an IPv4 endpoint in the table of IPv6. */
const MAPPED = '0000000000000000FFFF0000'

function rowsOf(table: Buffer, ours: string): PortRows {
  const owners = new Map<string, number>()
  const peers = new Set<string>()
  // A table may have a hundred thousand rows of others: only those with our endpoint are looked at.
  for (let at = table.indexOf(ours); at >= 0; at = table.indexOf(ours, at)) {
    const begin = table.lastIndexOf(10, at) + 1
    const end = table.indexOf(10, at)
    at = end < 0 ? table.length : end
    // Number, local and remote address, state, queues, timer, retransmits, uid.
    const [, local, remote, , , , , uid] = table.toString('latin1', begin, at).trim().split(/ +/)
    if (local === undefined || remote === undefined) continue
    if (remote === ours && Number.isSafeInteger(Number(uid))) owners.set(local, Number(uid))
    if (local === ours) peers.add(remote)
  }
  return { owners, peers }
}
