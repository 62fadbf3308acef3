import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { osvCommandLine, osvDisks } from '../../../launcher/images/osv/boot.ts'
import { expandVariables, parseManifest } from '../../../launcher/images/osv/manifest.ts'

describe('usr.manifest', () => {
  it('has files, links, directories and shorthands', () => {
    const text = [
      '[manifest]',
      '# a comment',
      '',
      '/libenviron.so: libenviron.so',
      '/usr/lib/libgcc_s.so.1: %(libgcc_s_dir)s/libgcc_s.so.1',
      '/&/etc/hosts: ../../static/&',
      '/etc/mnttab: ->/proc/mounts',
      '/usr/mgmt/api/**: /src/api/**',
      '/link: !/src/link',
      '/tmp: ../../static  ',
    ].join('\n')
    expect(parseManifest(text, 'usr.manifest')).toEqual([
      { guest: '/libenviron.so', kind: 'copy', host: 'libenviron.so' },
      { guest: '/usr/lib/libgcc_s.so.1', kind: 'copy', host: '%(libgcc_s_dir)s/libgcc_s.so.1' },
      { guest: '/etc/hosts', kind: 'copy', host: '../../static/etc/hosts' },
      { guest: '/etc/mnttab', kind: 'symlink', target: '/proc/mounts' },
      { guest: '/usr/mgmt/api', kind: 'tree', host: '/src/api' },
      { guest: '/link', kind: 'copy', host: '/src/link' },
      { guest: '/tmp', kind: 'copy', host: '../../static' },
    ])
  })

  it('names the line that is none', () => {
    expect(() => parseManifest('/a: b\nnonsense\n', 'usr.manifest')).toThrow(/usr\.manifest:2/)
  })

  it('is parsed or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          parseManifest(text, 'm')
        } catch (error) {
          expect(error).toBeInstanceOf(LeetError)
        }
      }),
    )
  })

  it('puts variables in that are given', () => {
    expect(expandVariables('%(a)s/x/%(b)s', { a: '1', b: '2' })).toBe('1/x/2')
    expect(expandVariables('%(a)s/%(toString)s', { a: '1' })).toBeUndefined()
    expect(expandVariables('/plain', {})).toBe('/plain')
  })
})

describe('booting OSv', () => {
  const network = [
    '--ip=eth0,10.77.0.12,255.255.0.0',
    '--ip=eth1,10.0.2.15,255.255.255.0',
    '--defaultgw=10.0.2.2',
  ]
  it('says on the command line what was observed to work', () => {
    expect(osvCommandLine({ network })).toBe(
      '--rootfs=rofs --verbose --power-off-on-abort --ip=eth0,10.77.0.12,255.255.0.0 --ip=eth1,10.0.2.15,255.255.255.0 --defaultgw=10.0.2.2 /libhttpserver-api.so',
    )
    const tls = { cert: '/tmp/c.pem', key: '/tmp/k.pem', ca: '/tmp/ca.pem' }
    expect(osvCommandLine({ network: [], tls })).toBe(
      '--rootfs=rofs --verbose --power-off-on-abort /libhttpserver-api.so --ssl --cert /tmp/c.pem --key /tmp/k.pem --cacert /tmp/ca.pem',
    )
  })

  it.each(['a b', 'a"b', 'a;b', 'a&b', '$a', 'ä'])('refuses what the kernel would split: %j', (value) => {
    expect(() => osvCommandLine({ network: [], workMount: `/case/${value}` })).toThrow(LeetError)
  })

  it('has the root first, the seed second, and no boot index', () => {
    const disks = osvDisks('/i/disk.img', '/j/seed.iso')
    expect(disks.map(({ path, readonly, bootIndex }) => [path, readonly, bootIndex])).toEqual([
      ['/i/disk.img', true, undefined],
      ['/j/seed.iso', true, undefined],
    ])
    expect(osvDisks('/i/disk.img', undefined)).toHaveLength(1)
  })
})
