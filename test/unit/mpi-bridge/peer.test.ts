// Whose process is at the other end: read from the kernel's socket tables.
import { describe, expect, it } from 'vitest'
import { endpoint, isLocalPeer, Tables } from '../../../mpi-bridge/peer.ts'

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const row = (local: string, remote: string, uid: number) =>
  `   0: ${local} ${remote} 01 00000000:00000000 00:00000000 00000000  ${String(uid).padStart(4)}        0 1472 1 0 100 0 0 10 0\n`
const OURS = endpoint('127.0.0.1', 8080) as string
const THEIRS = endpoint('127.0.0.1', 40_000) as string
const v6 = (text: string) => `0000000000000000FFFF0000${text}`

describe('the owner of a peer', () => {
  it('is found by its addresses', () => {
    expect(OURS).toBe('0100007F:1F90')
    expect(endpoint('::ffff:10.1.2.3', 1)).toBe('0302010A:0001')
    expect(endpoint('::1', 1)).toBeUndefined()
    expect(endpoint('999.1.1.1', 1)).toBeUndefined()
  })

  it.each([
    ['of this user', row(THEIRS, OURS, 1000), '', 'own'],
    ['of root', row(THEIRS, OURS, 0), '', 'own'],
    ['of another user', row(THEIRS, OURS, 1001), '', 'foreign'],
    ['in the table of IPv6', '', row(v6(THEIRS), v6(OURS), 1000), 'own'],
    ['of another user in the table of IPv6', '', row(v6(THEIRS), v6(OURS), 1001), 'foreign'],
    ['in another namespace', row(OURS, THEIRS, 1000), '', 'foreign'],
    ['that no table knows', row('0100007F:0016', '00000000:0000', 0), '', 'unknown'],
  ])('%s', (_, tcp, tcp6, verdict) => {
    const tables = new Tables(Buffer.from(HEAD + tcp), () => Buffer.from(HEAD + tcp6))
    expect(tables.verdict(OURS, THEIRS, new Set([1000]))).toBe(verdict)
  })

  it('is told for each of many connections to one port', () => {
    const peers = Array.from({ length: 50 }, (_, nth) => endpoint('127.0.0.1', 30_000 + nth) as string)
    const rows = peers.flatMap((peer, nth) => [row(peer, OURS, 1000 + (nth % 2)), row(OURS, peer, 1000)])
    const tables = new Tables(Buffer.from(HEAD + rows.join('')), () => {
      throw new Error('not needed')
    })
    expect(peers.map((peer) => tables.verdict(OURS, peer, new Set([1000])))).toEqual(
      peers.map((_, nth) => (nth % 2 === 0 ? 'own' : 'foreign')),
    )
  })

  it('can only be told of this machine', () => {
    expect(isLocalPeer('127.0.0.1', '127.0.0.1')).toBe(true)
    expect(isLocalPeer('10.0.0.5', '10.0.0.5')).toBe(true)
    expect(isLocalPeer('10.0.0.6', '10.0.0.5')).toBe(false)
    expect(isLocalPeer(undefined, undefined)).toBe(false)
  })
})
