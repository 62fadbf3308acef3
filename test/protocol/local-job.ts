// Runs a real MPI program as local processes under a process manager, as the launcher does for host guests: one port
// for each pretended guest, every rank with its environment, and nobody left when a rank aborts or is lost.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Deadline, endOf, silentLog, waitFor, withParentDeathSignal } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/exchange.ts'
import type { JobLayout, RankReport } from '../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../mpi-bridge/local-exchange.ts'
import { answerNames, createNameServer } from '../../mpi-bridge/names.ts'
import { openProcessManager, type ProcessManagerOptions } from '../../mpi-bridge/process-manager.ts'

/** A job to run. */
export interface LocalJob {
  readonly argv: readonly [string, ...string[]]
  /** Ranks of each pretended guest: `[[0, 1], [2]]` are two guests of two and one ranks. */
  readonly guests: readonly (readonly number[])[]
  readonly env: Readonly<Record<string, string>>
  readonly universeSize?: number
  readonly finalizeRescue?: ProcessManagerOptions['finalizeRescue']
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
  readonly reports: readonly RankReport[]
}

const LIMIT_MS = 45_000

/** Runs the job to its end. */
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
  const size = job.guests.flat().length
  const layout: JobLayout = {
    id: `leet-${randomBytes(16).toString('hex')}`,
    size,
    guests: job.guests.map((ranks, guest) => ({
      guest,
      name: `guest${guest}`,
      agent: guest % exchanges.length,
      ranks,
    })),
    appnums: Array.from({ length: size }, () => 0),
    ...(job.universeSize === undefined ? {} : { universeSize: job.universeSize }),
  }
  const names = createNameServer()
  answerNames(exchanges[0] as Exchange, names)
  const managers = exchanges.map((exchange) =>
    openProcessManager({ exchange, log: silentLog, finalizeRescue: job.finalizeRescue }),
  )
  try {
    for (const manager of managers) manager.addJob(layout)
    const starts: { rank: number; env: Record<string, string> }[] = []
    for (const { guest, agent, ranks } of layout.guests) {
      const manager = managers[agent] as (typeof managers)[number]
      const address = await manager.listen(guest, '127.0.0.1')
      for (const rank of ranks) starts.push({ rank, env: manager.environment(layout.id, rank, address) })
    }
    starts.sort((a, b) => a.rank - b.rank)
    const ends = starts.map(async ({ env }): Promise<RankEnd> => {
      const [command, ...args] = withParentDeathSignal(job.argv) as [string, ...string[]]
      const child = spawn(command, args, {
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
    })
    const ranks = await waitFor(
      Promise.all(ends),
      { deadline: Deadline.after(LIMIT_MS) },
      {
        what: 'the ranks of a test job to end',
      },
    )
    return { ranks, reports }
  } finally {
    killAll()
    names.close()
    for (const manager of managers) await manager.close()
  }
}

/** Everything that the ranks printed, line by line, sorted. */
export function linesOf({ ranks }: LocalJobEnd): string[] {
  return ranks
    .flatMap((rank) => rank.stdout.split('\n'))
    .filter((line) => line !== '')
    .sort()
}
