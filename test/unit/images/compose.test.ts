import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, type Log } from '../../../common/index.ts'
import type { LinuxImage, LinuxImageRequest } from '../../../launcher/images/image.ts'
import { findKernel } from '../../../launcher/images/kernel.ts'
import { composeLinuxImage } from '../../../launcher/images/linux.ts'
import { cacheDirectory, ImageStore, removeStaleImages } from '../../../launcher/images/store.ts'
import { describeWith } from '../../support/needs.ts'

const hasKernel = (() => {
  try {
    return Boolean(findKernel(undefined))
  } catch {
    return false
  }
})()

/** Unpacking a kernel takes a second, on a busy machine many. */
const SLOW = 60_000
const NEEDS = ['mpicc.mpich', 'gcc', 'busybox', 'dropbear', 'fsck.erofs', 'xz']
describeWith(hasKernel ? NEEDS : ['linux-image-amd64'], 'an image for Linux guests', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leet-compose-')))
  afterAll(() => rmSync(folder, { recursive: true }))
  const at = (...names: string[]) => join(folder, ...names)
  const said: string[] = []
  const log: Log = { note() {}, warn() {}, detail: (line) => said.push(line) }
  const starter = at('starter')
  const request = (more: Partial<LinuxImageRequest> = {}): LinuxImageRequest => ({
    programs: ['./mpi'],
    env: { PATH: '/usr/bin:/bin' },
    directory: at('work'),
    starter: { path: starter },
    ...more,
  })
  const compose = (more: Partial<LinuxImageRequest> = {}, cacheDir = at('cache')) =>
    composeLinuxImage(request(more), { log, cacheDir, deadline: Deadline.after(60_000) })
  const listed = (image: LinuxImage) => {
    const target = mkdtempSync(at('tree-'))
    execFileSync('fsck.erofs', [`--extract=${target}/t`, '--no-preserve', image.disk], { stdio: 'pipe' })
    return join(target, 't')
  }
  let image: LinuxImage

  beforeAll(async () => {
    mkdirSync(at('work'))
    writeFileSync(starter, 'starter', { mode: 0o755 })
    writeFileSync(
      at('work', 'mpi.c'),
      '#include <mpi.h>\nint main(int c, char **v) { MPI_Init(&c, &v); return MPI_Finalize(); }',
    )
    execFileSync('mpicc.mpich', ['-o', 'mpi', 'mpi.c'], { cwd: at('work') })
    image = await compose()
  }, SLOW)

  it('has a kernel, a small first root, and a disk', () => {
    expect(image.composed).toBe(true)
    expect(image.mpi.flavour).toBe('mpich')
    expect(image.programs).toMatchObject([{ name: './mpi', path: at('work', 'mpi') }])
    // Uncompressed with a PVH entry: QEMU takes it as it is.
    expect(readFileSync(image.kernel).subarray(0, 4).toString('latin1')).toBe('\x7fELF')
    expect(statSync(image.initrd).size).toBeLessThan(3 << 20)
    const list = execFileSync('busybox', ['cpio', '-it'], {
      input: readFileSync(image.initrd),
      encoding: 'utf8',
      stdio: 'pipe',
    })
    for (const name of ['init', 'modules/virtio_blk.ko', 'modules/erofs.ko', 'modules/overlay.ko']) {
      expect(list.split('\n')).toContain(name)
    }
  })

  it('has everything under the paths of this host', () => {
    const root = listed(image)
    const files = [
      at('work', 'mpi'),
      '/lib64/ld-linux-x86-64.so.2',
      ...['libmpich.so.12', 'libucp.so.0', 'libc.so.6'].map((name) => `/lib/x86_64-linux-gnu/${name}`),
    ]
    for (const path of files) {
      // Links lead where they lead here, but inside the image.
      const real = realpathSync(path)
      expect(readFileSync(join(root, real)).equals(readFileSync(real))).toBe(true)
    }
    expect(readFileSync(join(root, 'leet/starter'), 'utf8')).toBe('starter')
    for (const path of ['leet/modules/9p.list', 'leet/modules/nfs4.list', 'etc/ld.so.cache', 'usr/bin/ls']) {
      expect(readdirSync(join(root, path, '..'))).toContain(path.split('/').at(-1))
    }
    // The index of libraries has only what is in the image.
    const index = execFileSync('ldconfig', ['-C', join(root, 'etc/ld.so.cache'), '-p'], {
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/sbin' },
    })
    expect(index).toContain('libmpich.so.12')
    for (const [, path] of index.matchAll(/=> (\S+)/g)) {
      expect(existsSync(join(root, realpathSync(path as string)))).toBe(true)
    }
  })

  it('is found again, and is the same bytes when made again', { timeout: SLOW }, async () => {
    expect(await compose()).toEqual({ ...image, composed: false })
    const other = await compose({}, at('other'))
    expect(other.composed).toBe(true)
    expect(other.id).toBe(image.id)
    for (const part of ['kernel', 'initrd', 'disk'] as const) {
      expect(readFileSync(other[part]).equals(readFileSync(image[part]))).toBe(true)
    }
  })

  it('is made once by many who ask at the same time', { timeout: SLOW }, async () => {
    const images = await Promise.all([1, 2].map(() => compose({}, at('racing'))))
    expect(new Set(images.map(({ id }) => id))).toEqual(new Set([image.id]))
    expect(readdirSync(at('racing', 'linux', 'disk'))).toHaveLength(1)
    expect(readdirSync(at('racing', 'linux', 'unfinished'))).toEqual([])
  })

  it('is another one when a program or file changes', async () => {
    writeFileSync(at('work', 'input'), 'one')
    const files = [{ source: 'input', destination: '/data/input' }]
    const one = await compose({ files })
    expect(one.id).not.toBe(image.id)
    expect(await compose({ files })).toMatchObject({ id: one.id, composed: false })
    writeFileSync(at('work', 'input'), 'two')
    const two = await compose({ files })
    expect(two.id).not.toBe(one.id)
    expect(readFileSync(join(listed(two), 'data/input'), 'utf8')).toBe('two')
  })

  it('does not depend on what lies in directories that guests mount', async () => {
    const shared = [at('work')]
    const one = await compose({ shared })
    expect(existsSync(join(listed(one), at('work', 'mpi')))).toBe(false)
    expect(statSync(join(listed(one), at('work'))).isDirectory()).toBe(true)
    utimesSync(at('work', 'mpi'), 1, 1)
    expect(await compose({ shared })).toMatchObject({ id: one.id, composed: false })
  })

  it('notices a library that now comes first', async () => {
    mkdirSync(at('lib'))
    const env = { PATH: '/usr/bin', LD_LIBRARY_PATH: at('lib') }
    const before = await compose({ env })
    execFileSync('gcc', ['-shared', '-o', at('lib', 'libhwloc.so.15'), '-x', 'c', '/dev/null'])
    const other = await compose({ env })
    expect(other.id).not.toBe(before.id)
    expect(existsSync(join(listed(other), at('lib', 'libhwloc.so.15')))).toBe(true)
  })

  it('is refused before anything is made when the program could not start', async () => {
    await expect(compose({ programs: ['./absent'] })).rejects.toMatchObject({
      code: 'LEET_E_PROGRAM',
      exitCode: 127,
    })
    execFileSync('gcc', ['-shared', '-o', at('work', 'libgone.so'), '-x', 'c', '/dev/null'])
    writeFileSync(at('work', 'm.c'), 'int main(void) { return 0; }')
    execFileSync('gcc', ['-o', 'lost', 'm.c', '-Wl,--no-as-needed', '-L.', '-lgone'], { cwd: at('work') })
    await expect(compose({ programs: ['./lost'] })).rejects.toThrow(
      `${at('work', 'lost')}: libgone.so cannot be found: ${at('work', 'lost')} needs libgone.so`,
    )
    await expect(compose({ files: [{ source: 'no-such-file' }] })).rejects.toThrow(
      'no-such-file: cannot be found',
    )
    await expect(compose({ kernel: { file: starter, modules: folder } })).rejects.toMatchObject({
      code: 'LEET_E_KERNEL',
    })
  })

  it('leaves nothing behind of composers that were killed, and lets others be', async () => {
    const store = new ImageStore(at('killed'))
    const unfinished = () => readdirSync(store.path('unfinished'))
    await store.place('disk', async () => {
      const [mine] = unfinished() as [string]
      const [place] = mine.split('.')
      const elsewhere = `${'0'.repeat(16)}.4194303.1.0123456789abcdef`
      const old = `${'0'.repeat(16)}.4194303.1.fedcba9876543210`
      for (const name of [`${place}.4194303.1.0123456789abcdef`, elsewhere, old]) {
        mkdirSync(store.path('unfinished', name))
        writeFileSync(store.path('unfinished', name, 'root.erofs'), 'half')
      }
      utimesSync(store.path('unfinished', old), 1, 1)
      removeStaleImages(store.root)
      expect(unfinished().sort()).toEqual([mine, elsewhere].sort())
      return 'name'
    })
  })

  it('can have scripts for programs, with their interpreters', async () => {
    writeFileSync(at('work', 'job.sh'), '#!/usr/bin/perl\nprint 1;\n', { mode: 0o755 })
    const made = await compose({ programs: ['./job.sh'] })
    expect(made.mpi).toEqual({ flavour: 'none' })
    const root = listed(made)
    expect(existsSync(join(root, realpathSync('/usr/bin/perl')))).toBe(true)
    expect(existsSync(join(root, at('work', 'job.sh')))).toBe(true)
  })
})

describeWith([], 'the cache directory', () => {
  it('is where the XDG specification says', () => {
    expect(cacheDirectory({ XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/x/leet')
    expect(cacheDirectory({ XDG_CACHE_HOME: 'relative', HOME: '/h' })).toBe('/h/.cache/leet')
    expect(() => cacheDirectory({})).toThrow('there is no place for images')
  })
})
