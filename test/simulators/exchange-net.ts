// Several agents in one process: what the agents' links do, without links. For tests of services on more than one
// node; answers and fences take a turn of the event loop, as messages would.
import { waitFor } from '../../common/index.ts'
import { type Answerer, CONTROLLER, type Exchange } from '../../mpi-bridge/exchange.ts'
import type { RankReport } from '../../mpi-bridge/job.ts'

interface Meeting {
  readonly data: Map<number, Uint8Array>
  readonly done: PromiseWithResolvers<readonly Uint8Array[]>
}

/** Exchanges of agents 0 … count-1; agent 0 is with the controller. */
export function createExchangeNet(count: number, report: (report: RankReport) => void): Exchange[] {
  const answerers = Array.from({ length: count }, () => new Map<string, Answerer>())
  const meetings = new Map<string, Meeting>()
  return answerers.map((own, agent) => ({
    agent,
    async fence(id, agents, data, limits) {
      const meeting = meetings.get(id) ?? { data: new Map(), done: Promise.withResolvers() }
      meetings.set(id, meeting)
      meeting.data.set(agent, data.slice())
      if (meeting.data.size === agents.length) {
        meetings.delete(id)
        meeting.done.resolve(agents.map((each) => meeting.data.get(each) as Uint8Array))
      }
      return waitFor(meeting.done.promise, limits, { what: `fence ${id}` })
    },
    async ask(to, topic, request, limits) {
      const answerer = answerers[to === CONTROLLER ? 0 : to]?.get(topic)
      if (!answerer) throw new Error(`agent ${to} does not answer ${topic}`)
      return waitFor(Promise.resolve(answerer(request.slice(), agent)), limits, {
        what: `answer to ${topic}`,
      })
    },
    broadcast(topic, message) {
      for (const other of answerers) {
        setImmediate(() =>
          other
            .get(topic)?.(message.slice(), agent)
            .catch(() => {}),
        )
      }
    },
    answer(topic, answerer) {
      own.set(topic, answerer)
    },
    report,
  }))
}
