// Bases and images for OSv guests, made from a build that looks like OSv's: its kernel is a library with a few symbols.
// What a real kernel makes of such images is tested in test/guest/osv.test.ts.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { LeetError, silentLog } from '../../common/index.ts'
import { readElf } from '../../launcher/images/formats/index.ts'
import { importOsvBase, type OsvBase, openOsvBase, osvBuildHasTls } from '../../launcher/images/osv/base.ts'
import { composeOsvImage, type OsvImage, type OsvImageRequest } from '../../launcher/images/osv/compose.ts'
import { ImageStore } from '../../launcher/images/store.ts'
import { bufferSource } from '../support/byte-source.ts'
import { describeWith } from '../support/needs.ts'
import { MANIFEST, makeOsvBuild } from '../support/osv-build.ts'
import { type RofsNode, readRofs } from '../support/rofs.ts'

describeWith(['cc'], 'OSv images', () => {
  let folder: string
  let build: string
  let store: ImageStore
  let base: OsvBase
  const cc = (...words: string[]) => execFileSync('cc', ['-w', ...words], { cwd: folder })
  const write = (path: string, text: string) => {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-images-'))
    build = makeOsvBuild(folder)
    cc('-shared', '-o', 'libleet-osv.so.1', '-Wl,-soname,libleet-osv.so.1', 'empty.c')
    store = new ImageStore(join(folder, 'store'))
    base = (await importOsvBase(build, { store })).base

    write(
      'lib.c',
      'const char *say(void) { return "hello"; } const char *unused(void) { return missing_one(); }',
    )
    write('main.c', 'int main(void) { puts(say()); return 0; }')
    cc('-shared', '-fPIC', '-o', 'libsay.so.1', '-Wl,-soname,libsay.so.1', 'lib.c')
    cc('-o', 'program', 'main.c', 'libsay.so.1', '-Wl,-rpath,$ORIGIN', '-Wl,--unresolved-symbols=ignore-all')
    cc('-static', '-o', 'static-program', '-x', 'c', '-', '-nostartfiles', '-nostdlib', '-e', '0')
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const compose = (request: Partial<OsvImageRequest>, where = store): Promise<OsvImage> =>
    composeOsvImage(
      {
        programs: [join(folder, 'program')],
        env: {},
        directory: folder,
        base,
        compat: join(folder, 'libleet-osv.so.1'),
        ...request,
      },
      { store: where, log: silentLog },
    )
  const read = ({ disk }: OsvImage) => readRofs(readFileSync(disk))
  const bytes = (node: RofsNode | undefined) => (node?.kind === 'file' ? node.read() : undefined)

  it('takes a base from a build, and the same again', async () => {
    expect(base).toMatchObject({
      tls: true,
      cloudInit: true,
      nfs: 'mount-fs.so',
      version: 'v0.99.0-1-gabcdef1',
    })
    expect(base.entries).toContainEqual({
      guest: '/libhttpserver-api.so',
      kind: 'symlink',
      target: '/usr/lib/libhttpserver-api.so',
    })
    expect(base.entries).toContainEqual({ guest: '/dev', kind: 'directory' })
    const again = await importOsvBase(folder.concat('/build'), { store })
    expect([again.base.id, again.lacks, again.remedies]).toEqual([base.id, [], []])
    expect(await openOsvBase(store)).toEqual(base)
    expect(await openOsvBase(store, base.id)).toEqual(base)
  })

  it('reads a build again when a file of it has changed, and only then', async () => {
    const elsewhere = new ImageStore(join(folder, 'changing'))
    const { base: first, ...told } = await importOsvBase(build, { store: elsewhere })
    const made = statSync(elsewhere.path('unfinished')).mtimeMs
    expect(await importOsvBase(build, { store: elsewhere })).toEqual({ base: first, ...told })
    expect(statSync(elsewhere.path('unfinished')).mtimeMs).toBe(made)
    write('static/etc/hosts', '127.0.0.2 localhost\n')
    const { base: second } = await importOsvBase(build, { store: elsewhere })
    write('static/etc/hosts', '127.0.0.1 localhost\n')
    expect(second.id).not.toBe(first.id)
    const { base: third } = await importOsvBase(build, { store: elsewhere })
    expect([third.id, (await openOsvBase(elsewhere)).id]).toEqual([first.id, first.id])
  })

  it('says precisely what a base lacks, and what will not work', async () => {
    const lines = MANIFEST.filter((line) => !/mount-fs|iso-read|api_file|libssl|libext/.test(line))
    writeFileSync(join(build, 'usr.manifest'), lines.join('\n'))
    const elsewhere = new ImageStore(join(folder, 'poor'))
    const { base: poor, lacks, remedies } = await importOsvBase(build, { store: elsewhere })
    const hasTls = osvBuildHasTls(build)
    writeFileSync(join(build, 'usr.manifest'), MANIFEST.join('\n'))
    expect(poor).toMatchObject({ tls: false, cloudInit: false })
    expect([hasTls, osvBuildHasTls(build)]).toEqual([false, true])
    expect(poor.nfs).toBeUndefined()
    expect(remedies).toEqual([
      'make build/release.x64/tools/mount/mount-fs.so',
      "echo '/tools/mount-fs.so: tools/mount/mount-fs.so' >>build/last/append.manifest",
      'scripts/manifest_from_host.sh -l libssl.so.3 >>build/last/append.manifest',
    ])
    expect(lacks).toEqual([
      '/usr/mgmt/plugins/libhttpserver-api_file.so is missing: no files can be copied into guests or back, and mounts cannot be checked',
      '/usr/bin/iso-read.so is missing: seeds are not applied, so guests get neither files nor mounts',
      'neither /tools/mount-fs.so nor /tools/mount-nfs.so is there: NFS cannot be mounted: --mount is refused, and what the node has on NFS is carried into guests and back',
      'libssl.so.3, which /usr/lib/libhttpserver-api.so needs, is missing: the REST server cannot be protected by TLS, and jobs are refused without --insecure-guest-api',
      '/usr/lib/fs/libext.so is missing: the working directory is carried into the memory of guests, file by file, and not on a disk',
    ])
  })

  it('says what a library costs that is missing behind others', async () => {
    cc('-shared', '-nostdlib', '-o', 'build/libdeep.so.1', '-Wl,-soname,libdeep.so.1', 'empty.c')
    cc(
      '-shared',
      '-nostdlib',
      '-o',
      'build/libclient.so.1',
      'empty.c',
      '-Wl,--no-as-needed',
      'build/libdeep.so.1',
    )
    cc(
      '-shared',
      '-nostdlib',
      '-o',
      'build/client.so',
      'empty.c',
      '-Wl,--no-as-needed',
      '-Lbuild',
      '-l:libclient.so.1',
    )
    const lines = MANIFEST.map((line) => line.replace(/(nfs.so): .*/, '$1: client.so'))
    writeFileSync(
      join(build, 'usr.manifest'),
      [...lines, '/usr/lib/libclient.so.1: libclient.so.1'].join('\n'),
    )
    const imported = await importOsvBase(build, { store: new ImageStore(join(folder, 'behind')) })
    writeFileSync(join(build, 'usr.manifest'), MANIFEST.join('\n'))
    expect(imported.base.nfs).toBeUndefined()
    expect(imported.lacks).toEqual([
      expect.stringMatching(
        /^libdeep.so.1, which \/usr\/lib\/libclient.so.1 needs, .* NFS cannot be mounted/,
      ),
    ])
  })

  it('has each file system of a base run its own initialiser, whatever others are called', async () => {
    const names = ['libext.so', 'nfs.so']
    for (const name of names) {
      write('file-system.c', `void __attribute__((constructor)) initialize_vfsops(void) { puts("${name}"); }`)
      cc('-shared', '-fPIC', '-o', `build/${name}`, 'file-system.c')
    }
    const elsewhere = new ImageStore(join(folder, 'file-systems'))
    const lines = MANIFEST.map((line) => line.replace(/(\/usr\/lib\/fs\/(.*)): .*/, '$1: $2'))
    writeFileSync(join(build, 'usr.manifest'), lines.join('\n'))
    const both = (await importOsvBase(build, { store: elsewhere })).base
    writeFileSync(join(build, 'usr.manifest'), MANIFEST.join('\n'))
    const imported = both.entries.flatMap((entry) =>
      entry.kind === 'file' && entry.guest.startsWith('/usr/lib/fs/') ? [join(both.files, entry.file)] : [],
    )
    // The loader of this machine looks names up as OSv's does.
    write(
      'load.c',
      '#include <dlfcn.h>\nint main(int c, char **v) { while (*++v) if (!dlopen(*v, RTLD_LAZY | RTLD_GLOBAL)) return 1; return 0; }',
    )
    cc('-o', 'load', 'load.c')
    const load = (...files: string[]) => execFileSync(join(folder, 'load'), files).toString().split('\n')
    expect(load(...names.map((name) => join(build, name)))).toEqual(['libext.so', 'libext.so', ''])
    expect(load(...imported)).toEqual(['libext.so', 'nfs.so', ''])
  })

  it('refuses, with all reasons at once, what is no base', async () => {
    const lines = MANIFEST.filter((line) => !/api_app|libenviron/.test(line))
    writeFileSync(join(build, 'usr.manifest'), [...lines, '/x: nowhere/x'].join('\n'))
    const error = await importOsvBase(build, { store }).catch((e) => e)
    writeFileSync(join(build, 'usr.manifest'), MANIFEST.join('\n'))
    expect(error).toMatchObject({ code: 'LEET_E_OSV_BASE' })
    expect(error.message).toContain('nowhere/x for /x, which is not there')
    expect(error.message).toContain('cannot start programs')
    expect(error.message).toContain('/libenviron.so is missing')
    expect(await importOsvBase(tmpdir(), { store }).catch(({ code }) => code)).toBe('LEET_E_OSV_BASE')
    expect(await openOsvBase(new ImageStore(join(folder, 'none'))).catch(({ code }) => code)).toBe(
      'LEET_E_OSV_BASE',
    )
  })

  it('leads working directories to a disk, where the base can read one and there may be one', async () => {
    const staged = ['/home/someone/case']
    const tops = ['/home', '/scratch', '/tmp', '/usr']
    const target = async (request: Partial<OsvImageRequest>) => {
      const image = await compose({ staged, tops, ...request })
      const nodes = read(image)
      return [image.links, nodes.get('/leet/work')?.kind]
    }
    const { entries, ...rest } = base
    const plain = { ...rest, id: 'plain', entries: entries.filter(({ guest }) => !guest.includes('libext')) }
    const links = (root: string) => ['/home', '/scratch'].map((path) => ({ path, target: `${root}${path}` }))
    const onDisk = [links('/leet/work'), 'directory']
    const inMemory = [links('/tmp/leet'), undefined]
    expect(await target({ workDisk: true })).toEqual(onDisk)
    expect(await target({ workDisk: true, staged: ['/home/other/case'] })).toEqual(onDisk)
    expect(await target({ workDisk: false })).toEqual(inMemory)
    expect(await target({ workDisk: true, base: plain })).toEqual(inMemory)
  })

  it('is one for all working directories', async () => {
    const tops = ['/home', '/scratch']
    const of = (staged: string[]) => compose({ staged, tops, workDisk: true })
    const { id } = await of(['/home/someone/case'])
    expect(await of(['/scratch/case', '/home/other'])).toMatchObject({ id, composed: false })
  })

  it('has the program with what it needs, less what the kernel supplies', async () => {
    const image = await compose({})
    expect(image).toMatchObject({ composed: true, compat: true, kernel: base.kernel })
    const nodes = read(image)
    // The folder lies below /tmp, over which OSv mounts.
    const program = `/leet/hidden${join(folder, 'program')}`
    expect(image.programs.map(({ path }) => path)).toEqual([program])
    expect(readElf(bufferSource(bytes(nodes.get(program)) as Buffer), 'program').needed).toEqual([
      'libsay.so.1',
      'libc.so.6',
      'libleet-osv.so.1',
    ])
    expect(nodes.get('/usr/lib/libsay.so.1')).toEqual({
      kind: 'symlink',
      target: `/leet/hidden${join(folder, 'libsay.so.1')}`,
    })
    expect([...nodes.keys()].filter((path) => /libc\.so|ld-linux/.test(path))).toEqual([])
    expect(bytes(nodes.get('/etc/hosts'))?.toString()).toBe('127.0.0.1 localhost\n')
    expect(nodes.get('/tmp')).toEqual({ kind: 'directory' })
    expect(nodes.get('/usr/lib/libleet-osv.so.1')?.kind).toBe('file')
    expect((await compose({})).composed).toBe(false)
  })

  it('is the same bytes when made anew, and never the user’s own file', async () => {
    const before = readFileSync(join(folder, 'program'))
    const [one, other] = await Promise.all([compose({}), compose({}, new ImageStore(join(folder, 'anew')))])
    expect(other.composed).toBe(true)
    expect(readFileSync(other.disk).equals(readFileSync(one.disk))).toBe(true)
    expect(readFileSync(join(folder, 'program')).equals(before)).toBe(true)
  })

  it('leaves the compatibility library out when told', async () => {
    const image = await compose({ compat: false })
    const nodes = read(image)
    expect(image.compat).toBe(false)
    expect([...nodes.keys()].some((path) => path.includes('leet-osv'))).toBe(false)
    const program = bytes(nodes.get(image.programs[0]?.path as string))
    expect(program?.equals(readFileSync(join(folder, 'program')))).toBe(true)
  })

  it('names the symbols that nobody has', async () => {
    const { warnings } = await compose({})
    expect(warnings).toEqual([
      `${join(folder, 'libsay.so.1')} refers to missing_one, which neither the image nor the OSv kernel has: the program ends when it comes to use that`,
    ])
  })

  it('warns of a static program, and refuses a script', async () => {
    const { warnings } = await compose({ programs: [join(folder, 'static-program')] })
    expect(warnings).toEqual([expect.stringContaining('is static')])
    write('script', '#!/bin/sh\n')
    chmodSync(join(folder, 'script'), 0o755)
    expect(await compose({ programs: [join(folder, 'script')] }).catch((e) => e)).toBeInstanceOf(LeetError)
  })

  it('refuses an MPICH that finds no network in OSv, and takes another', async () => {
    write('mpi.c', 'const char MPII_Version_device[] = DEVICE; int MPI_Init(void) { return 0; }')
    write('rank.c', 'int main(void) { return MPI_Init(); }')
    cc('-shared', '-fPIC', '-o', 'libmpi.so.12', '-DDEVICE="ch3:nemesis"', 'mpi.c')
    cc('-o', 'rank', 'rank.c', 'libmpi.so.12', '-Wl,-rpath,$ORIGIN')
    const programs = [join(folder, 'rank')]
    expect((await compose({ programs })).mpi).toMatchObject({ flavour: 'mpich', device: 'ch3:nemesis' })
    cc('-shared', '-fPIC', '-o', 'libmpi.so.12', '-DDEVICE="ch4:ucx"', 'mpi.c')
    expect(await compose({ programs }).catch((e) => e)).toMatchObject({
      code: 'LEET_E_LIBRARY',
      message: expect.stringContaining('libmpi.so.12 is MPICH with the device ch4:ucx'),
    })
  })

  it('has mount points and the user’s files', async () => {
    mkdirSync(join(folder, 'data/deep ä'), { recursive: true })
    write('data/deep ä/file', 'content')
    symlinkSync('deep ä/file', join(folder, 'data/link'))
    const image = await compose({
      mountPoints: ['/home/user/case'],
      files: [{ source: 'data', destination: '/opt/data' }],
    })
    const nodes = read(image)
    expect(nodes.get('/home/user/case')).toEqual({ kind: 'directory' })
    expect(bytes(nodes.get('/opt/data/deep ä/file'))?.toString()).toBe('content')
    expect(nodes.get('/opt/data/link')).toEqual({ kind: 'symlink', target: 'deep ä/file' })
    const hidden = await compose({ files: [{ source: 'data' }] }).catch((e) => e)
    expect(hidden).toMatchObject({ code: 'LEET_E_USAGE' })
  })
})
