// What ends a job from outside: a signal to its controller, or to one of its agents alone. Schedulers send the same when a
// job is cancelled and when its time is up, so the clock has to tell.
import { constants } from 'node:os'
import { abortReason, LeetError } from '../../common/index.ts'
import type { Allocation } from '../../scheduler-adapters/index.ts'
import type { JobPlan } from '../plan/plan.ts'

/** The end of a job, from outside. */
export interface EndSignal {
  readonly signal: AbortSignal
  /** A signal came to the agent of a node; those that end a job end it. */
  onAgentSignal(node: number, signal: NodeJS.Signals): void
}

/** Joins the ways in which a job is ended from outside; `cancel` is this process's own. */
export function endSignal({
  plan,
  allocation,
  cancel,
}: {
  readonly plan: JobPlan
  readonly allocation: Allocation
  readonly cancel: AbortSignal
}): EndSignal {
  const ended = new AbortController()
  const end = (error: Error) => {
    const timeIsUp = allocation.deadline !== undefined && Date.now() >= allocation.deadline - CLOCK_SLACK_MS
    const explained = error instanceof LeetError && error.code === 'LEET_E_SIGNAL' && timeIsUp
    ended.abort(
      explained ? new LeetError({ ...error.details, why: 'the time limit of the job is reached' }) : error,
    )
  }
  if (cancel.aborted) end(abortReason(cancel))
  cancel.addEventListener('abort', () => end(abortReason(cancel)), { once: true })
  return {
    signal: ended.signal,
    onAgentSignal(node, signal) {
      if (!ENDING.includes(signal)) return
      end(
        new LeetError({
          code: 'LEET_E_SIGNAL',
          what: `the agent got ${signal}, with which the scheduler ends a job`,
          where: plan.nodes[node]?.name,
          exitCode: 128 + constants.signals[signal],
        }),
      )
    },
  }
}

/** Schedulers tell the end of a job to the second, and by their own clock. */
const CLOCK_SLACK_MS = 3_000

// What schedulers send to end a job; it may have come to an agent alone.
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGXCPU', 'SIGUSR2']
