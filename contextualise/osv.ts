// The OSv dialect: a seed as the `/user-data` that OSv's own cloud-init reads, and as words of OSv's command line.
// Observed on OSv v0.57.0-398-g0e34e4dc; its sources are modules/cloud-init/{cloud-init.cc,main.cc,files-module.hh} and
// tools/mount/mount-fs.cc. Keys are handled in document order and the first failure stops the rest, so what cannot fail
// stands first.
import { isIPv4 } from 'node:net'
import { LeetError } from '../common/index.ts'
import { isWithin, netmask } from './checks.ts'
import { nameOf, osvNfsOptions } from './osv-nfs.ts'
import type { Seed, SeedFile, SeedMount, SeedUser } from './seed.ts'

/**
 * The program in the image that mounts NFS: `mount-nfs.so` until 2020 (cloud-init's `mounts` key calls it), `mount-fs.so`
 * since; undefined when the image has neither.
 */
export type OsvMountTool = 'mount-nfs.so' | 'mount-fs.so' | undefined

/** A seed in OSv's words. */
export interface OsvSeed {
  /** The file `/user-data` of the seed disk; OSv reads no other. */
  readonly userData: string
  /** Network words for OSv's command line: OSv's cloud-init knows none. `--ip=eth0,10.77.0.12,255.255.0.0` … */
  readonly commandLine: readonly string[]
  /** What the seed says and OSv has no place for, as sentences; nothing a job depends on. */
  readonly unsaid: readonly string[]
}

/** A checked seed in OSv's dialect; `LEET_E_SEED` for what a job depends on and OSv cannot be told. */
export function osvSeed(seed: Seed, mountTool: OsvMountTool): OsvSeed {
  const refuse = refusalFor(seed.hostname)
  if (seed.commands.length > 0) throw refuse('commands', 'OSv starts programs over REST, not from a seed')
  const mounts = seed.mounts
    .toSorted((a, b) => a.path.split('/').length - b.path.split('/').length)
    .map((mount) => nfsMount(mount, seed, refuse))
  if (mounts.length > 0 && mountTool === undefined) {
    throw refuse(
      `the mount of ${mounts[0]?.path}`,
      'the image has neither /tools/mount-fs.so nor /tools/mount-nfs.so',
      'import an OSv base that was built with the nfs module',
    )
  }
  const { directories = [] } = seed
  const outside = directories.find((path) => !isWithin(path, '/tmp'))
  if (outside !== undefined) throw refuse(`the directory ${outside}`, ONLY_TMP)
  const viaRun = mountTool === 'mount-fs.so' ? mounts : []
  const viaKey = mountTool === 'mount-nfs.so' ? mounts : []
  const userData = [
    ...filesKey(seed.files, refuse),
    'run:',
    ...directories.flatMap((path) => [`  - PUT: ${scalar(`/file${path}`)}`, '    op: "MKDIRS"']),
    // `hostname:` renews DHCP and waits for it for ever when the address is static.
    '  - POST: "/os/hostname"',
    `    name: ${scalar(seed.hostname)}`,
    ...viaRun.flatMap((mount) => [
      '  - PUT: "/app/"',
      `    command: ${scalar(`/tools/mount-fs.so nfs "${nfsUrl(mount)}" ${mount.path}`)}`,
    ]),
    ...(viaKey.length > 0 ? ['mounts:'] : []),
    ...viaKey.map(
      ({ server, directory, path, options }) =>
        `  - [${[`${server}:${directory}`, path, 'nfs', options.join(',')].map(scalar).join(', ')}]`,
    ),
  ]
  return {
    userData: `${userData.join('\n')}\n`,
    commandLine: networkWords(seed, refuse),
    unsaid: unsaid(seed),
  }
}

interface OsvNfsMount {
  readonly server: string
  readonly directory: string
  readonly path: string
  /** Arguments of libnfs's URL. */
  readonly options: readonly string[]
}

const ONLY_TMP = 'on a read-only image OSv can write under /tmp only'

type Refuse = (field: string, why: string, hint?: string) => LeetError

function nfsMount({ source, path, type, options }: SeedMount, seed: Seed, refuse: Refuse): OsvNfsMount {
  const field = `the mount of ${path}`
  if (type !== 'nfs') {
    throw refuse(
      field,
      `OSv mounts NFS version 3 only, not ${type}`,
      'stage the directory, or export it by NFS',
    )
  }
  const colon = source.indexOf(':/')
  const host = source.slice(0, Math.max(colon, 0))
  const directory = source.slice(colon + 1)
  if (colon <= 0) throw refuse(field, `"${source}" is not SERVER:/export`)
  // OSv has no resolver entries of the job: a name is replaced by the address that the seed knows for it.
  const server = isIPv4(host)
    ? host
    : seed.hosts.find(({ address, names }) => isIPv4(address) && names.includes(host))?.address
  if (server === undefined) {
    throw refuse(field, `the server "${host}" has no IPv4 address in the seed, and OSv has no IPv6`)
  }
  for (const text of [directory, path]) {
    // These go through a URL, OSv's splitting of commands (`"`, `\`, `$`, `&`, blanks) and YAML, unquoted in part.
    if (!/^\/[A-Za-z0-9._/@:=+,~-]*$/.test(text)) {
      throw refuse(field, `"${text}" has a character that OSv's mount command cannot carry`)
    }
  }
  const { arguments: said, unknown } = osvNfsOptions(options)
  if (unknown.length > 0) {
    throw refuse(
      field,
      `OSv's NFS client does not know the option "${unknown[0]}"`,
      'leave it out for OSv guests',
    )
  }
  const { uid, gid } = seed.user ?? ({ uid: 0, gid: 0 } satisfies Partial<SeedUser>)
  const user = [`uid=${uid}`, `gid=${gid}`].filter((own) => !said.some((one) => nameOf(one) === nameOf(own)))
  return { server, directory: directory.replace(/\/$/, ''), path, options: [...user, ...said] }
}

/** As OSv's own mount module writes it: `nfs://SERVER/export/?uid=1000&gid=1000`. */
function nfsUrl({ server, directory, options }: OsvNfsMount): string {
  return `nfs://${server}${directory}/?${options.join('&')}`
}

/** `files:` is a map of path to content; modes and owners have no meaning to OSv, which knows one user. */
function filesKey(files: readonly SeedFile[], refuse: Refuse): string[] {
  for (const { path, content } of files) {
    const field = `the file ${path}`
    if (!isWithin(path, '/tmp')) throw refuse(field, ONLY_TMP)
    if (typeof content !== 'string')
      throw refuse(field, 'OSv takes text in a seed, not bytes', 'send it over REST')
  }
  if (files.length === 0) return []
  return ['files:', ...files.map(({ path, content }) => `  ${scalar(path)}: ${scalar(content as string)}`)]
}

function networkWords(seed: Seed, refuse: Refuse): string[] {
  const words = seed.interfaces.flatMap(({ name, ipv4 }, i) => {
    // OSv names interfaces in the order of their PCI slots and does not rename them.
    if (name !== `eth${i}`) throw refuse(`interface ${name}`, `OSv calls its interface ${i + 1} eth${i}`)
    return ipv4 === 'dhcp' ? [] : [`--ip=${name},${ipv4.address},${netmask(ipv4.prefix)}`]
  })
  // One static address turns DHCP off for all.
  if (words.length > 0 && words.length < seed.interfaces.length) {
    throw refuse('interfaces', 'OSv takes either DHCP for all interfaces or a static address for each')
  }
  const gateway = seed.interfaces.find((nic) => nic.gateway !== undefined)?.gateway
  return gateway === undefined ? words : [...words, `--defaultgw=${gateway}`]
}

function unsaid({ hosts, user, ssh, interfaces }: Seed): string[] {
  return [
    ...(hosts.length > 0 ? ['/etc/hosts is on the read-only image: use addresses instead of names'] : []),
    ...(user && user.uid !== 0 ? [`programs run as OSv's one user; on NFS they are uid ${user.uid}`] : []),
    ...(ssh ? ['OSv has no SSH server: its control channel is REST'] : []),
    ...interfaces
      .filter(({ mtu }) => mtu !== undefined)
      .map(({ name, mtu }) => `OSv has no word for an MTU: ${name} keeps its own instead of ${mtu}`),
  ]
}

/** A double-quoted YAML scalar: JSON's, with what YAML calls a line break or not printable escaped too. */
function scalar(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function refusalFor(hostname: string): Refuse {
  return (field, why, hint) =>
    new LeetError({
      code: 'LEET_E_SEED',
      what: `${field} cannot be told to OSv`,
      where: `seed of ${hostname}`,
      why,
      hint,
    })
}
