// Where a bench runs: what must be known before its figures are compared with others.
import { readFileSync } from 'node:fs'
import { cpus, hostname, loadavg, release, totalmem } from 'node:os'
import { Deadline, formatSize, runCommand } from '../../common/index.ts'
import { version } from '../plan/version.ts'
import type { Environment } from './results.ts'

/** One question to a program may take so long, in milliseconds. */
const ASK_MS = 20_000

/** The load average of the last minute. */
export function loadNow(): number {
  return loadavg()[0] as number
}

/** The first line that a program says to `--version`; undefined when it cannot be asked. */
export async function versionOf(program: string): Promise<string | undefined> {
  const asked = await runCommand([program, '--version'], { deadline: Deadline.after(ASK_MS) }).catch(
    () => undefined,
  )
  return asked?.status === 0 ? asked.stdout : undefined
}

/** Looks at this machine. */
export async function environmentHere(about: {
  readonly qemu: string | undefined
  readonly mpi: string | undefined
  readonly nodes: readonly string[]
  readonly scheduler: string
}): Promise<Omit<Environment, 'load'>> {
  const qemu = about.qemu === undefined ? undefined : (await versionOf(about.qemu))?.split('\n')[0]
  return {
    leet: version(),
    host: hostname(),
    system: systemName(),
    kernel: release(),
    processor: cpus()[0]?.model.trim() || 'unknown',
    cpus: cpus().length,
    memory: totalmem(),
    ...(qemu === undefined ? {} : { qemu }),
    ...(about.mpi === undefined ? {} : { mpi: about.mpi }),
    nodes: about.nodes,
    scheduler: about.scheduler,
  }
}

// os-release(5).
function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux'
  } catch {
    return 'Linux'
  }
}

/** Something of two environments that is not the same. */
export interface Difference {
  readonly name: string
  readonly a: string
  readonly b: string
}

/** How people call the parts of an environment, in the order of reports. */
const PART_NAMES: Readonly<Record<keyof Omit<Environment, 'load'>, string>> = {
  host: 'host',
  processor: 'processor',
  cpus: 'number of processors',
  memory: 'memory',
  system: 'system',
  kernel: 'kernel',
  qemu: 'hypervisor',
  mpi: 'MPI',
  nodes: 'nodes',
  scheduler: 'scheduler',
  leet: 'version of LEET',
}

/** What differs between two environments; the load always does. */
export function differencesOf(a: Omit<Environment, 'load'>, b: Omit<Environment, 'load'>): Difference[] {
  const parts = Object.keys(PART_NAMES) as (keyof typeof PART_NAMES)[]
  return parts.flatMap((part) => {
    const [was, is] = [textOf(part, a), textOf(part, b)]
    return was === is ? [] : [{ name: PART_NAMES[part], a: was, b: is }]
  })
}

function textOf(part: keyof typeof PART_NAMES, environment: Omit<Environment, 'load'>): string {
  // Kernels of one build may leave a little more or less of it.
  if (part === 'memory') return formatSize(environment.memory)
  const value = environment[part]
  return typeof value === 'object' ? value.join(', ') : String(value ?? 'none')
}
