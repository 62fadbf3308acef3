// The exchange of a job on one node: the agent and the controller are one process and there are no messages.
import { LeetError } from '../common/index.ts'
import { type Answerer, CONTROLLER, type Exchange } from './exchange.ts'
import type { RankReport } from './job.ts'

/** An exchange with this process alone; `report` receives what ranks do. */
export function createLocalExchange(report: (report: RankReport) => void): Exchange {
  const agent = 0
  const answerers = new Map<string, Answerer>()
  return {
    agent,
    async fence(_id, agents, data) {
      const stranger = agents.find((other) => other !== agent)
      if (stranger !== undefined) throw unreachable(stranger)
      return [data]
    },
    async ask(to, topic, request) {
      const answerer = answerers.get(topic)
      if ((to !== agent && to !== CONTROLLER) || !answerer) throw unreachable(to, topic)
      return answerer(request, agent)
    },
    broadcast(topic, message) {
      // Nobody waits for a broadcast, so nobody hears of its failure: as with agents on other nodes.
      answerers
        .get(topic)?.(message, agent)
        .catch(() => {})
    },
    answer(topic, answerer) {
      answerers.set(topic, answerer)
    },
    report,
  }
}

function unreachable(agent: number, topic?: string): LeetError {
  return new LeetError({
    code: 'LEET_E_EXCHANGE',
    what: topic ? `nobody answers questions about ${topic}` : `there is no agent ${agent} in this job`,
    where: `agent ${agent}`,
  })
}
