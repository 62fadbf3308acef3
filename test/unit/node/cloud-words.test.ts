// What guests with real cloud-init say, as it was observed (cloud-init 22.4.2, Debian 12) and in pieces.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  cloudInitFailure,
  isWithoutSeed,
  MissingLibraries,
  mountFailure,
} from '../../../launcher/node/cloud-words.ts'

describe('the words of cloud-init', () => {
  it('tell a guest without a seed from one with', () => {
    const said = (source: string) =>
      `[   51.2] cloud-init[512]: Cloud-init v. 22.4.2 finished at Thu, 26 Nov 2026 20:00:00 +0000. Datasource ${source}.  Up 51.20 seconds`
    expect(isWithoutSeed(said('DataSourceNone'))).toBe(true)
    expect(isWithoutSeed(said('DataSourceNoCloud [seed=/dev/vdb][dsmode=net]'))).toBe(false)
  })

  it('are read of its result', () => {
    const result = (errors: readonly string[]) => JSON.stringify({ v1: { datasource: 'x', errors } })
    expect(cloudInitFailure(result([]))).toBeUndefined()
    expect(cloudInitFailure(result(["('ssh', KeyError('x'))"]))).toBe("('ssh', KeyError('x'))")
    expect(cloudInitFailure(result(["('mounts', ProcessExecutionError())"]))).toBeUndefined()
  })

  it('may be anything', () => {
    fc.assert(fc.property(fc.string(), (text) => void cloudInitFailure(text)))
    fc.assert(fc.property(fc.json(), (text) => void cloudInitFailure(text)))
  })
})

describe('a mount that failed', () => {
  const share = { type: '9p', source: 'leet:work0', path: '/case' }
  const nfs = { type: 'nfs4', source: '10.0.0.1:/e', path: '/e' }
  it.each([
    ["mount: /case: unknown filesystem type '9p'.", share, /kernel has no 9p/],
    ['mount: /case: permission denied.', share, /^mount: \/case: permission denied\.$/],
    ['mount: /e: bad option; you might need a /sbin/mount.nfs4 helper program.', nfs, /helper program/],
    ['', nfs, /no reason given/],
  ])('is explained: %s', (said, mount, why) => {
    expect(mountFailure(said, mount).why).toMatch(why)
  })
  it('leads to what may help', () => {
    expect(mountFailure('unknown filesystem type', share).hint).toMatch(/leet export \/case/)
    expect(mountFailure('you might need a helper program', nfs).hint).toMatch(/nfs-common/)
    expect(mountFailure('mount.nfs4: Connection refused', nfs).hint).toMatch(/10\.0\.0\.1/)
  })
})

describe('MissingLibraries', () => {
  const sentence =
    './a.out: error while loading shared libraries: libmpi.so.40: cannot open shared object file: No such file or directory\n'

  it('finds a library however the words come in pieces, and tells it once', () => {
    fc.assert(
      fc.property(fc.nat(sentence.length), fc.nat(3), (cut, rank) => {
        const told: string[] = []
        const missing = new MissingLibraries((library) => told.push(library))
        missing.push(rank, Buffer.from(sentence.slice(0, cut)))
        missing.push(rank + 1, Buffer.from('between\n'))
        missing.push(rank, Buffer.from(sentence.slice(cut)))
        missing.push(rank + 1, Buffer.from(sentence))
        expect(told).toEqual(['libmpi.so.40'])
      }),
    )
  })
})
