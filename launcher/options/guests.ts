// Options on guests themselves: their kind, how many and how large they are, how they are booted, and who keeps them.
import { parseCount, parseDuration, parseSize, usageError } from '../../common/index.ts'
import { nonEmpty, oneOf, rowsOf } from '../config/row.ts'

/** Heading of all options about guests. */
export const GUEST_GROUP = 'Guests'

const { flag, value, wish } = rowsOf(GUEST_GROUP)

/** The rows, in the order of the help. */
export const GUESTS = {
  kind: value({
    key: 'guest.kind',
    flags: 'guest',
    takes: 'KIND',
    environment: 'LEET_GUEST',
    help: 'linux, osv or host',
    default: { word: 'linux' },
    parse: oneOf(['linux', 'osv', 'host']),
  }),
  count: wish({
    key: 'guests',
    flags: 'guests',
    takes: 'N',
    environment: 'LEET_GUESTS',
    help: 'guests of the whole job',
    default: { found: 'one per node' },
    parse: (text, where) => parseCount(text, where, 1, 4096),
  }),
  hypervisor: value({
    key: 'hypervisor',
    flags: 'hypervisor',
    takes: 'NAME',
    environment: 'LEET_HYPERVISOR',
    help: 'qemu, or libvirt for transient domains',
    default: { word: 'qemu' },
    parse: oneOf(['qemu', 'libvirt']),
  }),
  libvirtUri: wish({
    key: 'libvirt.uri',
    flags: 'libvirt-uri',
    takes: 'URI',
    environment: 'LEET_LIBVIRT_URI',
    help: 'qemu:///session or qemu:///system',
    default: { found: 'system for root, else session' },
    parse: oneOf(['qemu:///session', 'qemu:///system']),
  }),
  memory: wish({
    key: 'guest.memory',
    flags: 'guest-memory',
    takes: 'SIZE',
    environment: 'LEET_GUEST_MEMORY',
    help: 'memory of a guest, such as 2G',
    default: { found: 'the node’s share' },
    parse: parseGuestMemory,
  }),
  cpus: wish({
    key: 'guest.cpus',
    flags: 'guest-cpus',
    takes: 'N',
    environment: 'LEET_GUEST_CPUS',
    help: 'vCPUs of a guest',
    default: { found: 'the node’s share, at least one per rank' },
    parse: (text, where) => parseCount(text, where, 1, 255),
  }),
  pinning: value({
    key: 'guest.pin',
    flags: 'guest-pin',
    takes: 'WHEN',
    environment: 'LEET_GUEST_PIN',
    help: 'vCPUs on processors of their own: yes, no, or auto, where the job has only some of its node’s',
    default: { word: 'auto' },
    parse: oneOf(['auto', 'yes', 'no']),
  }),
  bootTimeout: wish({
    key: 'guest.boot-timeout',
    flags: 'boot-timeout',
    takes: 'TIME',
    environment: 'LEET_GUEST_BOOT_TIMEOUT',
    help: 'how long guests may take to be ready',
    default: { found: '120 s, of a disk image 5 min' },
    parse: parseDuration,
  }),
  bootPatience: wish({
    key: 'guest.boot-patience',
    flags: 'boot-patience',
    takes: 'TIME',
    environment: 'LEET_GUEST_BOOT_PATIENCE',
    help: 'a guest that makes no progress hangs after so much processor time, or time without any',
    default: { found: '10 s, of a disk image 60 s' },
    parse: parseDuration,
  }),
  bootRetries: value({
    key: 'guest.boot-retries',
    flags: 'boot-retries',
    takes: 'N',
    environment: 'LEET_GUEST_BOOT_RETRIES',
    help: 'how often a guest that hangs is booted again',
    default: { word: '2' },
    parse: (text, where) => parseCount(text, where, 0, 100),
  }),
  session: wish({
    key: 'session',
    flags: 'session',
    takes: 'NAME|none',
    environment: 'LEET_SESSION',
    help: 'use the guests of this session of `leet up`, or none',
    default: { found: 'those of the job’s session, if there is one' },
    parse: nonEmpty,
  }),
  reuse: flag({
    key: 'reuse-guests',
    flags: 'reuse-guests',
    help: 'keep OSv guests, too, in a session of `leet up`: 31 starts of programs in each from boot to boot',
    default: { found: 'one job per boot' },
  }),
  insecureApi: flag({
    key: 'osv.insecure-api',
    flags: 'insecure-guest-api',
    environment: 'LEET_OSV_INSECURE_API',
    help: 'boot OSv guests whose REST server has no TLS: whoever reaches its port controls the guest',
    default: { found: 'they are refused' },
  }),
}

/** Defaults of --boot-timeout and --boot-patience, in milliseconds. */
export interface BootTimes {
  readonly timeout: number
  readonly patience: number
}

/** What LEET's own guests need for their whole boot is a third of the patience, on slow machines without KVM. */
const BOOT_TIMES: BootTimes = { timeout: 120_000, patience: 10_000 }

/** Of a whole distribution under emulation, on a busy node; its programs may be silent for whole stages of their start. */
const DISK_BOOT_TIMES: BootTimes = { timeout: 300_000, patience: 60_000 }

/** The defaults for guests of this image; undefined: a composed one. */
export function usualBootTimes(image: string | undefined): BootTimes {
  const isDisk = image !== undefined && /\.(qcow2|img|raw)$/.test(image)
  return isDisk ? DISK_BOOT_TIMES : BOOT_TIMES
}

const LEAST_GUEST_MEMORY = 128 * 2 ** 20

function parseGuestMemory(text: string, where: string): number {
  const bytes = parseSize(text, where)
  if (bytes < LEAST_GUEST_MEMORY)
    throw usageError(`"${text}" is too little for a guest`, 'at least 128M', where)
  return bytes
}
