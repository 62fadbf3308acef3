// The cloud-config dialect: a seed as NoCloud files for Linux guests, with real cloud-init and with our own init.
// The documents are JSON, which is YAML, so that both read the same bytes. The written form is described in README.md.
// Checked against cloud-init 22.4.2 (its schema, and the modules named below).
import { LeetError } from '../common/index.ts'
import { isWithin } from './checks.ts'
import type { Seed, SeedFile, SeedInterface, SeedMount, SeedUser } from './seed.ts'

/** The three files of a NoCloud seed, by name. */
export interface CloudConfigFiles {
  readonly 'user-data': string
  readonly 'meta-data': string
  readonly 'network-config': string
}

/** A checked seed as NoCloud files; `LEET_E_SEED` when cloud-config has no way to say something. */
export function cloudConfig(seed: Seed): CloudConfigFiles {
  const short = seed.hostname.split('.')[0] as string
  return {
    'user-data': `#cloud-config\n${json(userData(seed, short))}`,
    'meta-data': json({
      'instance-id': seed.instanceId,
      'local-hostname': short,
      // No key of cloud-config carries a gid. Real cloud-init passes unknown metadata by.
      ...(seed.user && { leet: { gid: seed.user.gid } }),
    }),
    'network-config': json(networkConfig(seed.interfaces)),
  }
}

function userData(seed: Seed, short: string): object {
  const { user, ssh, commands } = seed
  // A parent is mounted before what lies in it.
  const mounts = seed.mounts.toSorted((a, b) => depth(a.path) - depth(b.path)).map(mountFields)
  const files = [hostsFile(seed), ...seed.files]
  const boot = bootCommands(seed)
  return {
    hostname: short,
    fqdn: seed.hostname,
    preserve_hostname: false,
    manage_etc_hosts: false,
    ...(boot.length > 0 && { bootcmd: boot }),
    // Without this, cloud-init puts a forced command before root's keys (cc_ssh).
    disable_root: false,
    ssh_pwauth: false,
    users: [
      { name: 'root', lock_passwd: true, ...(ssh && { ssh_authorized_keys: ssh.authorizedKeys }) },
      ...(user && user.uid !== 0 ? [userEntry(user, seed.mounts)] : []),
    ],
    ...(ssh && {
      ssh_deletekeys: true,
      ssh_keys: { ed25519_private: ssh.hostKey.private, ed25519_public: ssh.hostKey.public },
    }),
    write_files: files.map((file) => writeFilesEntry(file, user)),
    ...(mounts.length > 0 && { mounts }),
    ...(commands.length > 0 && { runcmd: commands }),
  }
}

/** What must be there before cloud-init's own modules run; an init that follows README.md needs none of it. */
function bootCommands({ user, mounts }: Seed): string[][] {
  const commands: string[][] = []
  if (user && user.gid !== 0) {
    // cloud-init knows no gid of a group (cc_users_groups). Editing the file works on every distribution.
    const script = 'sed -i "/^$1:/d" /etc/group; printf "%s:x:%s:\\n" "$2" "$3" >>/etc/group'
    commands.push([
      'sh',
      '-c',
      script,
      'group',
      user.group.replaceAll('.', '[.]'),
      user.group,
      String(user.gid),
    ])
  }
  if (user && user.uid !== 0 && mounts.some(({ path }) => path !== user.home && isWithin(path, user.home))) {
    if (!isMounted(user.home, mounts)) {
      // cc_mounts would make the home on its way to the mount point, as root's, before cc_users_groups can.
      const script = 'mkdir -p "$1" && chown "$2" "$1"'
      commands.push(['sh', '-c', script, 'home', user.home, `${user.uid}:${user.gid}`])
    }
  }
  // cc_mounts makes the directory under the escaped name that fstab needs; mount(8) wants the real one.
  for (const { path } of mounts) {
    if (fstabField(path) !== path) commands.push(['mkdir', '-p', path])
  }
  return commands
}

/** Whether a path lies on one of the seed's mounts. */
function isMounted(path: string, mounts: readonly SeedMount[]): boolean {
  return mounts.some((mount) => isWithin(path, mount.path))
}

function userEntry(user: SeedUser, mounts: readonly SeedMount[]): object {
  return {
    name: user.name,
    uid: user.uid,
    primary_group: user.group,
    ...(user.groups.length > 0 && { groups: user.groups }),
    homedir: user.home,
    shell: user.shell,
    lock_passwd: true,
    // A home that is mounted is the user's real one: nothing is made in it.
    ...(isMounted(user.home, mounts) && { no_create_home: true }),
  }
}

function hostsFile({ hostname, hosts, interfaces }: Seed): SeedFile {
  const short = hostname.split('.')[0] as string
  const listed = new Set(hosts.flatMap(({ names }) => names))
  const own = [hostname, short].filter((name, i, all) => !listed.has(name) && all.indexOf(name) === i)
  // A guest's own name must resolve, and not to loopback where there is a choice: MPI libraries hand it to peers.
  const address = interfaces.map(({ ipv4 }) => (ipv4 === 'dhcp' ? undefined : ipv4.address)).find(Boolean)
  const lines = [
    '127.0.0.1 localhost',
    '::1 localhost ip6-localhost ip6-loopback',
    ...(own.length > 0 ? [`${address ?? '127.0.1.1'} ${own.join(' ')}`] : []),
    ...hosts.map(({ address, names }) => `${address} ${names.join(' ')}`),
  ]
  return { path: '/etc/hosts', content: `${lines.join('\n')}\n`, mode: 0o644, owner: 'root' }
}

function writeFilesEntry(file: SeedFile, user: SeedUser | undefined): object {
  const asUser = file.owner === 'user' && user !== undefined && user.uid !== 0
  return {
    path: file.path,
    permissions: `0${file.mode.toString(8).padStart(3, '0')}`,
    owner: asUser ? `${user.name}:${user.group}` : 'root:root',
    ...(typeof file.content === 'string'
      ? { content: file.content }
      : { encoding: 'b64', content: Buffer.from(file.content).toString('base64') }),
    // cc_write_files runs before cc_users_groups and looks owners up by name.
    ...(asUser && { defer: true }),
  }
}

/** The six fields of fstab(5); `nofail` marks what the guest may do without. */
function mountFields({ source, path, type, options, required }: SeedMount): string[] {
  // cc_mounts drops a source that is no block device unless it has a colon after its first character.
  if (!source.startsWith('/') && !/^.+:/.test(source)) {
    throw new LeetError({
      code: 'LEET_E_SEED',
      what: `the mount of ${path} cannot be told to cloud-init`,
      why: `it takes the source "${source}" for a block device and drops it`,
      hint: 'give 9p and virtiofs tags a colon, such as leet:work',
    })
  }
  const said = [...options, ...(required ? [] : ['nofail'])]
  return [fstabField(source), fstabField(path), type, said.join(',') || 'defaults', '0', '0']
}

/** A field of fstab(5): blanks and backslashes as octal escapes. */
function fstabField(text: string): string {
  return text.replace(/[ \\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`)
}

function networkConfig(interfaces: readonly SeedInterface[]): object {
  const ethernets = interfaces.map((nic) => [
    // cloud-init 22.4's networkd renderer takes the key for the interface's name even where `match` is given.
    nic.name,
    {
      match: { macaddress: nic.mac.toLowerCase() },
      'set-name': nic.name,
      ...(nic.ipv4 === 'dhcp'
        ? { dhcp4: true }
        : { dhcp4: false, addresses: [`${nic.ipv4.address}/${nic.ipv4.prefix}`] }),
      ...(nic.gateway !== undefined && { gateway4: nic.gateway }),
      ...(nic.mtu !== undefined && { mtu: nic.mtu }),
    },
  ])
  return { version: 2, ethernets: Object.fromEntries(ethernets) }
}

function depth(path: string): number {
  return path.split('/').length
}

function json(document: object): string {
  return `${JSON.stringify(document, undefined, 2)}\n`
}
