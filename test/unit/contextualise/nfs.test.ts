// NFS mounts as users write them and as the node's mount table shows them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  mountOf,
  nfsMountOf,
  nfsSeedMount,
  parseMountInfo,
  parseNfsMount,
} from '../../../contextualise/index.ts'
import { checkSeed } from '../../../contextualise/seed.ts'
import { fullSeed } from './a-seed.ts'

describe('parseNfsMount', () => {
  it.each([
    ['nfs1:/home:/home', { server: 'nfs1', directory: '/home', path: '/home', version: 4, options: [] }],
    [
      'nfs1.site.org:/export/a:/data:vers=3,ro',
      { server: 'nfs1.site.org', directory: '/export/a', path: '/data', version: 3, options: ['ro'] },
    ],
    [
      '[fe80::1]:/:/data:nfsvers=4.1',
      { server: 'fe80::1', directory: '/', path: '/data', version: 4, options: [] },
    ],
    ['10.0.0.1:/a:/b:', { server: '10.0.0.1', directory: '/a', path: '/b', version: 4, options: [] }],
  ])('parses %s', (text, mount) => {
    expect(parseNfsMount(text, '--mount')).toEqual(mount)
  })

  it.each([
    '',
    'nfs1',
    'nfs1:/home',
    'nfs1:home:/home',
    'nfs1:/home:home',
    '-o:/home:/home',
    'a b:/home:/home',
    'nfs1:/home/../etc:/home',
    'nfs1:/home:/',
    'nfs1:/home:/home:vers=2',
    'nfs1:/home:/home:a b',
    'nfs1:/home:/home:ro:more',
    'fe80::1:/a:/b',
  ])('refuses "%s" with one sentence and exit status 2', (text) => {
    try {
      parseNfsMount(text, '--mount')
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(LeetError)
      expect((error as LeetError).exitCode).toBe(2)
      expect((error as LeetError).message).toMatch(/^--mount: ".*" is not a mount: /)
    }
  })

  it.each([
    ['nfs1:/home:/home', []],
    ['nfs1:/home:/home:vers=3,uid=7,auto-traverse-mounts=0', ['uid=7', 'auto-traverse-mounts=0']],
    ['nfs1:/home:/home:nfsvers=3,timeo=100,uid=5', ['timeo=100', 'uid=5']],
  ])('parses %s for OSv', (text, options) => {
    expect(parseNfsMount(text, '--mount', 'osv')).toMatchObject({ version: 3, options })
  })

  it.each([
    ['vers=4.2', /"vers=4.2".*version 3/],
    ['soft', /OSv.*"soft"/],
    ['timeo=99', /OSv.*"timeo=99"/],
    ['dircache=yes', /OSv.*"dircache=yes"/],
    ['tcp-syncnt', /OSv.*"tcp-syncnt"/],
  ])('refuses %s for OSv, as a usage error with the reason', (option, why) => {
    const parse = () => parseNfsMount(`nfs1:/home:/home:${option}`, '--mount', 'osv')
    expect(parse).toThrow(why)
    expect(parse).toThrow(expect.objectContaining({ exitCode: 2 }))
  })

  it('knows the options of OSv’s client for OSv alone', () => {
    expect(() => parseNfsMount('nfs1:/home:/home:tcp-syncnt=3', '--mount')).toThrow(/nfs\(5\)/)
  })

  it('throws nothing but refusals', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z:/[\],=.-]{0,40}$/)), (text) => {
        try {
          const mount = parseNfsMount(text, '--mount')
          checkSeed({ ...fullSeed, mounts: [nfsSeedMount(mount, '10.0.0.1')] })
        } catch (error) {
          expect(error).toBeInstanceOf(LeetError)
          expect((error as LeetError).exitCode).toBe(2)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

const table = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
30 22 0:50 / /home rw,nosuid,relatime shared:90 - nfs4 nfs1:/export/home rw,vers=4.2,rsize=1048576,namlen=255,hard,proto=tcp,timeo=600,sec=sys,clientaddr=10.1.0.5,local_lock=none,addr=10.1.0.1
31 22 0:51 / /scratch ro,relatime - nfs [fe80::1%eth0]:/scratch rw,vers=3,hard,mountaddr=fe80::1,mountvers=3,mountport=20048,mountproto=tcp,local_lock=none,addr=fe80::1
32 22 0:52 /part /data/my\\040case rw - nfs4 10.1.0.2:/data rw,vers=4.1
33 22 254:1 / /home/local rw - ext4 /dev/vda1 rw
34 22 0:9 / /dev/shm rw - tmpfs tmpfs rw
garbage
35 22 0:50 / /home rw - nfs4 nfs2:/hidden rw,vers=4.2
`

describe('the mount table', () => {
  const mounts = parseMountInfo(table)

  it('leaves out lines that are none', () => {
    expect(mounts.map((mount) => mount.path)).toEqual([
      '/',
      '/home',
      '/scratch',
      '/data/my case',
      '/home/local',
      '/dev/shm',
      '/home',
    ])
  })

  it('knows on which mount a path lies, the latest of those at one place', () => {
    expect(mountOf('/home/alice', mounts)?.source).toBe('nfs2:/hidden')
    expect(mountOf('/home/alice', mounts.slice(0, 4))?.source).toBe('nfs1:/export/home')
    expect(mountOf('/home/local/x', mounts)?.type).toBe('ext4')
    expect(mountOf('/homestead', mounts)?.path).toBe('/')
    expect(mountOf('/', mounts)?.path).toBe('/')
    expect(mountOf('/x', [])).toBeUndefined()
  })

  it("gives what guests should mount, without what is the node's own", () => {
    const first = mounts.slice(0, 4)
    expect(nfsMountOf('/home/alice', first)).toEqual({
      server: 'nfs1',
      directory: '/export/home',
      path: '/home',
      version: 4,
      options: ['rsize=1048576', 'namlen=255', 'hard', 'proto=tcp', 'timeo=600', 'sec=sys'],
    })
    expect(nfsMountOf('/scratch/x', first)).toMatchObject({ version: 3, options: ['hard', 'ro'] })
    expect(nfsMountOf('/data/my case/sub', first)).toMatchObject({
      directory: '/data/part',
      path: '/data/my case',
    })
    expect(nfsMountOf('/tmp', first)).toBeUndefined()
  })

  it('throws on no text', () => {
    fc.assert(
      fc.property(fc.string(), fc.stringMatching(/^[0-9a-z /\\:-]{0,80}$/), (a, b) => {
        for (const text of [a, b, `${b} - ${a}`]) nfsMountOf('/home', parseMountInfo(text))
      }),
    )
  })
})

describe('nfsSeedMount', () => {
  const mount = parseNfsMount('nfs1:/home:/home:vers=3,soft', '--mount')

  it('names the server by its address', () => {
    expect(nfsSeedMount(mount, '10.1.0.1')).toEqual({
      source: '10.1.0.1:/home',
      path: '/home',
      type: 'nfs',
      options: ['vers=3', 'nolock', 'soft'],
      required: true,
    })
    expect(nfsSeedMount({ ...mount, version: 4 }, 'fe80::1')).toMatchObject({
      source: '[fe80::1]:/home',
      type: 'nfs4',
    })
  })

  it('refuses what is no address', () => {
    expect(() => nfsSeedMount(mount, 'nfs1')).toThrow(/not an address/)
  })
})
