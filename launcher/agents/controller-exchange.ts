// The controller's part of the exchange: fences are gathered here and their data sent to each participant once, questions
// pass from node to node, and the controller asks and answers for itself.
import { LeetError, type WaitLimits, waitFor } from '../../common/index.ts'
import { type Answerer, CONTROLLER, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import type { Link } from './link.ts'
import { decodeNodes, fromWire, type Message, toWire } from './messages.ts'
import { SendQueue } from './send-queue.ts'

interface Fence {
  /** The participants as told, which all must tell alike. */
  readonly agents: string
  readonly nodes: readonly number[]
  readonly data: Map<number, Uint8Array>
}

/** A question on its way to a node. `settle` has the answer or the error. */
interface Question {
  readonly to: number
  settle(error: LeetError | undefined, answer: Uint8Array): void
}

/** The exchange at the controller of a job on several nodes. The hub gives it links and messages. */
export class ControllerExchange implements Exchange {
  readonly agent: number = CONTROLLER
  readonly report: (report: RankReport) => void
  readonly #names: readonly string[]
  readonly #links = new Map<number, Link>()
  readonly #lost = new Map<number, LeetError>()
  readonly #fences = new Map<string, Fence>()
  readonly #questions = new Map<number, Question>()
  readonly #answerers = new Map<string, Answerer>()
  readonly #queue = new SendQueue()
  #nextQuestion = 0

  /** `names` are those of the nodes; `report` hears what ranks do. */
  constructor(names: readonly string[], report: (report: RankReport) => void) {
    this.#names = names
    this.report = report
  }

  /** The agent of a node is there. */
  attach(node: number, link: Link): void {
    this.#links.set(node, link)
  }

  /** The agent of a node is gone, and with it every fence that it has a part in and every question to it. */
  detach(node: number, error: LeetError): void {
    this.#links.delete(node)
    this.#lost.set(node, error)
    for (const [id, fence] of this.#fences) if (fence.nodes.includes(node)) this.#breakFence(id, fence, error)
    for (const [id, question] of this.#questions) {
      if (question.to !== node) continue
      this.#questions.delete(id)
      question.settle(error, new Uint8Array())
    }
  }

  /** Takes a message of the agent of `node`; false when it is not for the exchange. */
  take(node: number, message: Message, body: Buffer): boolean {
    switch (message.kind) {
      case 'fence':
        this.#contribute(node, message.id, message.agents, body)
        return true
      case 'ask': {
        const answer = (error: LeetError | undefined, data: Uint8Array) =>
          this.#links
            .get(node)
            ?.send({ kind: 'answer', id: message.id, ...(error ? { error: toWire(error) } : {}) }, [data])
        if (message.to !== CONTROLLER) this.#question(node, message.to, message.topic, body, answer)
        else {
          this.#answerHere(message.topic, body, node).then(
            (data) => answer(undefined, data),
            (error) => answer(fromWire(toWire(error), 'controller'), new Uint8Array()),
          )
        }
        return true
      }
      case 'reply': {
        const question = this.#questions.get(message.id)
        this.#questions.delete(message.id)
        question?.settle(message.error ? fromWire(message.error, this.#names[node]) : undefined, body)
        return true
      }
      case 'broadcast':
        this.#relay(node, message.topic, body)
        return true
      case 'report':
        this.report(message.report)
        return true
      default:
        return false
    }
  }

  async fence(): Promise<readonly Uint8Array[]> {
    throw new LeetError({ code: 'LEET_E_EXCHANGE', what: 'the controller has no part in fences' })
  }

  ask(to: number, topic: string, request: Uint8Array, limits: WaitLimits): Promise<Uint8Array> {
    if (to === CONTROLLER) return this.#answerHere(topic, request, CONTROLLER)
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      this.#question(CONTROLLER, to, topic, request, (error, data) => (error ? reject(error) : resolve(data)))
    })
    return waitFor(answer, limits, { what: `an answer about ${topic}`, where: this.#names[to] })
  }

  broadcast(topic: string, message: Uint8Array): void {
    this.#relay(CONTROLLER, topic, message)
  }

  answer(topic: string, answerer: Answerer): void {
    this.#answerers.set(topic, answerer)
  }

  async #answerHere(topic: string, request: Uint8Array, from: number): Promise<Uint8Array> {
    const answerer = this.#answerers.get(topic)
    if (!answerer) throw nobodyAnswers(topic, 'controller')
    return answerer(request, from)
  }

  #question(from: number, to: number, topic: string, request: Uint8Array, settle: Question['settle']): void {
    const link = this.#links.get(to)
    if (!link) {
      settle(this.#lost.get(to) ?? noSuchNode(to), new Uint8Array())
      return
    }
    const id = this.#nextQuestion++
    this.#questions.set(id, { to, settle })
    link.send({ kind: 'question', id, from, topic }, [request])
  }

  #relay(from: number, topic: string, message: Uint8Array): void {
    for (const [node, link] of this.#links) {
      if (node !== from) link.send({ kind: 'broadcast', from, topic }, [message])
    }
  }

  #contribute(node: number, id: string, agents: string, data: Uint8Array): void {
    const fence = this.#fences.get(id) ?? {
      agents,
      nodes: decodeNodes(agents, this.#names.length),
      data: new Map<number, Uint8Array>(),
    }
    this.#fences.set(id, fence)
    fence.data.set(node, data)
    const gone = fence.nodes.find((one) => this.#lost.has(one))
    if (gone !== undefined) {
      this.#breakFence(id, fence, this.#lost.get(gone) as LeetError)
    } else if (agents !== fence.agents || !fence.nodes.includes(node)) {
      this.#breakFence(id, fence, fenceError(id, this.#names[node]))
    } else if (fence.data.size === fence.nodes.length) {
      this.#fences.delete(id)
      this.#release(id, fence)
    }
  }

  // Everybody gets what the others gave. The gathered bytes are one piece of memory, of which each gets what lies
  // before and after its own.
  #release(id: string, { nodes, data }: Fence): void {
    const parts = nodes.map((node) => data.get(node) as Uint8Array)
    const sizes = parts.map((part) => part.length)
    const all = Buffer.concat(parts)
    let offset = 0
    nodes.forEach((node, i) => {
      const size = sizes[i] as number
      const body = [all.subarray(0, offset), all.subarray(offset + size)]
      offset += size
      const link = this.#links.get(node)
      if (link) this.#queue.send(link, { kind: 'met', id, sizes }, body)
    })
  }

  #breakFence(id: string, fence: Fence, error: LeetError): void {
    this.#fences.delete(id)
    for (const node of fence.data.keys()) {
      this.#links.get(node)?.send({ kind: 'unmet', id, error: toWire(error) })
    }
  }
}

export function nobodyAnswers(topic: string, where: string): LeetError {
  return new LeetError({ code: 'LEET_E_EXCHANGE', what: `nobody answers questions about ${topic}`, where })
}

function noSuchNode(node: number): LeetError {
  return new LeetError({ code: 'LEET_E_EXCHANGE', what: `there is no node ${node} in this job` })
}

function fenceError(id: string, node: string | undefined): LeetError {
  return new LeetError({
    code: 'LEET_E_EXCHANGE',
    what: `the participants of the fence "${id}" do not agree who takes part`,
    where: node,
  })
}
