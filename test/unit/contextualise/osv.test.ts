// The OSv dialect: order, quoting, and what is refused, against what OSv was seen to do.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { osvSeed, type Seed } from '../../../contextualise/index.ts'
import { checkSeed } from '../../../contextualise/seed.ts'
import { fullSeed } from './a-seed.ts'

const seed: Seed = {
  ...fullSeed,
  interfaces: fullSeed.interfaces.slice(0, 1),
  mounts: [
    {
      source: 'leet-1:/export/data',
      path: '/data',
      type: 'nfs',
      options: ['vers=3', 'nolock'],
      required: true,
    },
    { source: '10.0.0.9:/', path: '/tmp/home', type: 'nfs', options: [], required: true },
  ],
  files: [{ path: '/tmp/server.pem', content: '-----BEGIN\nline\n', mode: 0o600, owner: 'root' }],
  commands: [],
}
const mount = seed.mounts[0] as Seed['mounts'][number]

/** OSv handles keys and items in document order: the order is part of the meaning. */
const entries = (text: string) => Object.entries(parse(text) as object)

describe('osvSeed', () => {
  it('writes files, then the host name, then mounts by mount-fs.so', () => {
    expect(entries(osvSeed(checkSeed(seed), 'mount-fs.so').userData)).toEqual([
      ['files', { '/tmp/server.pem': '-----BEGIN\nline\n' }],
      [
        'run',
        [
          { POST: '/os/hostname', name: 'leet-0.job4711' },
          {
            PUT: '/app/',
            command: '/tools/mount-fs.so nfs "nfs://10.77.1.2/export/data/?uid=1234&gid=1300" /data',
          },
          { PUT: '/app/', command: '/tools/mount-fs.so nfs "nfs://10.0.0.9/?uid=1234&gid=1300" /tmp/home' },
        ],
      ],
    ])
  })

  it('tells the NFS client what it knows, in its own words, and whose files it is to use', () => {
    const options = ['retrans=2', 'port=20490', 'uid=7', 'tcp-syncnt=3', 'hard']
    const { userData } = osvSeed({ ...seed, mounts: [{ ...mount, options }] }, 'mount-fs.so')
    expect(userData).toContain(
      'nfs://10.77.1.2/export/data/?gid=1300&retrans=2&nfsport=20490&uid=7&tcp-syncnt=3',
    )
  })

  it('makes directories before it says the host name, with any name', () => {
    const directories = ['/tmp/leet/home/a b/ä', '/tmp/q?&#%25']
    const { userData } = osvSeed(checkSeed({ ...seed, mounts: [], directories }), undefined)
    expect(entries(userData)[1]).toEqual([
      'run',
      [
        { PUT: '/file/tmp/leet/home/a b/ä', op: 'MKDIRS' },
        { PUT: '/file/tmp/q?&#%25', op: 'MKDIRS' },
        { POST: '/os/hostname', name: 'leet-0.job4711' },
      ],
    ])
  })

  it('uses the mounts key for images with mount-nfs.so', () => {
    expect(entries(osvSeed(seed, 'mount-nfs.so').userData).slice(1)).toEqual([
      ['run', [{ POST: '/os/hostname', name: 'leet-0.job4711' }]],
      [
        'mounts',
        [
          ['10.77.1.2:/export/data', '/data', 'nfs', 'uid=1234,gid=1300'],
          ['10.0.0.9:', '/tmp/home', 'nfs', 'uid=1234,gid=1300'],
        ],
      ],
    ])
  })

  it('never says hostname:, users: or another key that stops or hangs OSv', () => {
    const keys = entries(osvSeed(seed, 'mount-nfs.so').userData).map(([key]) => key)
    expect(keys).toEqual(['files', 'run', 'mounts'])
  })

  it('carries any text of a file through YAML', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (content) => {
        const files = [{ path: '/tmp/f', content, mode: 0o600, owner: 'root' as const }]
        const { userData } = osvSeed(checkSeed({ ...seed, files }), 'mount-fs.so')
        expect(parse(userData).files['/tmp/f']).toBe(content)
        // One physical line per entry: nothing in a text can begin a key of its own.
        expect(userData.split('\n').filter((line) => /^[a-z]+:$/.test(line))).toEqual(['files:', 'run:'])
      }),
    )
  })

  it('puts the network on the command line', () => {
    expect(osvSeed(seed, 'mount-fs.so').commandLine).toEqual([
      '--ip=eth0,10.77.1.1,255.255.0.0',
      '--defaultgw=10.77.0.1',
    ])
    const dhcp = { ...seed, interfaces: [{ name: 'eth0', mac: '52:54:00:00:00:01', ipv4: 'dhcp' as const }] }
    expect(osvSeed(dhcp, 'mount-fs.so').commandLine).toEqual([])
  })

  it('tells what OSv has no place for', () => {
    expect(osvSeed(seed, 'mount-fs.so').unsaid.join('\n')).toMatch(/hosts[\s\S]*uid 1234[\s\S]*SSH[\s\S]*MTU/)
  })

  const refused: readonly [string, Partial<Seed>, RegExp][] = [
    ['a command', { commands: [['ls']] }, /REST/],
    [
      'a file outside /tmp',
      { files: [{ path: '/etc/x', content: '', mode: 0, owner: 'root' }] },
      /under \/tmp/,
    ],
    [
      'bytes',
      { files: [{ path: '/tmp/x', content: new Uint8Array(1), mode: 0, owner: 'root' }] },
      /not bytes/,
    ],
    ['9p', { mounts: [{ ...mount, type: '9p' }] }, /NFS version 3 only/],
    ['NFS version 4', { mounts: [{ ...mount, type: 'nfs4' }] }, /NFS version 3 only/],
    [
      'an option that its NFS client has not',
      { mounts: [{ ...mount, options: ['hard', 'soft'] }] },
      /"soft"/,
    ],
    ['an IPv6 server', { mounts: [{ ...mount, source: '[fe80::1]:/x' }] }, /IPv4/],
    ['a server that the seed does not know', { mounts: [{ ...mount, source: 'nfs9:/x' }] }, /nfs9/],
    ['a source without export', { mounts: [{ ...mount, source: 'tag' }] }, /SERVER/],
    ['a quote in an export', { mounts: [{ ...mount, source: '10.0.0.1:/a"b' }] }, /cannot carry/],
    ['an ampersand in an export', { mounts: [{ ...mount, source: '10.0.0.1:/a&b' }] }, /cannot carry/],
    ['a question mark in an export', { mounts: [{ ...mount, source: '10.0.0.1:/a?b' }] }, /cannot carry/],
    ['a blank in a mount point', { mounts: [{ ...mount, path: '/a b' }] }, /cannot carry/],
    ['a dollar in a mount point', { mounts: [{ ...mount, path: '/a$b' }] }, /cannot carry/],
    ['DHCP beside a static address', { interfaces: fullSeed.interfaces }, /either DHCP/],
    ['interfaces out of order', { interfaces: [{ ...fullSeed.interfaces[1]!, name: 'eth1' }] }, /eth0/],
  ]
  it.each(refused)('refuses %s', (_, change, why) => {
    expect(() => osvSeed(checkSeed({ ...seed, ...change }), 'mount-fs.so')).toThrow(why)
  })

  it('refuses a mount when the image has no tool for it', () => {
    expect(() => osvSeed(seed, undefined)).toThrow(/neither/)
  })
})
