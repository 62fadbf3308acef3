// The model of a seed: what one guest is told at its first boot, the same for all dialects, checked once.
import { isIP } from 'node:net'
import { LeetError } from '../common/index.ts'
import {
  hasControl,
  ipv4Value,
  isAbsolutePath,
  isAccountName,
  isHostName,
  isInterfaceName,
  isMac,
} from './checks.ts'

/** One line of the guest's `/etc/hosts`. */
export interface HostsEntry {
  /** IPv4 or IPv6 address. */
  readonly address: string
  /** Names of that address, the canonical one first. */
  readonly names: readonly [string, ...string[]]
}

/** A static IPv4 address with its prefix length (0 to 32). */
export interface Ipv4Address {
  readonly address: string
  readonly prefix: number
}

/** One network interface of the guest, found by its MAC. */
export interface SeedInterface {
  /** The name it has in the guest, `eth0`. */
  readonly name: string
  /** Colon form, unicast. */
  readonly mac: string
  readonly ipv4: Ipv4Address | 'dhcp'
  /** Default gateway, a dotted quad inside the interface's network. */
  readonly gateway?: string
  /** Bytes, 576 to 65535. */
  readonly mtu?: number
}

/** The account under which ranks run; made in the guest with the ids it has on the node. */
export interface SeedUser {
  readonly name: string
  readonly uid: number
  /** Name of the primary group. */
  readonly group: string
  readonly gid: number
  /** Names of further groups. */
  readonly groups: readonly string[]
  readonly home: string
  readonly shell: string
}

/** SSH identity of the guest and who may log in as root. */
export interface SeedSsh {
  readonly hostKey: {
    /** OpenSSH private key, PEM, ed25519. */
    readonly private: string
    /** The public key as one line, `ssh-ed25519 AAAA… comment`. */
    readonly public: string
  }
  /** Lines of root's `authorized_keys`. The user gets none: his home may be shared with the node. */
  readonly authorizedKeys: readonly string[]
}

/** A file system the guest mounts. */
export interface SeedMount {
  /** `SERVER:/export` for NFS, the mount tag for 9p and virtiofs, a device otherwise. */
  readonly source: string
  readonly path: string
  readonly type: string
  /** Options of mount(8), without commas inside one. */
  readonly options: readonly string[]
  /** Whether a guest without it is of no use to the job. */
  readonly required: boolean
}

/** A file the guest writes. */
export interface SeedFile {
  readonly path: string
  /** Text is stored as it is, bytes are carried as base64. */
  readonly content: string | Uint8Array
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number
  /** Who owns it: root, or the seed's user. */
  readonly owner: 'root' | 'user'
}

/** What one guest is told at first boot. */
export interface Seed {
  /** Unique per boot; a guest that sees another one than last time configures itself again. */
  readonly instanceId: string
  /** One RFC 1123 label, or several joined by dots (then the first is the short name). */
  readonly hostname: string
  readonly hosts: readonly HostsEntry[]
  readonly interfaces: readonly SeedInterface[]
  readonly user?: SeedUser
  readonly ssh?: SeedSsh
  readonly mounts: readonly SeedMount[]
  readonly files: readonly SeedFile[]
  /** Directories that are made, with their parents; only OSv is told of any: a Linux guest mounts what its ranks need. */
  readonly directories?: readonly string[]
  /** Commands run after all else, each an argument vector. */
  readonly commands: readonly (readonly [string, ...string[]])[]
}

/** Room for all file contents of one seed, in bytes. */
const SEED_CONTENT_LIMIT = 16 << 20

const ID_LIMIT = 0xffff_fffe

/** The seed itself when it can be told to a guest; `LEET_E_SEED` names the first field that cannot. */
export function checkSeed(seed: Seed): Seed {
  const refuse = (field: string, why: string, hint?: string): never => {
    throw new LeetError({
      code: 'LEET_E_SEED',
      what: `${field} cannot be told to a guest`,
      where: `seed of ${isHostName(seed.hostname) ? seed.hostname : 'a guest'}`,
      why,
      hint,
    })
  }
  const must = (holds: boolean, field: string, why: string, hint?: string) => {
    if (!holds) refuse(field, why, hint)
  }

  must(isHostName(seed.hostname), 'hostname', `${show(seed.hostname)} is not a host name of RFC 1123`)
  must(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(seed.instanceId),
    'instanceId',
    'letters, digits, . _ - only',
  )

  for (const { address, names } of seed.hosts) {
    must(isIP(address) !== 0, 'hosts', `${show(address)} is not an address`)
    for (const name of names) must(isHostName(name), 'hosts', `${show(name)} is not a host name of RFC 1123`)
  }

  for (const nic of seed.interfaces) {
    const field = `interface ${show(nic.name)}`
    must(isInterfaceName(nic.name), field, 'not an interface name')
    must(isMac(nic.mac), field, `${show(nic.mac)} is not a unicast MAC address`)
    const { ipv4, gateway, mtu } = nic
    if (ipv4 !== 'dhcp') {
      must(ipv4Value(ipv4.address) !== undefined, field, `${show(ipv4.address)} is not an IPv4 address`)
      must(isCount(ipv4.prefix, 0, 32), field, `prefix length ${ipv4.prefix} is not from 0 to 32`)
    }
    if (gateway !== undefined) {
      must(ipv4 !== 'dhcp', field, 'a gateway is given, but DHCP brings its own')
      must(ipv4Value(gateway) !== undefined, field, `gateway ${show(gateway)} is not an IPv4 address`)
    }
    must(mtu === undefined || isCount(mtu, 576, 65535), field, `MTU ${mtu} is not from 576 to 65535`)
  }
  mustDiffer(seed.interfaces, (nic) => nic.name, 'interface names')
  mustDiffer(seed.interfaces, (nic) => nic.mac.toLowerCase(), 'MAC addresses')
  must(
    seed.interfaces.filter((nic) => nic.gateway !== undefined).length <= 1,
    'interfaces',
    'more than one has a default gateway',
  )

  if (seed.user) {
    const { name, uid, group, gid, groups, home, shell } = seed.user
    for (const account of [name, group, ...groups]) {
      must(isAccountName(account), 'user', `${show(account)} is not an account name`)
    }
    must(isCount(uid, 0, ID_LIMIT) && isCount(gid, 0, ID_LIMIT), 'user', 'uid or gid is not a 32-bit number')
    must((uid === 0) === (name === 'root'), 'user', `${name} with uid ${uid}: root and uid 0 go together`)
    must(home === '/' || isAbsolutePath(home), 'user', `home ${show(home)} is not an absolute path`)
    must(isAbsolutePath(shell), 'user', `shell ${show(shell)} is not an absolute path`)
    // Both go into colon-separated lines of /etc/passwd.
    must(!`${home}${shell}`.includes(':'), 'user', 'home and shell must be without a colon')
  }

  if (seed.ssh) {
    const { hostKey, authorizedKeys } = seed.ssh
    must(
      /^-----BEGIN OPENSSH PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+\n-----END OPENSSH PRIVATE KEY-----\n$/.test(
        hostKey.private,
      ),
      'ssh host key',
      'the private part is not an OpenSSH private key',
    )
    for (const key of [hostKey.public, ...authorizedKeys]) {
      must(/^ssh-ed25519 [A-Za-z0-9+/]+={0,2}( [ -~]*)?$/.test(key), 'ssh keys', 'not an ed25519 public key')
    }
  }

  for (const mount of seed.mounts) {
    const field = `mount of ${show(mount.path)}`
    must(isAbsolutePath(mount.path), field, 'not an absolute path in its shortest form')
    must(mount.source !== '' && !hasControl(mount.source) && mount.source.isWellFormed(), field, 'bad source')
    must(/^[a-z0-9][a-z0-9.]{0,31}$/.test(mount.type), field, `${show(mount.type)} is not a file system type`)
    for (const option of mount.options) {
      must(
        /^[!-+\--~]+$/.test(option),
        field,
        `option ${show(option)} has a blank, comma or special character`,
      )
    }
  }
  mustDiffer(seed.mounts, (mount) => mount.path, 'mount points')

  let bytes = 0
  for (const file of seed.files) {
    const field = `file ${show(file.path)}`
    must(isAbsolutePath(file.path), field, 'not an absolute path in its shortest form')
    must(isCount(file.mode, 0, 0o7777), field, 'its mode is not made of permission bits')
    must(
      file.owner === 'root' || seed.user !== undefined,
      field,
      'it belongs to a user that the seed does not have',
    )
    if (typeof file.content === 'string') {
      must(file.content.isWellFormed(), field, 'its text is not well-formed Unicode', 'give it as bytes')
    }
    bytes += typeof file.content === 'string' ? Buffer.byteLength(file.content) : file.content.length
  }
  mustDiffer(seed.files, (file) => file.path, 'files')
  must(bytes <= SEED_CONTENT_LIMIT, 'files', `${bytes} bytes of content, at most ${SEED_CONTENT_LIMIT} fit`)

  for (const path of seed.directories ?? []) {
    must(isAbsolutePath(path), `directory ${show(path)}`, 'not an absolute path in its shortest form')
  }

  for (const argument of seed.commands.flat()) {
    must(argument.isWellFormed() && !argument.includes('\0'), 'commands', 'an argument is not text')
  }
  return seed

  function mustDiffer<T>(items: readonly T[], key: (item: T) => string, what: string) {
    const seen = new Set<string>()
    for (const item of items) {
      const value = key(item)
      if (seen.has(value)) refuse(what, `${show(value)} is there twice`)
      seen.add(value)
    }
  }
}

function isCount(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}

/** A value in a message: quoted and short, so that no outside string can break the line. */
function show(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text)
}
