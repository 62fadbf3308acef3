// Seeds for the tests of this folder: one that uses every part of the model, and arbitrary ones.
import fc from 'fast-check'
import { makeSshKeyPair, type Seed } from '../../../contextualise/index.ts'

export const hostKey = makeSshKeyPair('leet-host')
export const clientKey = makeSshKeyPair('leet-client')

/** A seed with every part of the model in it. */
export const fullSeed: Seed = {
  instanceId: 'job-4711-guest-0',
  hostname: 'leet-0.job4711',
  hosts: [
    { address: '10.77.1.1', names: ['leet-0.job4711', 'leet-0'] },
    { address: '10.77.1.2', names: ['leet-1.job4711', 'leet-1'] },
  ],
  interfaces: [
    {
      name: 'eth0',
      mac: '52:54:00:4D:01:01',
      ipv4: { address: '10.77.1.1', prefix: 16 },
      gateway: '10.77.0.1',
      mtu: 1400,
    },
    { name: 'eth1', mac: '52:54:00:4d:01:02', ipv4: 'dhcp' },
  ],
  user: {
    name: 'alice',
    uid: 1234,
    group: 'cfd.users',
    gid: 1300,
    groups: ['video'],
    home: '/home/alice',
    shell: '/bin/sh',
  },
  ssh: { hostKey, authorizedKeys: [clientKey.public] },
  mounts: [
    {
      source: 'leet:work',
      path: '/home/alice/my case',
      type: '9p',
      options: ['trans=virtio', 'version=9p2000.L'],
      required: true,
    },
    { source: '10.0.0.1:/data', path: '/data', type: 'nfs4', options: ['vers=4.1'], required: false },
  ],
  files: [
    { path: '/etc/motd', content: 'Grüße\n', mode: 0o644, owner: 'root' },
    { path: '/run/leet/blob', content: new Uint8Array([0, 1, 255]), mode: 0o600, owner: 'user' },
  ],
  commands: [['echo', 'with "quotes"', '$HOME']],
}

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/)
const address = fc.ipV4()
const path = fc
  .array(fc.stringMatching(/^[A-Za-z0-9 \\_#ä"'%-][A-Za-z0-9 \\._-]{0,12}$/), { minLength: 1, maxLength: 4 })
  .map((parts) => `/${parts.map((part) => part.replace(/^\.+$/, 'dots')).join('/')}`)
const option = fc.stringMatching(/^[a-z]{1,8}(=[A-Za-z0-9./:]{1,8})?$/)

/** Any seed that `checkSeed` takes. */
export const anySeed: fc.Arbitrary<Seed> = fc.record({
  instanceId: fc.constant('i-1'),
  hostname: fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.')),
  hosts: fc.array(fc.record({ address: fc.oneof(address, fc.ipV6()), names: fc.tuple(label) }), {
    maxLength: 4,
  }),
  interfaces: fc
    .array(
      fc.oneof(fc.constant('dhcp' as const), fc.record({ address, prefix: fc.integer({ min: 0, max: 32 }) })),
      { maxLength: 3 },
    )
    .map((all) => all.map((ipv4, i) => ({ name: `eth${i}`, mac: `52:54:00:00:00:0${i}`, ipv4 }))),
  user: fc.constantFrom(undefined, fullSeed.user),
  ssh: fc.constantFrom(undefined, fullSeed.ssh),
  mounts: fc.uniqueArray(
    fc.record({
      source: fc.stringMatching(/^[a-z]{1,5}:[a-z/ \\]{1,8}$/),
      path,
      type: fc.constantFrom('9p', 'nfs', 'nfs4'),
      options: fc.array(option, { maxLength: 4 }),
      required: fc.boolean(),
    }),
    { maxLength: 4, selector: (mount) => mount.path },
  ),
  files: fc.uniqueArray(
    fc.record({
      path,
      content: fc.oneof(fc.string({ unit: 'grapheme' }), fc.uint8Array()),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      owner: fc.constant('root' as const),
    }),
    { maxLength: 4, selector: (file) => file.path },
  ),
  commands: fc.array(fc.tuple(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', ''))), {
    maxLength: 3,
  }),
})
