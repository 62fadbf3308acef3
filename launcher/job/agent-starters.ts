// How agents get onto the nodes of a job: by the scheduler's own command, which ends them with the job, or over SSH
// where nobody but the user has named the nodes; and how each gets the job's invitation without anybody seeing it.
import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import {
  Deadline,
  endOf,
  LeetError,
  type Log,
  type Scope,
  type WaitLimits,
  waitFor,
} from '../../common/index.ts'
import {
  type AllocatedNode,
  type Allocation,
  adapterOf,
  type NodeStart,
  nodeOfThisProcess,
  type SchedulerAdapter,
  startEnvironment,
} from '../../scheduler-adapters/index.ts'
import {
  encodeInvitation,
  INVITATION_FILE_VARIABLE,
  INVITATION_VARIABLE,
  type Invitation,
  writeInvitation,
} from '../agents/invitation.ts'
import type { SshIdentity } from '../agents/ssh-start.ts'
import { cacheDirectory } from '../images/store.ts'
import type { Journal } from '../journal/journal.ts'
import type { JobPlan } from '../plan/plan.ts'
import { ownCommand } from './own-command.ts'

/** What agents are started with. */
export interface StartersContext {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly journal: Journal
  readonly log: Log
  /**
   * The life of what starts the agents, which is theirs too. It fails when one of them could not start its agents, or has
   * ended. When it ends, after the agents were told to, they are waited for, and ended if they do not.
   */
  readonly scope: Scope
}

/** What started the agents of a job. */
export interface AgentStarters {
  /** Removes what the agents needed to find the controller; once all are there. */
  readonly forgetSecret: () => void
}

/** How long starters may take to end by themselves, in milliseconds. */
const END_MS = 3_000
/** Of what a starter said, kept to explain its failure. */
const SAID_LIMIT = 2_000
/** Hosts to which connections are being made at a time: each costs this process a few milliseconds of arithmetic. */
const SSH_AT_ONCE = 16

interface Starter {
  readonly ended: Promise<unknown>
  /** Ends it at once; what the journal ends anyway has none. */
  end?(): void
}

type SshStart = Extract<NodeStart, { via: 'ssh' }>
type CommandStart = Extract<NodeStart, { via: 'command' }>

/** Starts an agent on each node of the plan. Whether they come is seen where they connect to. */
export async function startAgents(
  context: StartersContext,
  invitation: Invitation,
  limits: WaitLimits,
): Promise<AgentStarters> {
  const { plan, allocation, journal, scope } = context
  const adapter = adapterOf(allocation.scheduler)
  const nodes = plan.nodes.map(
    ({ name }) => allocation.nodes.find((node) => node.name === name) as AllocatedNode,
  )
  // A child of this process inherits its environment; what goes over SSH is told in another way.
  const byEnvironment = adapter.forwardsEnvironment || allocation.scheduler === 'hostfile'
  const secret = await secretFor(invitation, byEnvironment, journal)
  const starts = adapter.start(allocation, nodes, (node) =>
    secret.told(agentCommand(plan, node ?? '', adapter.nodeVariable ?? '')),
  )
  const here = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })?.name
  const direct = starts.map((start) => (here !== undefined && start.nodes[0] === here ? local(start) : start))
  const commands = direct.filter((start) => start.via === 'command')
  const remote = direct.filter((start) => start.via === 'ssh')
  scope.onEnd('the invitation of agents', secret.remove)
  const starters: Starter[] = []
  let started: Promise<void> | undefined
  scope.onEnd('the agents', async () => {
    await started
    const ended = Promise.allSettled(starters.map((starter) => starter.ended))
    const soon = { deadline: Deadline.after(END_MS) }
    await waitFor(ended, soon, { what: 'the agents to end' }).catch(() => {})
    for (const starter of starters) starter.end?.()
  })
  for (const start of commands) starters.push(startByCommand(context, adapter, start, secret.env))
  if (remote.length > 0) started = startBySsh(context, remote, invitation, starters, scope.within(limits))
  return { forgetSecret: secret.remove }
}

// This host needs nobody to let us in.
function local(start: NodeStart): NodeStart {
  return start.via === 'command' ? start : { via: 'command', nodes: start.nodes, argv: start.argv, env: {} }
}

// Nothing secret: an argument vector can be seen by every user of the node.
function agentCommand(plan: JobPlan, node: string, nodeVariable: string): [string, ...string[]] {
  return ownCommand('leet-agent', plan.jobId, node, nodeVariable)
}

interface Secret {
  /** For the command that starts agents. */
  readonly env: NodeJS.ProcessEnv
  /** The command of an agent, which may not get that environment. */
  told(command: [string, ...string[]]): [string, ...string[]]
  remove(): void
}

async function secretFor(invitation: Invitation, byEnvironment: boolean, journal: Journal): Promise<Secret> {
  if (byEnvironment) {
    return {
      env: { [INVITATION_VARIABLE]: encodeInvitation(invitation) },
      told: (command) => command,
      remove() {},
    }
  }
  // Where the nodes can read it: the runtime directory is this node's alone, the cache is below the home.
  const folder = cacheDirectory(process.env)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `invitation.${basename(journal.directory)}`)
  const { gone } = journal.expectFile(path, 'the invitation of agents')
  writeInvitation(path, invitation)
  const file = `${INVITATION_FILE_VARIABLE}=${path}`
  return {
    env: {},
    told: (command) => ['/usr/bin/env', ...environmentOfAgents(process.env), file, ...command],
    remove: gone,
  }
}

// What QEMU and the other programs that an agent starts are found by: a site's module may have set it.
function environmentOfAgents(env: NodeJS.ProcessEnv): string[] {
  return ['PATH', 'LD_LIBRARY_PATH', 'XDG_CACHE_HOME'].flatMap((name) =>
    env[name] === undefined ? [] : [`${name}=${env[name]}`],
  )
}

// Starts one command of the scheduler, which stays in the foreground as long as its agents live.
function startByCommand(
  { journal, log, scope }: StartersContext,
  adapter: SchedulerAdapter,
  start: CommandStart,
  secret: NodeJS.ProcessEnv,
): Starter {
  const where = start.nodes.join(', ')
  const { child } = journal.spawn(start.argv, {
    what: `the agents of ${where}`,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...startEnvironment(adapter, start, process.env), ...secret },
  })
  const words = new Words(log)
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => words.hear(text))
  }
  const ended = endOf(child).then(
    (end) => {
      const how = end.kind === 'signal' ? `by ${end.signal}` : `with status ${end.status}`
      scope.fail(words.explain(`\`${start.argv[0]}\`, which started the agents, ended ${how}`, where))
    },
    (error) => scope.fail(error),
  )
  return { ended }
}

async function startBySsh(
  { plan, log, scope }: StartersContext,
  starts: readonly SshStart[],
  invitation: Invitation,
  starters: Starter[],
  limits: WaitLimits,
): Promise<void> {
  const { readSshIdentity, startOverSsh } = await import('../agents/ssh-start.ts')
  const start = async ({ nodes: [host], user = plan.user.name, argv }: SshStart, identity: SshIdentity) => {
    const words = new Words(log)
    // A remote shell of SSH has the PATH of no login.
    const order = {
      argv: ['env', ...environmentOfAgents(process.env), ...argv],
      invitation: encodeInvitation(invitation),
    }
    const agent = await startOverSsh({ host, user }, identity, order, (text) => words.hear(text), limits)
    const ended = agent.ended.then((how) => scope.fail(words.explain(`the agent ${how}`, host)))
    starters.push({ ended, end: agent.close })
  }
  try {
    const identity = await readSshIdentity(process.env, plan.user.home)
    const { limitFunction } = await import('p-limit')
    const startOne = limitFunction((one: SshStart) => start(one, identity), { concurrency: SSH_AT_ONCE })
    await Promise.all(starts.map((one) => startOne(one)))
  } catch (error) {
    scope.fail(error)
  }
}

// What a starter and its agents print: shown, and the end of it kept.
class Words {
  readonly #log: Log
  #said = ''

  constructor(log: Log) {
    this.#log = log
  }

  hear(text: string): void {
    this.#said = (this.#said + text).slice(-SAID_LIMIT)
    for (const line of text.split('\n').filter(isWorthSaying)) this.#log.note(line)
  }

  explain(what: string, where: string): LeetError {
    const why = this.#said.trim().split('\n').at(-1)
    return new LeetError({ code: 'LEET_E_AGENT', what, where, ...(why ? { why } : {}) })
  }
}

// srun says this on sites without a CPU binding plug-in, at every start, whatever it is told.
function isWorthSaying(line: string): boolean {
  return line.trim() !== '' && !line.includes('lacks support for cpu binding')
}
