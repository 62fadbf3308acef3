// Runs a real MPI program as local processes under a process manager, as the launcher does for host guests: one port
// for each pretended guest, every rank with its environment, and nobody left when a rank aborts or is lost.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Deadline, endOf, silentLog, waitFor, withParentDeathSignal } from '../../common/index.ts'
import type { ServiceAddress } from '../../mpi-bridge/context.ts'
import type { Exchange } from '../../mpi-bridge/exchange.ts'
import type { JobLayout, Preput, RankReport } from '../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../mpi-bridge/local-exchange.ts'
import { answerNames, createNameServer } from '../../mpi-bridge/names.ts'
import {
  openProcessManager,
  type ProcessManager,
  type ProcessManagerOptions,
} from '../../mpi-bridge/process-manager.ts'
import { answerSpawn } from '../../mpi-bridge/spawn.ts'
import { openScope } from '../support/scope.ts'

/** A job to run. */
export interface LocalJob {
  readonly argv: readonly [string, ...string[]]
  /** Ranks of each pretended guest: `[[0, 1], [2]]` are two guests of two and one ranks. */
  readonly guests: readonly (readonly number[])[]
  readonly env: Readonly<Record<string, string>>
  readonly universeSize?: number
  readonly finalizeRescue?: ProcessManagerOptions['finalizeRescue']
  /** Called when the ports are open, before the ranks start; what it gives is called when they have ended. */
  readonly disturb?: (ports: readonly number[]) => Promise<() => Promise<void>>
  /** One exchange for each node that the guests are dealt out to, the first with the controller; one unless told. */
  readonly exchanges?: (report: (report: RankReport) => void) => readonly Exchange[]
}

/** How one rank ended. */
export interface RankEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** How the job ended. */
export interface LocalJobEnd {
  readonly ranks: readonly RankEnd[]
  /** Ranks of the jobs that were spawned, one list a job. */
  readonly spawned: readonly (readonly RankEnd[])[]
  readonly reports: readonly RankReport[]
}

const LIMIT_MS = 45_000

/** What one rank runs. */
interface Start {
  readonly argv: readonly string[]
  readonly cwd?: string
}

/** Runs the job, and jobs that it spawns, to their end. */
export async function runLocalJob(job: LocalJob): Promise<LocalJobEnd> {
  const reports: RankReport[] = []
  const children: ChildProcess[] = []
  const killAll = () => {
    for (const child of children) child.kill('SIGKILL')
  }
  const report = (what: RankReport) => {
    reports.push(what)
    if (what.kind === 'aborted' || what.kind === 'lost') killAll()
  }
  const exchanges = job.exchanges?.(report) ?? [createLocalExchange(report)]
  const scope = openScope()
  const managers = exchanges.map((exchange) =>
    openProcessManager({ scope, exchange, log: silentLog, finalizeRescue: job.finalizeRescue }),
  )
  const agentOf = (guest: number) => guest % exchanges.length
  const addresses = new Map<number, ServiceAddress>()
  const jobs: Promise<RankEnd[]>[] = []

  const startRank = async ({ argv, cwd }: Start, env: Record<string, string>): Promise<RankEnd> => {
    const [command, ...args] = withParentDeathSignal(argv) as [string, ...string[]]
    const child = spawn(command, args, {
      cwd,
      env: { PATH: process.env.PATH, HOME: '/tmp', ...job.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk) => {
      stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    const end = await endOf(child)
    return end.kind === 'exit'
      ? { status: end.status, signal: null, stdout, stderr }
      : { status: null, signal: end.signal, stdout, stderr }
  }

  /** Starts a job whose rank `n` runs `starts[n]`. */
  const startJob = (layout: JobLayout, preput: readonly Preput[], starts: readonly Start[]): void => {
    for (const manager of managers) manager.addJob(layout, preput)
    jobs.push(
      Promise.all(
        starts.map((start, rank) => {
          const { guest = 0 } = layout.guests.find(({ ranks }) => ranks.includes(rank)) ?? {}
          const manager = managers[agentOf(guest)] as ProcessManager
          const address = addresses.get(guest) as ServiceAddress
          return startRank(start, manager.environment(layout.id, rank, address))
        }),
      ),
    )
  }

  const layoutOf = (guests: readonly (readonly number[])[], appnums: readonly number[]): JobLayout => ({
    id: `leet-${randomBytes(16).toString('hex')}`,
    size: appnums.length,
    guests: guests.map((ranks, guest) => ({ guest, name: `guest${guest}`, agent: agentOf(guest), ranks })),
    appnums,
    ...(job.universeSize === undefined ? {} : { universeSize: job.universeSize }),
  })

  const names = createNameServer()
  answerNames(exchanges[0] as Exchange, names)
  answerSpawn(exchanges[0] as Exchange, async ({ job: parent, rank, commands, preput }) => {
    const starts = commands.flatMap(({ argv, maxprocs, cwd }) => Array<Start>(maxprocs).fill({ argv, cwd }))
    // The ranks of a spawned job are dealt out to the guests in turn.
    const guests = job.guests.map((_, guest) =>
      starts.flatMap((_, child) => (child % job.guests.length === guest ? [child] : [])),
    )
    const appnums = commands.flatMap(({ maxprocs }, app) => Array<number>(maxprocs).fill(app))
    const layout: JobLayout = { ...layoutOf(guests, appnums), spawnedBy: { job: parent, rank } }
    startJob(layout, preput, starts)
    return { job: layout.id, errcodes: starts.map(() => 0) }
  })

  try {
    for (const guest of job.guests.keys()) {
      addresses.set(guest, await (managers[agentOf(guest)] as ProcessManager).listen(guest, '127.0.0.1'))
    }
    const calm = await job.disturb?.([...addresses.values()].map(({ port }) => port))
    const size = job.guests.flat().length
    startJob(layoutOf(job.guests, Array(size).fill(0)), [], Array<Start>(size).fill({ argv: job.argv }))
    const limits = { deadline: Deadline.after(LIMIT_MS) }
    const ends: RankEnd[][] = []
    // A job may spawn another while it is waited for.
    for (let nth = 0; nth < jobs.length; nth++) {
      ends.push(
        await waitFor(jobs[nth] as Promise<RankEnd[]>, limits, { what: 'the ranks of a test job to end' }),
      )
    }
    await calm?.()
    const [ranks = [], ...spawned] = ends
    return { ranks, spawned, reports }
  } finally {
    killAll()
    names.close()
    await scope.end()
  }
}

/** Everything that the ranks printed, line by line, sorted. */
export function linesOf({ ranks }: Pick<LocalJobEnd, 'ranks'>): string[] {
  return ranks
    .flatMap((rank) => rank.stdout.split('\n'))
    .filter((line) => line !== '')
    .sort()
}
