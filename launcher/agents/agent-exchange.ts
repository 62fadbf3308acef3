// An agent's part of the exchange: everything goes over its link to the controller, which passes it on.
import { type LeetError, type WaitLimits, waitFor } from '../../common/index.ts'
import { type Answerer, CONTROLLER, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import { nobodyAnswers } from './controller-exchange.ts'
import type { Link } from './link.ts'
import { encodeNodes, fromWire, type Message, toWire } from './messages.ts'

interface Wait<T> {
  resolve(value: T): void
  reject(error: LeetError): void
}

interface FenceWait extends Wait<readonly Uint8Array[]> {
  readonly own: number
  readonly data: Uint8Array
}

/** The exchange at the agent of one node. */
export class AgentExchange implements Exchange {
  readonly agent: number
  readonly #link: Link
  readonly #fences = new Map<string, FenceWait>()
  readonly #questions = new Map<number, Wait<Uint8Array>>()
  readonly #answerers = new Map<string, Answerer>()
  #nextQuestion = 0
  #lost: LeetError | undefined

  constructor(agent: number, link: Link) {
    this.agent = agent
    this.#link = link
  }

  /** The controller is gone: whoever waits for another node waits no more. */
  detach(error: LeetError): void {
    this.#lost = error
    for (const wait of this.#fences.values()) wait.reject(error)
    for (const wait of this.#questions.values()) wait.reject(error)
    this.#fences.clear()
    this.#questions.clear()
  }

  /** Takes a message of the controller; false when it is not for the exchange. */
  take(message: Message, body: Buffer): boolean {
    switch (message.kind) {
      case 'met': {
        const wait = this.#fences.get(message.id)
        this.#fences.delete(message.id)
        wait?.resolve(assemble(message.sizes, body, wait))
        return true
      }
      case 'unmet':
        this.#fences.get(message.id)?.reject(fromWire(message.error))
        this.#fences.delete(message.id)
        return true
      case 'answer': {
        const wait = this.#questions.get(message.id)
        this.#questions.delete(message.id)
        if (message.error) wait?.reject(fromWire(message.error))
        else wait?.resolve(body)
        return true
      }
      case 'question': {
        const reply = (error: unknown, data: Uint8Array) =>
          this.#link.send({ kind: 'reply', id: message.id, ...(error ? { error: toWire(error) } : {}) }, [
            data,
          ])
        this.#answerHere(message.topic, body, message.from).then(
          (data) => reply(undefined, data),
          (error) => reply(error, new Uint8Array()),
        )
        return true
      }
      case 'broadcast':
        this.#hear(message.topic, body, message.from)
        return true
      default:
        return false
    }
  }

  fence(
    id: string,
    agents: readonly number[],
    data: Uint8Array,
    limits: WaitLimits,
  ): Promise<readonly Uint8Array[]> {
    if (this.#lost) return Promise.reject(this.#lost)
    if (agents.length === 1 && agents[0] === this.agent) return Promise.resolve([data])
    const own = agents.indexOf(this.agent)
    const met = new Promise<readonly Uint8Array[]>((resolve, reject) => {
      this.#fences.set(id, { resolve, reject, own, data })
    })
    this.#link.send({ kind: 'fence', id, agents: encodeNodes(agents) }, [data])
    const subject = { what: `the other nodes in the fence "${id}"` }
    return waitFor(met, limits, subject).finally(() => this.#fences.delete(id))
  }

  ask(to: number, topic: string, request: Uint8Array, limits: WaitLimits): Promise<Uint8Array> {
    if (this.#lost) return Promise.reject(this.#lost)
    if (to === this.agent) return this.#answerHere(topic, request, to)
    const id = this.#nextQuestion++
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      this.#questions.set(id, { resolve, reject })
    })
    this.#link.send({ kind: 'ask', id, to, topic }, [request])
    const where = to === CONTROLLER ? 'controller' : `agent ${to}`
    const subject = { what: `an answer about ${topic}`, where }
    return waitFor(answer, limits, subject).finally(() => this.#questions.delete(id))
  }

  broadcast(topic: string, message: Uint8Array): void {
    this.#hear(topic, message, this.agent)
    this.#link.send({ kind: 'broadcast', from: this.agent, topic }, [message])
  }

  answer(topic: string, answerer: Answerer): void {
    this.#answerers.set(topic, answerer)
  }

  report(report: RankReport): void {
    this.#link.send({ kind: 'report', report })
  }

  async #answerHere(topic: string, request: Uint8Array, from: number): Promise<Uint8Array> {
    const answerer = this.#answerers.get(topic)
    if (!answerer) throw nobodyAnswers(topic, `agent ${this.agent}`)
    return answerer(request, from)
  }

  // Nobody waits for a broadcast, so nobody hears of its failure.
  #hear(topic: string, message: Uint8Array, from: number): void {
    this.#answerers
      .get(topic)?.(message, from)
      .catch(() => {})
  }
}

/** What all participants gave: `body` is what the others gave, one after the other, without this agent's own. */
function assemble(sizes: readonly number[], body: Buffer, { own, data }: FenceWait): Uint8Array[] {
  let offset = 0
  return sizes.map((size, i) => {
    if (i === own) return data
    const part = body.subarray(offset, offset + size)
    offset += size
    return part
  })
}
