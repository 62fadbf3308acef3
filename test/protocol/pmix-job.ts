// Runs a program of PMIx ranks as local processes, as the launcher does for host guests: one port for each pretended
// guest, guests dealt out to as many agents as wanted, and more ranks when a rank spawns them.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Deadline, endOf, type Log, waitFor, withParentDeathSignal } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/exchange.ts'
import type { JobLayout, RankReport } from '../../mpi-bridge/job.ts'
import { answerNames, createNameServer } from '../../mpi-bridge/names.ts'
import { openProcessManager, type ProcessManager } from '../../mpi-bridge/process-manager.ts'
import { answerSpawn, type SpawnCommand } from '../../mpi-bridge/spawn.ts'
import { openScope } from '../support/scope.ts'
import { Agents } from '../unit/mpi-bridge/pmix-world.ts'

/** A job to run. */
export interface PmixJob {
  readonly argv: readonly string[]
  /** Ranks of each pretended guest: `[[0, 1], [2]]` are two guests of two and one ranks. */
  readonly guests: readonly (readonly number[])[]
  readonly env?: Readonly<Record<string, string>>
  /** Guest `n` is served by agent `n` modulo `agents`; 1 unless told. */
  readonly agents?: number
}

/** How the job ended. */
export interface PmixJobEnd {
  /** Exit status or signal of each process, in the order of their start. */
  readonly statuses: readonly (number | string | null)[]
  /** What all printed, line by line, sorted. */
  readonly lines: readonly string[]
  readonly stderr: string
  readonly reports: readonly RankReport[]
  /** What the process managers told the user. */
  readonly log: readonly string[]
}

const LIMIT_MS = 50_000

interface Start {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** Runs the job, and what it spawns, to the end. */
export async function runPmixJob(job: PmixJob): Promise<PmixJobEnd> {
  const reports: RankReport[] = []
  const children: ChildProcess[] = []
  const ends: Promise<number | string | null>[] = []
  const log: string[] = []
  let stdout = ''
  let stderr = ''
  const killAll = () => {
    for (const child of children) child.kill('SIGKILL')
  }
  const agents = new Agents(job.agents ?? 1, (report) => {
    reports.push(report)
    if (report.kind !== 'aborted' && report.kind !== 'lost') return
    killAll()
  })
  const names = createNameServer()
  const controller = agents.exchanges[0] as Exchange
  answerNames(controller, names)
  const say = (line: string) => void log.push(line)
  const logged: Log = { note: say, warn: say, detail() {} }
  const scope = openScope()
  const managers = agents.exchanges.map((exchange) => openProcessManager({ scope, exchange, log: logged }))

  const start = async (layout: JobLayout, startOf: (rank: number) => Start) => {
    for (const manager of managers) manager.addJob(layout)
    const wanted: { rank: number; env: Record<string, string> }[] = []
    for (const { guest, agent, ranks } of layout.guests) {
      const manager = managers[agent] as ProcessManager
      const address = await manager.listen(guest, '127.0.0.1')
      for (const rank of ranks) wanted.push({ rank, env: manager.environment(layout.id, rank, address) })
    }
    for (const { rank, env } of wanted.sort((a, b) => a.rank - b.rank)) {
      const { argv, env: own, cwd } = startOf(rank)
      const [command, ...args] = withParentDeathSignal(argv) as [string, ...string[]]
      const child = spawn(command, args, {
        cwd,
        env: { PATH: process.env.PATH, HOME: '/tmp', ...job.env, ...own, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      children.push(child)
      child.stdout.on('data', (chunk) => {
        stdout += chunk
      })
      child.stderr.on('data', (chunk) => {
        stderr += chunk
      })
      ends.push(endOf(child).then((end) => (end.kind === 'exit' ? end.status : end.signal)))
    }
  }

  // Spawned ranks are dealt out to the guests of their parents, one after the other.
  answerSpawn(controller, async ({ job: parent, rank, commands }) => {
    const ofRank = commands.flatMap((command) => Array<SpawnCommand>(command.maxprocs).fill(command))
    const guests = job.guests.map((_, guest) =>
      ofRank.flatMap((_, child) => (child % job.guests.length === guest ? [child] : [])),
    )
    const layout = layoutOf(guests, agents.exchanges.length, {
      appnums: ofRank.map((command) => commands.indexOf(command)),
      spawnedBy: { job: parent, rank },
    })
    await start(layout, (child) => ofRank[child] as SpawnCommand)
    return { job: layout.id, errcodes: ofRank.map(() => 0) }
  })

  try {
    const size = job.guests.flat().length
    const appnums = Array.from({ length: size }, () => 0)
    await start(layoutOf(job.guests, agents.exchanges.length, { appnums }), () => ({
      argv: job.argv,
      env: {},
    }))
    const limits = { deadline: Deadline.after(LIMIT_MS) }
    // Spawned processes are added while their parents run.
    for (let seen = 0; seen < ends.length; ) {
      seen = ends.length
      await waitFor(Promise.all(ends), limits, { what: 'the ranks of a test job to end' })
    }
    const lines = stdout.split('\n').filter(Boolean).sort()
    return { statuses: await Promise.all(ends), lines, stderr, reports, log }
  } finally {
    killAll()
    names.close()
    await scope.end()
  }
}

function layoutOf(
  guests: readonly (readonly number[])[],
  agents: number,
  more: Pick<JobLayout, 'appnums' | 'spawnedBy'>,
): JobLayout {
  return {
    id: `leet-${randomBytes(16).toString('hex')}`,
    size: guests.flat().length,
    guests: guests.map((ranks, guest) => ({ guest, name: `guest${guest}`, agent: guest % agents, ranks })),
    ...more,
  }
}
