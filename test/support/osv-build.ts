// A build that looks like what OSv's own leaves: its kernel is a library with a few symbols.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Names that a kernel may answer to stand in it as texts. */
const KERNEL = `
const char *osv_version(void) { return "\\0v0.99.0-1-gabcdef1\\0" + 1; }
const char *const supplied[] = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0"};
void puts(void) {} void printf(void) {} void __libc_start_main(void) {} void exit(void) {}
`

/** Its NFS client has the names of its arguments in it. */
const LIBNFS = 'const char *const arguments[] = {"", "nfsport", "timeo"};'

/** Its usr.manifest. */
export const MANIFEST = [
  '[manifest]',
  '/libenviron.so: libenviron.so',
  '/libhttpserver-api.so: ->/usr/lib/libhttpserver-api.so',
  '/usr/lib/libhttpserver-api.so: server.so',
  '/usr/lib/libssl.so.3: %(nobody_knows)s/libc.so.6',
  ...['app', 'env', 'file', 'os', 'fs', 'network', 'hardware'].map(
    (name) => `/usr/mgmt/plugins/libhttpserver-api_${name}.so: plugin.so`,
  ),
  '/usr/mgmt/cloud-init.so: plugin.so',
  '/usr/bin/iso-read.so: plugin.so',
  '/init/00-cmdline: ../modules/cmdline',
  '/usr/lib/fs/nfs.so: plugin.so',
  '/usr/lib/libnfs.so.17.0.0: libnfs.so',
  '/usr/lib/fs/libext.so: plugin.so',
  '/tools/mount-fs.so: plugin.so',
  '/&/etc/hosts: ../static/&',
  '/dev: ../static',
  '/tmp: ../static',
]

/** Makes the build in `folder`, with `empty.c` and other sources beside it, and without some of it; gives its directory. */
export function makeOsvBuild(folder: string, { without = [] }: { without?: readonly string[] } = {}): string {
  const cc = (...words: string[]) => execFileSync('cc', ['-w', ...words], { cwd: folder })
  const write = (path: string, text: string) => {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  write('kernel.c', KERNEL)
  write('empty.c', '')
  write('libnfs.c', LIBNFS)
  write('build/.keep', '')
  cc('-shared', '-fPIC', '-nostdlib', '-fno-builtin', '-o', 'build/loader-stripped.elf', 'kernel.c')
  cc('-shared', '-o', 'build/libssl.so.3', '-nostdlib', '-Wl,-soname,libssl.so.3', 'empty.c')
  cc('-shared', '-nostdlib', '-o', 'build/server.so', 'empty.c', '-Wl,--no-as-needed', 'build/libssl.so.3')
  cc('-shared', '-nostdlib', '-o', 'build/plugin.so', 'empty.c')
  cc('-shared', '-nostdlib', '-o', 'build/libenviron.so', 'empty.c')
  cc('-shared', '-nostdlib', '-o', 'build/libnfs.so', 'libnfs.c')
  write('modules/cmdline', '/usr/mgmt/cloud-init.so;\n')
  write('static/etc/hosts', '127.0.0.1 localhost\n')
  const lines = MANIFEST.filter((line) => !without.some((word) => line.includes(word)))
  write('build/usr.manifest', lines.join('\n'))
  return join(folder, 'build')
}
