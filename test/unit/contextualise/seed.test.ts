// What a seed may say, and what is refused before any guest is started.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { checkSeed, type Seed } from '../../../contextualise/seed.ts'
import { anySeed, fullSeed } from './a-seed.ts'

const nic = fullSeed.interfaces[0] as Seed['interfaces'][number]
const mount = fullSeed.mounts[0] as Seed['mounts'][number]
const file = fullSeed.files[0] as Seed['files'][number]
const user = fullSeed.user as NonNullable<Seed['user']>

describe('checkSeed', () => {
  it('takes a full seed as it is', () => {
    expect(checkSeed(fullSeed)).toBe(fullSeed)
  })

  it('takes every seed of the generator', () => {
    fc.assert(fc.property(anySeed, (seed) => checkSeed(seed) === seed))
  })

  const refused: readonly [string, Partial<Seed>, RegExp][] = [
    ['an option as a host name', { hostname: '-oProxyCommand=x' }, /hostname/],
    ['a host name with a newline', { hostname: 'a\nb' }, /hostname/],
    ['a label of 64 characters', { hostname: 'a'.repeat(64) }, /hostname/],
    ['a name that breaks /etc/hosts', { hosts: [{ address: '10.0.0.1', names: ['a b'] }] }, /hosts/],
    ['an address that is none', { hosts: [{ address: '10.0.0.256', names: ['a'] }] }, /hosts/],
    ['a multicast MAC', { interfaces: [{ ...nic, mac: '01:00:5e:00:00:01' }] }, /MAC/],
    [
      'one MAC twice',
      { interfaces: [nic, { ...nic, name: 'eth9', gateway: undefined }] },
      /MAC addresses.*twice/,
    ],
    [
      'two default gateways',
      { interfaces: [nic, { ...nic, name: 'eth9', mac: '52:54:00:00:00:09' }] },
      /gateway/,
    ],
    ['a gateway beside DHCP', { interfaces: [{ ...nic, ipv4: 'dhcp' }] }, /DHCP/],
    ['a prefix of 33', { interfaces: [{ ...nic, ipv4: { address: '10.0.0.1', prefix: 33 } }] }, /prefix/],
    ['an MTU below 576', { interfaces: [{ ...nic, mtu: 60 }] }, /MTU/],
    ['a slash in an interface name', { interfaces: [{ ...nic, name: '../x' }] }, /interface/],
    ['a colon in a home', { user: { ...user, home: '/home/a:b' } }, /colon/],
    ['a user called root with another uid', { user: { ...user, name: 'root' } }, /root/],
    ['uid -1', { user: { ...user, uid: -1 } }, /uid/],
    ['a group with a newline', { user: { ...user, groups: ['a\nroot'] } }, /account name/],
    ['a mount point with ..', { mounts: [{ ...mount, path: '/a/../b' }] }, /absolute path/],
    ['a relative mount point', { mounts: [{ ...mount, path: 'a' }] }, /absolute path/],
    ['the root as a mount point', { mounts: [{ ...mount, path: '/' }] }, /absolute path/],
    ['one mount point twice', { mounts: [mount, mount] }, /twice/],
    ['a comma in a mount option', { mounts: [{ ...mount, options: ['a,b'] }] }, /option/],
    ['a newline in a mount option', { mounts: [{ ...mount, options: ['a\nb'] }] }, /option/],
    ['a tab in a source', { mounts: [{ ...mount, source: 'a\tb' }] }, /source/],
    ['a file without a name', { files: [{ ...file, path: '/etc/' }] }, /absolute path/],
    ['one file twice', { files: [file, file] }, /twice/],
    ['a mode with type bits', { files: [{ ...file, mode: 0o100644 }] }, /mode/],
    ['a lone surrogate', { files: [{ ...file, content: '\ud800' }] }, /Unicode/],
    [
      'too much content',
      { files: [{ ...file, content: new Uint8Array((16 << 20) + 1) }] },
      /bytes of content/,
    ],
    [
      "a user's file without a user",
      { user: undefined, files: [{ ...file, owner: 'user' }] },
      /user that the seed does not have/,
    ],
    [
      'an authorized key with a second line',
      {
        ssh: {
          ...(fullSeed.ssh as NonNullable<Seed['ssh']>),
          authorizedKeys: ['ssh-ed25519 AAAA x\nssh-rsa B'],
        },
      },
      /ssh keys/,
    ],
    ['NUL in a command', { commands: [['a\0b']] }, /commands/],
  ]
  it.each(refused)('refuses %s', (_, change, why) => {
    const check = () => checkSeed({ ...fullSeed, ...change })
    expect(check).toThrow(LeetError)
    expect(check).toThrow(why)
  })

  it('shows no more of a bad value than fits on one line', () => {
    try {
      checkSeed({ ...fullSeed, mounts: [{ ...mount, path: `x\n${'y'.repeat(500)}` }] })
      expect.unreachable()
    } catch (error) {
      expect((error as Error).message).not.toContain('\n')
      expect((error as Error).message.length).toBeLessThan(250)
    }
  })
})
