// Where a bench runs: what must be known before its figures are compared with others.
import { readFileSync } from 'node:fs'
import { cpus, hostname, loadavg, release, totalmem } from 'node:os'
import { Deadline, runCommand } from '../../common/index.ts'
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
