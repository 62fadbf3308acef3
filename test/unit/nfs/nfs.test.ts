// Calls to NFS servers byte by byte, what a guest is told to mount, and what is said when it cannot.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { explainNfsFailure } from '../../../launcher/nfs/failures.ts'
import { ganeshaComplaint, ganeshaConfig, isServablePath } from '../../../launcher/nfs/ganesha.ts'
import { encodeNullCall, parseNullReply } from '../../../launcher/nfs/rpc.ts'
import { machineShares, seedMounts } from '../../../launcher/nfs/seed-mounts.ts'
import type { PlanMount } from '../../../launcher/plan/mounts.ts'

const XID = 0x12345678

/** A reply as RFC 5531 has it: its words behind the mark. */
function reply(...words: number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * words.length)
  bytes.writeUInt32BE(0x8000_0000 + 4 * words.length)
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word, 4 + 4 * index)
  return bytes
}
const ACCEPTED = [XID, 1, 0, 0, 0]

describe('procedure NULL', () => {
  it('is called as RFC 5531 has it', () => {
    expect(encodeNullCall(XID, 3).toString('hex')).toBe(
      '80000028' +
        '12345678' +
        '00000000' +
        '00000002' +
        '000186a3' +
        '00000003' +
        '00000000' +
        '0'.repeat(32),
    )
  })
  it.each([
    ['success', reply(...ACCEPTED, 0), { kind: 'ok' }],
    ['a verifier', reply(XID, 1, 0, 1, 5, 0, 0, 0), { kind: 'ok' }],
    ['another program', reply(...ACCEPTED, 1), { kind: 'refused' }],
    ['other versions', reply(...ACCEPTED, 2, 4, 4), { kind: 'versions', low: 4, high: 4 }],
    ['garbage arguments', reply(...ACCEPTED, 4), { kind: 'refused' }],
    ['a denial', reply(XID, 1, 1, 1, 1), { kind: 'refused', why: expect.stringContaining('denies') }],
    ['another call', reply(XID + 1, 1, 0, 0, 0, 0), { kind: 'refused' }],
    ['a web server', Buffer.from('HTTP/1.1 400 Bad Request'), { kind: 'refused' }],
    ['a length out of bounds', Buffer.from('ffffffff00', 'hex'), { kind: 'refused' }],
    ['a verifier out of bounds', reply(XID, 1, 0, 0, 0xffff_ffff, 0), { kind: 'refused' }],
  ])('understands %s', (_what, bytes, expected) => {
    expect(parseNullReply(bytes, XID)).toMatchObject(expected)
  })
  it('waits for the rest of a reply', () => {
    const whole = reply(...ACCEPTED, 0)
    for (let length = 0; length < whole.length; length++) {
      expect(parseNullReply(whole.subarray(0, length), XID)).toBeUndefined()
    }
  })
  it('reads any bytes without an error, and decides within a kilobyte', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, marked) => {
        const body = Buffer.from(bytes)
        const mark = Buffer.from([0x80, 0, 0, body.length])
        parseNullReply(marked ? Buffer.concat([mark, body]) : body, XID)
        return parseNullReply(Buffer.concat([body, Buffer.alloc(1100)]), XID) !== undefined
      }),
    )
  })
})

describe('mounts of one guest', () => {
  const nfs = (server: string, path: string, version: 3 | 4 = 4): PlanMount => ({
    kind: 'nfs',
    server,
    directory: '/e',
    path,
    version,
    options: ['ro'],
  })
  const mounts: PlanMount[] = [
    nfs('nfs1', '/a'),
    { kind: 'share', path: '/b' },
    nfs('localhost', '/c', 3),
    { kind: 'share', path: '/d' },
  ]
  const servers = [
    { name: 'nfs1', address: '10.0.0.1', port: 2049, version: 4 as const },
    { name: 'localhost', address: '127.0.0.1', port: 2049, version: 3 as const },
  ]
  it('have the servers’ addresses, and for the node itself the one that leads there', () => {
    expect(
      seedMounts(mounts, servers, '10.0.2.2').map(({ source, path, type, options }) =>
        [source, path, type, ...options].join(' '),
      ),
    ).toEqual([
      '10.0.0.1:/e /a nfs4 vers=4.1 ro',
      'leet:work1 /b 9p trans=virtio version=9p2000.L msize=524288 cache=mmap',
      '10.0.2.2:/e /c nfs vers=3 nolock ro',
      'leet:work3 /d 9p trans=virtio version=9p2000.L msize=524288 cache=mmap',
    ])
  })
  it('have a share of the machine for each tag', () => {
    expect(machineShares(mounts)).toMatchObject([
      { tag: 'leet:work1', path: '/b', readonly: false },
      { tag: 'leet:work3', path: '/d', readonly: false },
    ])
  })
})

describe('a mount that failed', () => {
  it.each([
    ['mount: Permission denied', /refuses \/e .* ports below 1024/, /insecure.*9p/],
    ['mount: Operation not permitted', /refuses \/e/, /insecure/],
    ['mount: No such file or directory', /shows no export \/e/, /showmount -e 10\.0\.0\.1.*insecure/],
    ['mount: Protocol not supported', /not this version/, /vers=3/],
    ['no answer within 30 s', /^no answer within 30 s$/, /10\.0\.0\.1 up/],
  ])('by "%s" says what to do', (reason, why, hint) => {
    const said = explainNfsFailure(reason, '10.0.0.1:/e')
    expect(said.why).toMatch(why)
    expect(said.why).toContain(reason)
    expect(said.hint).toMatch(hint)
  })
})

describe('nfs-ganesha', () => {
  const order = {
    directory: '/real/case',
    path: '/case',
    port: 4000,
    clients: ['127.0.0.1', '10.0.0.0/8'],
    uid: 1000,
    gid: 100,
    recovery: '/run/job/recovery',
  }
  it('is told to serve one directory to its clients as one user, by version 4', () => {
    const config = ganeshaConfig(order)
    for (const words of [
      'Protocols = 4; NFS_Port = 4000;',
      'Path = "/real/case"; Pseudo = "/case";',
      'Squash = All_Squash; Anonymous_Uid = 1000; Anonymous_Gid = 100;',
      'Access_Type = None;',
      'CLIENT { Clients = 127.0.0.1, 10.0.0.0/8; Protocols = 4; Access_Type = RW; }',
      'PrivilegedPort = false',
    ]) {
      expect(config).toContain(words)
    }
    expect(config.match(/[{]/g)).toHaveLength(config.match(/[}]/g)?.length ?? 0)
  })
  it('never gets a path that would end its own string, or the text of a mount', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        const path = `/${name}`
        return !isServablePath(path) || !/[\s:"\\]/.test(path)
      }),
    )
    expect(isServablePath('/scratch/größe/case-1')).toBe(true)
    for (const path of ['case', '/a b', '/a:b', '/a"b', '/a\\b', '/a\nb'])
      expect(isServablePath(path)).toBe(false)
  })
  it('is understood when it complains, and only then', () => {
    const line = (component: string, level: string, text: string) =>
      `23/11/2026 10:45:00 : epoch 6b041926 : vm : nfs-ganesha-24496[main] f :${component} :${level} :${text}`
    const usual = [
      line('CONFIG', 'WARN', 'Missing RADOS URLs backend library'),
      line('DBUS', 'CRIT', 'dbus_bus_get failed'),
      line('NFS CB', 'CRIT', 'ERROR: gssd_refresh_krb5_machine_credential: no usable keytab'),
      line('DISP', 'MAJ', 'Cannot register NFS V4 on UDP'),
    ]
    expect(ganeshaComplaint(usual.join('\n'))).toBeUndefined()
    const handle = 'Could not get handle for path /opt, error Operation not supported'
    const all = [...usual, line('FSAL', 'CRIT', handle), line('EXPORT', 'CRIT', 'Lookup failed on path')]
    expect(ganeshaComplaint(all.join('\n'))).toBe(handle)
  })
})
