// What the kernel knows of a connection from which nothing is heard: whether the other end's kernel still answers. A host
// that is down or cut off does not; one whose process is suspended or short of CPU does.
import { readFileSync } from 'node:fs'
import { isIPv4, type Socket } from 'node:net'
import { endianness } from 'node:os'

/** The two ends of a connection, as `net.Socket` tells them. */
export interface Ends {
  readonly localAddress?: string
  readonly localPort?: number
  readonly remoteAddress?: string
  readonly remotePort?: number
}

/** After so many retransmissions in a row the other host is gone: on a local network they take less than a second. */
const UNANSWERED = 2

/** Whether what was sent lately has not even reached the other end's kernel. True when that cannot be known. */
export function isUnanswered(connection: Socket): boolean {
  for (const table of ['/proc/self/net/tcp', '/proc/self/net/tcp6']) {
    try {
      const count = retransmissions(readFileSync(table, 'latin1'), connection)
      if (count !== undefined) return count >= UNANSWERED
    } catch {
      // No such table on this system: silence must do.
    }
  }
  return true
}

/**
 * Retransmissions in a row on a connection, from the text of /proc/net/tcp or tcp6 (Linux,
 * Documentation/networking/proc_net_tcp.rst). Undefined when the connection is not in it.
 */
export function retransmissions(table: string, ends: Ends): number | undefined {
  const local = [ends.localAddress, ends.localPort] as const
  const remote = [ends.remoteAddress, ends.remotePort] as const
  for (const wide of [false, true]) {
    const row = `: ${formatEnd(...local, wide)} ${formatEnd(...remote, wide)} `
    const begin = table.indexOf(row)
    // After the ends: state, queues, timer, retransmissions.
    if (begin >= 0) return Number.parseInt(table.slice(begin + row.length).split(/\s+/, 4)[3] ?? '', 16) || 0
  }
  return undefined
}

/** An end as the tables have it: words of 32 bits in the machine's order, in hexadecimal. `wide` is tcp6's form. */
function formatEnd(address = '', port = 0, wide: boolean): string {
  const plain = address.replace('::ffff:', '')
  const bytes = isIPv4(plain) ? ipv4Bytes(plain, wide) : ipv6Bytes(address)
  const words: string[] = []
  for (let i = 0; i < bytes.length; i += 4) {
    const word = bytes.slice(i, i + 4)
    if (endianness() === 'LE') word.reverse()
    words.push(...word.map((byte) => hex(byte, 2)))
  }
  return `${words.join('')}:${hex(port, 4)}`
}

const hex = (value: number, width: number) => value.toString(16).toUpperCase().padStart(width, '0')

function ipv4Bytes(address: string, wide: boolean): number[] {
  const four = address.split('.').map(Number)
  return wide ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...four] : four
}

function ipv6Bytes(address: string): number[] {
  const [before = '', after] = address.replace(/%.*/, '').split('::')
  const groups = (text: string) => text.split(':').filter(Boolean)
  const [head, tail] = [groups(before), groups(after ?? '')]
  const middle = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => '0')
  const all = [...head, ...(after === undefined ? [] : middle), ...tail].map((group) =>
    Number.parseInt(group, 16),
  )
  return all.flatMap((group) => [group >> 8, group & 255])
}
