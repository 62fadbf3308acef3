// An agent's part of the exchange: everything goes over its link to the controller, which passes it on; only the data of
// fences goes along the tree of agents.
import { type LeetError, type WaitLimits, waitFor } from '../../common/index.ts'
import { type Answerer, CONTROLLER, type Exchange, type RankReport } from '../../mpi-bridge/index.ts'
import { nobodyAnswers } from './controller-exchange.ts'
import { contributionOf, Fences } from './fences.ts'
import type { Link } from './link.ts'
import { encodeNodes, fromWire, type Message, toWire } from './messages.ts'
import { branchOf, parentOf, type Tree } from './tree.ts'

interface Wait<T> {
  resolve(value: T): void
  reject(error: LeetError): void
}

/** The exchange at the agent of one node. */
export class AgentExchange implements Exchange {
  readonly agent: number
  readonly #link: Link
  readonly #tree: Tree
  readonly #fences: Fences
  readonly #waits = new Map<string, Wait<readonly Uint8Array[]>>()
  readonly #questions = new Map<number, Wait<Uint8Array>>()
  readonly #answerers = new Map<string, Answerer>()
  #nextQuestion = 0
  readonly #children = new Map<number, Link>()
  readonly #gone = new Map<number, LeetError>()
  /** What goes up before there is a way. */
  readonly #waitingUp: ((parent: Link) => void)[] = []
  #parent: Link | undefined
  #lost: LeetError | undefined

  /** `link` is the one to the controller. An agent under another needs `attachParent` for its fences. */
  constructor(agent: number, tree: Tree, link: Link) {
    this.agent = agent
    this.#link = link
    this.#tree = tree
    if (parentOf(agent, tree) === CONTROLLER) this.#parent = link
    this.#fences = new Fences(agent, tree, {
      up: (message, body) => {
        if (this.#parent) this.#parent.send(message, body)
        else this.#waitingUp.push((parent) => parent.send(message, body))
      },
      down: (child) => this.#children.get(child),
      met: (id, data) => this.#waits.get(id)?.resolve(data),
      broken: (id, error) => link.send({ kind: 'unmet', id, error: toWire(error) }),
    })
  }

  /** The link to the agent above. */
  attachParent(link: Link): void {
    this.#parent = link
    for (const send of this.#waitingUp.splice(0)) send(link)
  }

  /** A link to an agent below. */
  attachChild(node: number, link: Link): void {
    this.#children.set(node, link)
  }

  /** The controller is gone: whoever waits for another node waits no more. */
  detach(error: LeetError): void {
    this.#lost = error
    for (const wait of [...this.#waits.values(), ...this.#questions.values()]) wait.reject(error)
  }

  /** Takes a message of the controller or of a neighbour in the tree; false when it is not for the exchange. */
  take(message: Message, body: Buffer): boolean {
    switch (message.kind) {
      case 'fence':
        this.#fences.contribute(message.id, contributionOf(message, body, this.#tree))
        return true
      case 'met':
        this.#fences.release(message.id, { ...message, body })
        return true
      case 'unmet':
        this.#break(message.id, fromWire(message.error))
        return true
      case 'gone': {
        const error = fromWire(message.error)
        this.#gone.set(message.node, error)
        for (const id of this.#fences.brokenBy(message.node)) this.#break(id, error)
        return true
      }
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
    for (const [node, error] of this.#gone) {
      const depends = (one: number) => one === node || branchOf(one, node, this.#tree) !== undefined
      if (agents.some(depends)) return Promise.reject(error)
    }
    const ascending = [...agents].sort((a, b) => a - b)
    const met = new Promise<readonly Uint8Array[]>((resolve, reject) => {
      this.#waits.set(id, { resolve, reject })
    })
    this.#fences.contribute(id, { agents: encodeNodes(ascending), nodes: [this.agent], data: [data] })
    return waitFor(met, limits, { what: `the other nodes in the fence "${id}"` })
      .then((all) => {
        const given = new Map(ascending.map((node, i) => [node, all[i] as Uint8Array]))
        return agents.map((node) => given.get(node) as Uint8Array)
      })
      .finally(() => this.#waits.delete(id))
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

  #break(id: string, error: LeetError): void {
    this.#fences.forget(id)
    this.#waits.get(id)?.reject(error)
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
