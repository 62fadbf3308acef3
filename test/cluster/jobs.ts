// Jobs of leet-mpirun in the lab: a shared directory with programs and input, batch scripts, and their processes.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { Deadline, poll, runCommand } from '../../common/index.ts'
import { guestInitPath } from '../../launcher/images/guest-init.ts'
import { compatLibrary } from '../../launcher/images/osv/compose.ts'
import { starterPath } from '../../mpi-bridge/index.ts'
import type { Cluster } from './lab/cluster.ts'
import type { LabUser } from './lab/hosts.ts'
import type { HostProcess } from './lab/inspect.ts'
import type { Lab } from './lab/lab.ts'

/** leet-mpirun as the hosts of the lab see it. */
export const LEET_MPIRUN = '/srv/leet/launcher/bin/leet-mpirun'
/** Options for Linux guests on all nodes: joined to the hosts' bridge, with the shared directory by NFS. */
export const GUESTS = guestsOn('bridge=br0')

/** The same on another network. */
export function guestsOn(network: string): string[] {
  return [
    ...['--network', network, '--guest-memory', '384M', '--guest-cpus', '1'],
    ...['--mount', 'nfs:/export/project:/srv/project', '--mount', 'nfs:/export/home:/home'],
  ]
}
/** Options for ranks on the bare nodes. */
export const BARE = ['--guest', 'host']

export type Mpi = 'mpich' | 'openmpi'

const TEN_MINUTES = 600_000
const EVENT_MS = 120_000
const limits = () => ({ deadline: Deadline.after(TEN_MINUTES) })

/** A submitted job. */
export interface LabJob {
  readonly id: number
  /** All that it wrote so far. */
  output(): string
  /** Waits until its output matches. */
  says(pattern: RegExp): Promise<void>
}

/** Builds what a checkout builds when it is first needed: on the hosts it is read-only. */
export async function buildCheckout(): Promise<void> {
  await Promise.all([starterPath(limits()), guestInitPath(limits()), compatLibrary()])
}

/** A new directory of a user below /srv/project with `share.MPI` and its input; returns its path on the hosts. */
export async function makeCase(lab: Cluster, name: string, user: LabUser): Promise<string> {
  const path = `/srv/project/${name}`
  mkdirSync(lab.path(path))
  writeFileSync(join(lab.path(path), 'input'), `what ${name} needs\n`)
  const source = fileURLToPath(new URL('programs/share.c', import.meta.url))
  for (const mpi of ['mpich', 'openmpi'] as const satisfies readonly Mpi[]) {
    const program = join(lab.path(path), `share.${mpi}`)
    const { status, stderr } = await runCommand([`mpicc.${mpi}`, '-o', program, source], limits())
    if (status !== 0) throw new Error(stderr)
  }
  await lab.run('head', ['chown', '-R', `${user.uid}:${user.gid}`, path])
  return path
}

/** Whose batch job it is, where it runs, and more of sbatch's options and its environment. */
export interface SubmitOptions {
  readonly user: LabUser
  readonly directory: string
  readonly options?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Submits `leet-mpirun ARGV` as a batch job on three nodes in `directory`. */
export async function submit(
  lab: Lab,
  argv: readonly string[],
  { options = [], ...where }: SubmitOptions,
): Promise<LabJob> {
  const words = [LEET_MPIRUN, ...argv].map((word) => `'${word}'`).join(' ')
  const script = `#!/bin/sh\nexec ${words}\n`
  return submitScript(lab, script, { ...where, options: ['-N3', '--ntasks-per-node=2', ...options] })
}

/** Submits a batch script as it is. */
export async function submitScript(
  lab: Lab,
  script: string,
  { user, directory, options = [], env }: SubmitOptions,
): Promise<LabJob> {
  const id = await lab.sbatch(script, {
    user,
    cwd: directory,
    options: ['-o', `${directory}/job.%j`, ...options],
    ...(env ? { env } : {}),
  })
  const ends = ['COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT']
  return jobThatWrites(id, lab.path(`${directory}/job.${id}`), async () =>
    ends.includes((await lab.job(id)).state),
  )
}

/** A job by its number, the machine's path of its output, and how to ask whether it is over. */
export function jobThatWrites(id: number, file: string, isOver: () => Promise<boolean>): LabJob {
  const output = () => textOf(file)
  return {
    id,
    output,
    says: async (pattern) => {
      // A job that is over says nothing more.
      const probe = async () => {
        const over = await isOver()
        if (pattern.test(output())) return true
        if (over) throw new Error(`job ${id} ended without ${pattern}:\n${output()}`)
        return undefined
      }
      await poll(probe, 100, limits(), { what: `${pattern} in the output of job ${id}` })
    },
  }
}

/** What is in a file that may not be there yet. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** Waits until a job with `--events FILE` has written an event that matches; `file` is the machine's path. */
export async function waitEvent(file: string, sign: RegExp): Promise<void> {
  const began = () => sign.test(textOf(file)) || undefined
  await poll(began, 5, { deadline: Deadline.after(EVENT_MS) }, { what: `${sign} among the events` })
}

/** The event with which a phase of a job begins. */
export const beginOf = (phase: string) => new RegExp(`"phase":"${phase}","state":"begin"`)

/** Where each of `size` ranks of `share` ran, from the files that they wrote in `directory`; all that is in one that is not as it should be. */
export function hostsOfRanks(lab: Cluster, directory: string, name: string, size: number): string[] {
  return Array.from({ length: size }, (_, rank) => {
    const line = readFileSync(join(lab.path(directory), `output.${rank}`), 'utf8')
    return new RegExp(`^${rank} of ${size} on (\\S+) read what ${name} needs\n$`).exec(line)?.[1] ?? line
  })
}

/** What was killed leaves the files of its job directory, which `leet reap` of its user removes; nothing else. */
export async function reapAll(lab: Cluster, user: LabUser): Promise<void> {
  await lab.waitClean({ deadline: Deadline.after(10_000) }, ({ kind }) => kind !== 'file')
  for (const host of ['head', ...lab.nodes]) {
    const { status, stderr } = await lab.run(host, ['/srv/leet/launcher/bin/leet', 'reap'], { user })
    expect({ host, status, stderr }).toEqual({ host, status: 0, stderr: '' })
  }
}

/** The processes of a host that are node agents, controllers or hypervisors. */
export function leetProcesses(
  lab: Cluster,
  host: string,
  kind: 'leet-agent' | 'leet-mpirun' | 'qemu',
): HostProcess[] {
  // Options of Node.js may come before the file.
  const commandOf = ({ argv }: HostProcess) => argv[argv.findIndex((word) => word.endsWith('start.cjs')) + 1]
  return lab
    .processes(host)
    .filter((one) => (kind === 'qemu' ? one.argv[0]?.includes('qemu-system') : commandOf(one) === kind))
}

/** Kills the one process of its kind that a user has on a host. */
export function killOne(
  lab: Cluster,
  user: LabUser,
  host: string,
  what: Parameters<typeof leetProcesses>[2],
): void {
  const victims = leetProcesses(lab, host, what).filter(({ uid }) => uid === user.uid)
  expect(victims.map(({ argv }) => argv.slice(0, 3))).toHaveLength(1)
  process.kill(victims[0]?.pid as number, 'SIGKILL')
}
