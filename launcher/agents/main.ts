// The process of a node agent, from the environment that it was started in to its exit status.
import { hostname } from 'node:os'
import { Deadline, describeError, type Log, Scope } from '../../common/index.ts'
import type { NodeWorker, WorkerContext } from '../node/worker.ts'
import { type Agent, startAgent } from './agent.ts'
import { takeInvitation } from './invitation.ts'

/** What the process of an agent is made with. */
export interface AgentMainOptions {
  readonly version: string
  /** Names of this node besides its host name, such as the scheduler's. */
  readonly names: readonly string[]
  readonly makeWorker: (context: WorkerContext) => NodeWorker
  readonly log: Log
}

/** Environment variable with the number of the node in the job, where who starts the agent can tell. */
export const NODE_VARIABLE = 'LEET_AGENT_NODE'

const CONNECT_MS = 30_000
// What schedulers send to end or to tell a job. The controller decides what is to be done: it may not have got it.
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU'] as const

/**
 * Runs an agent until the controller ends it (status 0) or is gone (status 1). The caller exits with the status even when
 * something is still open: all that the agent started dies with it.
 */
export async function agentMain(env: NodeJS.ProcessEnv, options: AgentMainOptions): Promise<number> {
  let agent: Agent | undefined
  let cancelled: NodeJS.Signals | undefined
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      cancelled ??= signal
      agent?.signalled(signal)
    })
  }
  try {
    const node = env[NODE_VARIABLE]
    delete env[NODE_VARIABLE]
    await Scope.run({ name: 'the agent', warn: options.log.warn }, async (scope) => {
      agent = await startAgent({
        ...options,
        scope,
        invitation: takeInvitation(env),
        names: [...options.names, hostname()],
        ...(node !== undefined && /^\d{1,6}$/.test(node) ? { node: Number(node) } : {}),
        deadline: Deadline.after(CONNECT_MS),
      })
      if (cancelled) agent.signalled(cancelled)
      await agent.ended
    })
    return 0
  } catch (error) {
    options.log.warn(describeError(error))
    return 1
  }
}
