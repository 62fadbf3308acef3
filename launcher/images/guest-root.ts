// What the root of every Linux guest has beside the program: the SSH server, a shell with the usual small commands, the
// starter, kernel modules, and the few files of /etc that programs expect.
import { lstatSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'
import { findProgram } from './inspect.ts'
import { type Kernel, MODULE_SETS } from './kernel.ts'
import { writeLdCache } from './ldcache.ts'
import { hostLoaderSettings, LinkMap, readLdCache } from './loader.ts'
import { loadOrder, readModule } from './modules.ts'
import type { ImageTree } from './tree.ts'

/** Where the tools are looked for: servers are not on everybody's PATH. */
export const TOOL_DIRECTORIES = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
]
const MOUNT_POINTS = ['/proc', '/sys', '/dev', '/run', '/mnt', '/home', '/var/lib']

/** Directories, and the links between them that this host has (/lib -> usr/lib): paths must lead where they lead here. */
export function addSkeleton(tree: ImageTree): void {
  for (const path of ['/bin', '/sbin', '/lib', '/lib64', '/lib32']) {
    const target = linkTarget(path)
    if (target) tree.symlink(path, target)
  }
  for (const path of MOUNT_POINTS) tree.directory(path)
  tree.directory('/root', 0o700)
  for (const path of ['/tmp', '/var/tmp']) tree.directory(path, 0o1777)
  tree.symlink('/var/run', '/run')
}

/** The programs that make a guest of it. What the host lacks is `LEET_E_GUEST_TOOLS`. */
export async function addTools(tree: ImageTree, starter: string, limits: WaitLimits): Promise<void> {
  tree.directory('/leet')
  tree.copy(starter, '/leet/starter')
  const dropbear = tool('dropbear', 'the SSH server of guests', 'install dropbear-bin')
  addWithLibraries(tree, dropbear)
  tree.symlink('/leet/sshd', dropbear)
  const busybox = busyboxPath()
  addWithLibraries(tree, busybox)
  tree.symlink('/leet/busybox', busybox)
  const { status, stdout } = await runCommand([busybox, '--list-full'], limits)
  for (const path of status === 0 ? stdout.split('\n') : []) {
    // What the programs brought along stays: entries that are there already are not replaced.
    if (/^(usr\/)?s?bin\/[^/]+$/.test(path)) tree.symlink(join('/', path), '/leet/busybox')
  }
  tree.symlink('/bin/sh', '/leet/busybox')
  tree.file('/leet/dhcp', DHCP_SCRIPT, 0o755)
}

/** This host's busybox; `LEET_E_GUEST_TOOLS` when there is none. */
export function busyboxPath(): string {
  return tool('busybox', 'the shell of guests', 'install busybox-static')
}

/** What busybox's udhcpc runs with an answer in its environment; init starts it for interfaces without an address. */
const DHCP_SCRIPT = `#!/leet/busybox sh
[ "$1" = bound ] || exit 0
/leet/busybox ifconfig "$interface" "$ip" netmask "$subnet" || exit 1
for gateway in $router; do
  /leet/busybox route add default gw "$gateway" dev "$interface"
  break
done
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
`

/** Modules that init loads from the disk, each set as a list in load order; `optional` ones begin with `-`. */
export async function addModules(tree: ImageTree, kernel: Kernel, limits: WaitLimits): Promise<void> {
  for (const [set, names] of Object.entries(MODULE_SETS)) {
    const { files, unknown } = loadOrder(kernel.index, names)
    // A kernel without NFS, say, is no reason not to boot: the mount that needs it will fail and say why.
    if (unknown.length > 0 && set !== 'base') continue
    tree.file(`/leet/modules/${set}.list`, moduleList(files))
    for (const { name, path } of files) {
      const target = `/leet/modules/${name}.ko`
      const source = join(kernel.modules, path)
      if (tree.has(target)) continue
      if (path.endsWith('.ko')) tree.copy(source, target)
      else tree.file(target, await readModule(source, limits))
    }
  }
}

/** One line per module, in load order. */
export function moduleList(files: readonly { readonly name: string; readonly optional: boolean }[]): string {
  return files.map(({ name, optional }) => `${optional ? '-' : ''}${name}\n`).join('')
}

/** The few files of /etc without which the C library or the SSH server would not work as programs expect. */
export function addSettings(tree: ImageTree): void {
  tree.file('/etc/nsswitch.conf', 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n')
  tree.file('/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n')
  tree.file('/etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n')
  tree.file('/etc/shadow', 'root:*:::::::\nnobody:*:::::::\n', 0o600)
  tree.file('/etc/shells', '/bin/sh\n/bin/bash\n/bin/dash\n/usr/bin/sh\n/usr/bin/bash\n')
  tree.file('/etc/hosts', '127.0.0.1 localhost\n::1 localhost\n')
  tree.file('/etc/resolv.conf', '')
  tree.file('/etc/host.conf', 'multi on\n')
  for (const path of ['/etc/localtime', '/etc/protocols', '/etc/services']) {
    if (lstatSync(path, { throwIfNoEntry: false })) tree.host(path)
  }
  // The host's index of libraries, of which only what is in the image is kept: the loader in the guest then looks in
  // the same places in the same order.
  tree.file('/etc/ld.so.cache', writeLdCache(readLdCache().filter(({ path }) => tree.has(path))))
}

/** Adds every file that the loader would map for this program. */
function addWithLibraries(tree: ImageTree, path: string): void {
  const map = new LinkMap(path, hostLoaderSettings({}, '/'))
  for (const object of map.objects) tree.host(object.path)
}

function tool(name: string, what: string, hint: string): string {
  try {
    return findProgram(name, { PATH: TOOL_DIRECTORIES.join(':') }, '/')
  } catch (cause) {
    throw new LeetError({
      code: 'LEET_E_GUEST_TOOLS',
      what: `${basename(name)}, ${what}, is not installed on this node`,
      hint,
      cause,
    })
  }
}

function linkTarget(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined
}
