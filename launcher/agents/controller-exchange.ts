// The controller's part of the exchange: fences come together here, questions pass from node to node, and the controller
// asks and answers for itself.
import { LeetError, type WaitLimits, waitFor } from '../../common/index.ts'
import { type Answerer, CONTROLLER, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import { contributionOf, Fences } from './fences.ts'
import type { Link } from './link.ts'
import { fromWire, type Message, toWire } from './messages.ts'
import type { Tree } from './tree.ts'

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
  readonly #tree: Tree
  readonly #fences: Fences
  readonly #questions = new Map<number, Question>()
  readonly #answerers = new Map<string, Answerer>()
  #nextQuestion = 0

  /** `names` are those of the nodes; `report` hears what ranks do. */
  constructor(names: readonly string[], tree: Tree, report: (report: RankReport) => void) {
    this.#names = names
    this.#tree = tree
    this.report = report
    this.#fences = new Fences(CONTROLLER, tree, {
      up: undefined,
      down: (node) => this.#links.get(node),
      met() {},
      broken: (id, error) => this.#tellAll({ kind: 'unmet', id, error: toWire(error) }),
    })
  }

  /** The agent of a node is there. */
  attach(node: number, link: Link): void {
    this.#links.set(node, link)
  }

  /** The agent of a node is gone, and with it every fence that depends on it and every question to it. */
  detach(node: number, error: LeetError): void {
    this.#links.delete(node)
    this.#lost.set(node, error)
    for (const id of this.#fences.brokenBy(node)) this.#fences.forget(id)
    this.#tellAll({ kind: 'gone', node, error: toWire(error) })
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
        this.#fences.contribute(message.id, contributionOf(message, body, this.#tree))
        return true
      case 'unmet':
        this.#fences.forget(message.id)
        this.#tellAll(message)
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
            (error) => answer(fromWire(toWire(error)), new Uint8Array()),
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

  #tellAll(message: Message): void {
    for (const link of this.#links.values()) link.send(message)
  }
}

export function nobodyAnswers(topic: string, where: string): LeetError {
  return new LeetError({ code: 'LEET_E_EXCHANGE', what: `nobody answers questions about ${topic}`, where })
}

function noSuchNode(node: number): LeetError {
  return new LeetError({ code: 'LEET_E_EXCHANGE', what: `there is no node ${node} in this job` })
}
