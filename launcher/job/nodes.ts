// The nodes of a job at the controller's hand: this process alone when the job is on this node, else one agent on each
// node, started by the scheduler so that it ends them with the job.
import type { ChildProcess } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { Deadline, endOf, LeetError, type Log, type WaitLimits, waitFor } from '../../common/index.ts'
import { createLocalExchange, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import {
  type AllocatedNode,
  type Allocation,
  adapterOf,
  type NodeStart,
  nodeOfThisProcess,
} from '../../scheduler-adapters/index.ts'
import { version } from '../cli/version.ts'
import { cacheDirectory } from '../images/store.ts'
import type { Journal } from '../journal/journal.ts'
import { createLocalWorker } from '../node/local-worker.ts'
import type { NodeEvent, NodeWorker } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'

/** What the nodes are opened with. */
export interface NodesContext {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly journal: Journal
  readonly log: Log
  readonly onReport: (report: RankReport) => void
  readonly onEvent: (node: number, event: NodeEvent) => void
  /** A node, or its agent, is gone. */
  readonly onLost: (node: number, error: LeetError) => void
  /** The scheduler sent a signal to an agent. */
  readonly onSignal: (node: number, signal: NodeJS.Signals) => void
}

/** The nodes of a job. */
export interface JobNodes {
  readonly workers: readonly NodeWorker[]
  readonly exchange: Exchange
  /** Ends what was started to reach the nodes; workers were stopped before. */
  close(): Promise<void>
}

/** How long the agents' starters may take to end by themselves, in milliseconds. */
const STARTER_END_MS = 3_000
/** Of what a starter said, kept to explain its failure. */
const SAID_LIMIT = 2_000

/** Opens the nodes of a plan; resolves when each can be worked with. */
export async function openNodes(context: NodesContext, limits: WaitLimits): Promise<JobNodes> {
  return isHere(context) ? openThisNode(context) : openAgents(context, limits)
}

function isHere({ plan, allocation }: NodesContext): boolean {
  const here = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })
  return plan.nodes.length === 1 && here !== undefined && here.name === plan.nodes[0]?.name
}

function openThisNode({ journal, log, onReport, onEvent }: NodesContext): JobNodes {
  const exchange = createLocalExchange(onReport)
  const worker = createLocalWorker({ exchange, journal, log, emit: (event) => onEvent(0, event) })
  return { exchange, workers: [worker], close: async () => {} }
}

async function openAgents(context: NodesContext, limits: WaitLimits): Promise<JobNodes> {
  const { plan, allocation, journal, log } = context
  const { startHub } = await import('../agents/hub.ts')
  const hub = await startHub({
    nodes: plan.nodes.map((node) => node.name),
    version: version(),
    log,
    onReport: context.onReport,
    onEvent: context.onEvent,
    onLost: context.onLost,
    onSignal: context.onSignal,
  })
  const starters: ChildProcess[] = []
  const failed = new AbortController()
  let secret: Secret | undefined
  try {
    const adapter = adapterOf(allocation.scheduler)
    const wanted = plan.nodes.map(
      ({ name }) => allocation.nodes.find((node) => node.name === name) as AllocatedNode,
    )
    const starts = adapter.start(allocation, wanted, (node) =>
      agentCommand(plan, node ?? '', adapter.nodeVariable ?? ''),
    )
    secret = await secretFor(hub.invitation, adapter.forwardsEnvironment, journal)
    for (const start of starts) starters.push(startAgents(start, secret.env, journal, log, failed))
    const signal = AbortSignal.any([failed.signal, ...(limits.signal ? [limits.signal] : [])])
    await hub.ready({ deadline: limits.deadline, signal })
  } catch (error) {
    await hub.close()
    throw error
  } finally {
    secret?.remove()
  }
  return {
    workers: hub.workers,
    exchange: hub.exchange,
    async close() {
      await hub.close()
      const ended = Promise.all(starters.filter((child) => child.exitCode === null).map(endOf))
      // What does not end by itself ends with the journal.
      await waitFor(ended, { deadline: Deadline.after(STARTER_END_MS) }, { what: 'the agents to end' }).catch(
        () => {},
      )
    },
  }
}

// Nothing secret: an argument vector can be seen by every user of the node.
function agentCommand(plan: JobPlan, node: string, nodeVariable: string): [string, ...string[]] {
  const start = new URL('../bin/start.js', rootOfSources()).pathname
  return [process.execPath, start, 'leet-agent', plan.jobId, node, nodeVariable]
}

// Compiled files lie one folder deeper, in dist/, and the starter of commands is never compiled.
function rootOfSources(): URL {
  const compiled = import.meta.url.endsWith('.js')
  return new URL(compiled ? '../../../launcher/job/' : './', import.meta.url)
}

interface Secret {
  readonly env: NodeJS.ProcessEnv
  remove(): void
}

async function secretFor(
  invitation: import('../agents/invitation.ts').Invitation,
  byEnvironment: boolean,
  journal: Journal,
): Promise<Secret> {
  const { encodeInvitation, INVITATION_FILE_VARIABLE, INVITATION_VARIABLE, writeInvitation } = await import(
    '../agents/invitation.ts'
  )
  if (byEnvironment) return { env: { [INVITATION_VARIABLE]: encodeInvitation(invitation) }, remove() {} }
  // Where the nodes can read it: the runtime directory is this node's alone, the cache is below the home.
  const folder = cacheDirectory(process.env)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `invitation.${basename(journal.directory)}`)
  writeInvitation(path, invitation)
  return { env: { [INVITATION_FILE_VARIABLE]: path }, remove: () => rmSync(path, { force: true }) }
}

// Starts one command of the scheduler, which stays in the foreground as long as its agents live.
function startAgents(
  start: NodeStart,
  secret: NodeJS.ProcessEnv,
  journal: Journal,
  log: Log,
  failed: AbortController,
): ChildProcess {
  const where = start.nodes.join(', ')
  if (start.via === 'ssh') {
    throw new LeetError({
      code: 'LEET_E_AGENT',
      what: 'agents on hosts of a hostfile cannot be started yet',
      where,
      hint: 'run inside a job of a batch system',
      exitCode: 2,
    })
  }
  const { child } = journal.spawn(start.argv, {
    what: `the agents of ${where}`,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...start.env, ...secret },
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => {
      said = (said + text).slice(-SAID_LIMIT)
      for (const line of text.split('\n').filter(isWorthSaying)) log.note(line)
    })
  }
  endOf(child).then(
    (end) => {
      const how = end.kind === 'signal' ? `by ${end.signal}` : `with status ${end.status}`
      failed.abort(
        new LeetError({
          code: 'LEET_E_AGENT',
          what: `\`${start.argv[0]}\`, which started the agents, ended ${how}`,
          where,
          ...(said.trim() ? { why: said.trim().split('\n').at(-1) as string } : {}),
        }),
      )
    },
    (error) => failed.abort(error),
  )
  return child
}

// srun says this on sites without a CPU binding plug-in, at every start, whatever it is told.
function isWorthSaying(line: string): boolean {
  return line.trim() !== '' && !line.includes('lacks support for cpu binding')
}
