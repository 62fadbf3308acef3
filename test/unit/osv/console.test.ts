import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mountedAt, readConsoleLine, returnedStatuses } from '../../../mpi-bridge/osv/console.ts'

describe('a console line', () => {
  it('says where NFS has been mounted', () => {
    expect(mountedAt('Mounted nfs://10.0.0.1/x/?uid=1&gid=2&readonly at /data/a')).toBe('/data/a')
    expect(mountedAt('Error in mount(): Bad address(14)')).toBeUndefined()
  })

  it.each([
    ['leet-exit n0nce rank=7 status=3', { kind: 'exit', rank: 7, status: 3, before: '' }],
    ['no newlineleet-exit n0nce rank=0 status=0', { kind: 'exit', rank: 0, status: 0, before: 'no newline' }],
    ['program exited with status 3', { kind: 'power-off', status: 3 }],
    ['Rest API server running on port 8000', { kind: 'ready' }],
    ['random: device unblocked.', { kind: 'chatter' }],
    ['VFS: mounting ramfs at /tmp', { kind: 'boot' }],
    ['program /usr/bin/hello returned 3', { kind: 'returned', path: '/usr/bin/hello' }],
    ['Powering off.', { kind: 'off' }],
    ['hello', { kind: 'output', text: 'hello' }],
    ['', { kind: 'output', text: '' }],
  ])('%j', (line, read) => {
    expect(readConsoleLine(line, 'n0nce')).toEqual(read)
  })

  it.each([
    'Assertion failed: eo (libc/cxa_thread_atexit.cc: linked_destructor: 47)',
    'page fault outside application, addr: 0x0000000000000000',
    '[backtrace]',
    '0x000000004039c95e <__libc_start_main+46>',
    'RIP: 0x00000000403c53c9 <???+1077695433>',
    'Aborted',
    '/prog: failed looking up symbol aio_write',
    'application::new_program() out of namespaces.',
  ])('is of a crash: %s', (line) => {
    expect(readConsoleLine(line, 'n0nce').kind).toBe('crash')
  })

  it('tells a signal that the program did not handle', () => {
    expect(readConsoleLine('Uncaught signal 11 ("Segmentation fault"). Powering off.', 'n')).toMatchObject({
      kind: 'signal',
      signal: 11,
    })
  })

  it.each([
    "cloud-init failed when handling 'users'': Handler not found",
    'Error in mount(): Bad address(14)',
    'The nfs module is in-active!. Please add nfs module to the image.',
  ])('tells that a seed was not applied: %s', (line) => {
    expect(readConsoleLine(line, 'n')).toEqual({ kind: 'seed-failed', text: line })
  })

  it('leaves out that a mount is there, which may be said when ranks run', () => {
    const line = 'Mounted nfs://10.77.0.2/export/project/?uid=0&gid=0 at /srv/project'
    expect(readConsoleLine(line, 'n')).toEqual({ kind: 'chatter' })
  })

  it('believes only the job’s nonce', () => {
    expect(readConsoleLine('leet-exit other rank=0 status=0', 'n0nce').kind).toBe('output')
    expect(readConsoleLine('leet-exit  rank=0 status=0', '').kind).toBe('output')
    expect(readConsoleLine('leet-exit n0nce rank=0 status=0 or so', 'n0nce').kind).toBe('output')
  })

  it('is something, whatever it says', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (line, nonce) => {
        expect(readConsoleLine(line, nonce).kind).toBeTypeOf('string')
      }),
    )
  })
})

describe('the kernel log', () => {
  it('tells what programs returned, by path', () => {
    const log =
      'eth0: up\nprogram /a returned 3\nprogram /a b returned 4\nprogram /b returned -1\nprogram /a returned x\nprogram /a returned 5\n'
    expect(returnedStatuses(log, '/a')).toEqual([3, 5])
    expect(returnedStatuses(log, '/b')).toEqual([255])
    expect(returnedStatuses(log, '/c')).toEqual([])
  })
})
