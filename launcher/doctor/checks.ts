// What `leet doctor` looks at on a node, one check after the other: each says what it found, or what is wrong with what
// to do about it. A check uses the code that a job would use, so that the two cannot disagree.
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { cpus, freemem } from 'node:os'
import { dirname } from 'node:path'
import {
  Deadline,
  formatSize,
  LeetError,
  messageOf,
  runCommand,
  silentLog,
  type WaitLimits,
} from '../../common/index.ts'
import { type Allocation, adapterOf } from '../../scheduler-adapters/index.ts'
import { TOOL_DIRECTORIES } from '../images/guest-root.ts'
import { findProgram, isOnPath } from '../images/inspect.ts'
import { findKernel } from '../images/kernel.ts'
import { openOsvBase, osvStore } from '../images/osv/base.ts'
import { cacheDirectory } from '../images/store.ts'
import { Journal } from '../journal/journal.ts'
import { chooseAccelerator, emulatedText } from '../machines/accel.ts'
import { libvirtDriver } from '../machines/libvirt/driver.ts'
import { findQemu } from '../machines/qemu-program.ts'
import { parseSubnet } from '../networks/addresses.ts'
import { inspectBridge } from '../networks/bridge.ts'
import { findNfsServers } from '../nfs/servers.ts'
import { E2FS_HINT, E2FS_PROGRAMS, findE2fs } from '../node/e2fs.ts'
import { nodeProcessors } from '../node/processors.ts'
import { leftOf, memoryLimit } from '../plan/job-memory.ts'
import { mountPlanner } from '../plan/mount-facts.ts'
import type { JobPlan } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'

/** What a check found. `note`: jobs run, but something may be missed; `bad`: some will not. */
export interface Finding {
  readonly subject: string
  readonly state: 'good' | 'note' | 'bad'
  readonly what: string
  /** What to do about it. */
  readonly fix?: string
}

/** What checks are told. */
export interface CheckContext extends WaitLimits {
  readonly env: NodeJS.ProcessEnv
  readonly settings: Settings
  readonly allocation: Allocation
  /** The job has more nodes than this one. */
  readonly several: boolean
  readonly user: JobPlan['user']
  readonly workDir: string
  /** Name of this node among those of the allocation, if it is one. */
  readonly here: string | undefined
}

interface Check {
  readonly subject: string
  /** Jobs of the usual kind run without it. */
  readonly optional?: true
  look(context: CheckContext): Promise<Omit<Finding, 'subject'> | string>
}

/** Runs all checks in order; one that fails is a finding, never an error. */
export async function checkNode(context: CheckContext): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const { subject, optional, look } of CHECKS) {
    try {
      const found = await look(context)
      findings.push({ subject, ...(typeof found === 'string' ? { state: 'good', what: found } : found) })
    } catch (error) {
      if (context.signal?.aborted) throw error
      findings.push({ subject, ...asFinding(error, optional === true) })
    }
  }
  return findings
}

function asFinding(error: unknown, optional: boolean): Omit<Finding, 'subject'> {
  const fix = error instanceof LeetError ? error.details.hint : undefined
  return { state: optional ? 'note' : 'bad', what: messageOf(error), ...(fix === undefined ? {} : { fix }) }
}

const CHECKS: readonly Check[] = [
  {
    subject: 'QEMU',
    async look({ env, ...limits }) {
      const qemu = findQemu(env)
      const { stdout } = await runCommand([qemu, '--version'], soon(limits))
      return `${/version ([\w.]+)/.exec(stdout)?.[1] ?? 'of an unknown version'}, ${qemu}`
    },
  },
  {
    subject: 'KVM',
    async look({ env, signal }) {
      const journal = await Journal.open({ jobId: 'doctor' })
      try {
        const { why } = await chooseAccelerator({
          journal,
          qemu: findQemu(env),
          cacheDirectory: cacheDirectory(env),
          log: silentLog,
          ...(signal ? { signal } : {}),
        })
        if (why === undefined) return 'guests run under KVM'
        return {
          state: 'note',
          what: emulatedText('guests', why),
          fix: 'virtualisation in the firmware, the module kvm_intel or kvm_amd, and the right to use /dev/kvm (group kvm)',
        }
      } finally {
        await journal.close()
      }
    },
  },
  {
    subject: 'libvirt',
    async look({ settings: { guest }, user, ...limits }) {
      const { hypervisor } = guest
      if (hypervisor.kind !== 'libvirt') return 'not asked for (--hypervisor libvirt)'
      await libvirtDriver(hypervisor.uri, soon(limits))
      const { mode } = statSync(LIBVIRT_QEMU, { throwIfNoEntry: false }) ?? { mode: 1 }
      if (hypervisor.uri === 'qemu:///session' || user.uid === 0 || (mode & 1) === 1) return hypervisor.uri
      return {
        state: 'bad',
        what: `${hypervisor.uri} answers, but QEMU that runs as you cannot pass through ${LIBVIRT_QEMU}`,
        fix: `as root: chmod o+x ${LIBVIRT_QEMU}; or --libvirt-uri qemu:///session`,
      }
    },
  },
  {
    subject: 'processors and memory',
    async look() {
      const limit = memoryLimit()
      const memory = limit
        ? `${formatSize(leftOf(limit))} by ${limit.from}`
        : `${formatSize(freemem())}, and no limit of a cgroup`
      return `${nodeProcessors().length} of ${cpus().length} processors; ${memory}`
    },
  },
  {
    subject: 'kernel of Linux guests',
    async look({ settings: { image } }) {
      const { kernel, modules } = image
      return findKernel(kernel && modules ? { file: kernel, modules } : undefined).file
    },
  },
  {
    subject: 'tools of Linux guests',
    async look() {
      const env = { PATH: TOOL_DIRECTORIES.join(':') }
      return ['busybox', 'dropbear'].map((name) => findTool(name, env)).join(', ')
    },
  },
  {
    subject: 'OSv base',
    optional: true,
    async look({ env, settings }) {
      const { id, version } = await openOsvBase(osvStore(env), settings.image.osvBase)
      return `${id}${version ? ` (OSv ${version})` : ''}`
    },
  },
  {
    subject: 'disks of OSv guests',
    optional: true,
    async look() {
      const missing = E2FS_PROGRAMS.filter((name) => findE2fs(name) === undefined)
      if (missing.length === 0) return `by ${findE2fs('mke2fs')}`
      return { state: 'note', what: `${missing.join(', ')} not on PATH`, fix: E2FS_HINT }
    },
  },
  {
    subject: 'several guests on one node',
    optional: true,
    look: async ({ env }) => onPath('vde_switch', env, 'install vde2 and vde-switch, or use a bridge'),
  },
  {
    subject: 'guests on several nodes',
    async look({ settings: { network }, env, several }) {
      if (network.mode === 'bridge') {
        const subnet = parseSubnet(network.subnet, 'network.subnet')
        const { plug, address } = inspectBridge(network.bridge as string, subnet)
        return `bridge ${plug.bridge}, this node is ${address} on it, MTU ${plug.mtu}`
      }
      if (!['vde_switch', 'vde_plug'].every((tool) => isOnPath(tool, env))) {
        return {
          state: several ? 'bad' : 'note',
          what: 'no bridge is named that would join them, and vde_switch and vde_plug are not both on PATH',
          fix: 'install vde2 and vde-switch, or a bridge on every node and --network bridge=NAME',
        }
      }
      return {
        state: 'note',
        what: 'joined by streams between the nodes (mesh), since no bridge is named',
        fix: 'a bridge on every node is faster: network: bridge=NAME in leet.yaml, or --network bridge=NAME',
      }
    },
  },
  {
    subject: 'file servers',
    async look({ settings, user, workDir, here, allocation, ...limits }) {
      const plan = mountPlanner([workDir, user.home], { here, batchJob: allocation.jobId, added: [] })
      const nodes = allocation.nodes.map(({ name }) => name)
      const client = settings.guest.kind === 'osv' ? 'osv' : 'linux'
      const stage = settings.staging.when
      const mounts = plan({ ...settings.mounts, stage, client, workDirs: [workDir], user, nodes })
      await findNfsServers(mounts, soon(limits))
      const said = mounts.map((mount) =>
        mount.kind === 'nfs'
          ? `${mount.path} from ${mount.server}`
          : `${mount.path} from this node${mount.mirrored ? ', copied to the others' : ''}`,
      )
      return said.join(', ') || 'none needed'
    },
  },
  {
    subject: 'image store',
    async look({ env }) {
      const store = cacheDirectory(env)
      const there = existing(store)
      accessSync(there, constants.W_OK)
      const { bavail, bsize } = await statfs(there)
      const free = bavail * bsize
      const what = `${store}, ${formatSize(free)} free`
      return free >= LEAST_FREE
        ? what
        : { state: 'note', what, fix: 'room for images, or XDG_CACHE_HOME on a larger file system' }
    },
  },
  {
    subject: 'runtime directory',
    async look() {
      const journal = await Journal.open({ jobId: 'doctor' })
      await journal.close()
      return dirname(journal.directory)
    },
  },
  {
    subject: 'limits',
    async look() {
      const limits = parseLimits(readFileSync('/proc/self/limits', 'utf8'))
      const files = limits.get('open files') ?? Number.POSITIVE_INFINITY
      const processes = limits.get('processes') ?? Number.POSITIVE_INFINITY
      const what = `${files} open files, ${processes} processes`
      if (files >= LEAST_FILES && processes >= LEAST_PROCESSES) return what
      return { state: 'bad', what, fix: `ulimit -n ${LEAST_FILES}; ulimit -u ${LEAST_PROCESSES}` }
    },
  },
  {
    subject: 'batch system',
    async look({ allocation, env }) {
      const adapter = adapterOf(allocation.scheduler)
      const slots = allocation.nodes.reduce((sum, node) => sum + node.slots, 0)
      const what = `${adapter.title}: ${slots} slots on ${allocation.nodes.map(({ name }) => name).join(', ')}`
      if (allocation.nodes.length === 1) return what
      const [start] = adapter.start(allocation, allocation.nodes, () => ['true'])
      if (start?.via === 'command') findTool(start.argv[0], env)
      return what
    },
  },
]

/** libvirt's directory of its QEMUs; the site may have closed it. */
const LIBVIRT_QEMU = '/var/lib/libvirt/qemu'
const LOOK_MS = 15_000
const LEAST_FREE = 2 ** 30
const LEAST_FILES = 1024
const LEAST_PROCESSES = 512

const soon = ({ deadline, signal }: WaitLimits): WaitLimits => ({
  deadline: deadline.within(LOOK_MS),
  ...(signal ? { signal } : {}),
})

function findTool(name: string, env: NodeJS.ProcessEnv): string {
  return findProgram(name, env, '/')
}

function onPath(name: string, env: NodeJS.ProcessEnv, hint: string): string {
  try {
    return findTool(name, env)
  } catch (cause) {
    throw new LeetError({ code: 'LEET_E_COMMAND_MISSING', what: `${name} is not on PATH`, hint, cause })
  }
}

/** The directory itself or the nearest above it that is there. */
function existing(path: string): string {
  try {
    accessSync(path)
    return path
  } catch {
    return existing(dirname(path))
  }
}

/** Soft limits by name, from the table of /proc/PID/limits (proc(5)); `unlimited` is Infinity. Pure. */
export function parseLimits(text: string): Map<string, number> {
  const rows = text.split('\n').flatMap((line) => {
    const match = /^Max (.+?) {2,}(\d+|unlimited)/.exec(line)
    return match
      ? [
          [
            match[1] as string,
            match[2] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(match[2]),
          ] as const,
        ]
      : []
  })
  return new Map(rows)
}

/** How long a whole check-up may take. */
export const checkupLimits = (): WaitLimits => ({ deadline: Deadline.after(CHECKUP_MS) })
const CHECKUP_MS = 120_000
