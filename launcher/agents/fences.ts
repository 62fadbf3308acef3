// Fences where many links meet, at the controller and at each agent: what comes from below is gathered and passed on in
// one piece, what comes from above is spread. Data crosses each link once in each direction: nobody gets back what came
// from below it.
import { LeetError } from '../../common/index.ts'
import { CONTROLLER } from '../../mpi-bridge/index.ts'
import type { Link } from './link.ts'
import { decodeNodes, encodeNodes, type Message, malformed } from './messages.ts'
import { branchOf, type Tree } from './tree.ts'

/** What the participants from below (or this node itself) gave, in the order of `nodes`. */
export interface Contribution {
  /** All participants of the fence, in few bytes. */
  readonly agents: string
  readonly nodes: readonly number[]
  readonly data: readonly Uint8Array[]
}

/** How a Fences reaches others. */
export interface FenceWays {
  /** Passes on what came from below; undefined at the controller, which has nobody above. */
  readonly up: ((message: Message & { kind: 'fence' }, body: readonly Uint8Array[]) => void) | undefined
  /** The way to a child, unless it is gone. */
  readonly down: (child: number) => Link | undefined
  /** All have met: what each participant gave, in ascending order of their numbers. */
  readonly met: (id: string, data: readonly Uint8Array[]) => void
  /** The fence cannot be: all of its participants must hear of it. */
  readonly broken: (id: string, error: LeetError) => void
}

interface Fence {
  readonly agents: string
  readonly participants: readonly number[]
  readonly members: ReadonlySet<number>
  /** How many of them are here or below. */
  readonly expected: number
  readonly data: Map<number, Uint8Array>
}

/** The fences at one place of the tree. */
export class Fences {
  readonly #self: number
  readonly #tree: Tree
  readonly #ways: FenceWays
  readonly #fences = new Map<string, Fence>()

  /** `self` is a node or CONTROLLER. */
  constructor(self: number, tree: Tree, ways: FenceWays) {
    this.#self = self
    this.#tree = tree
    this.#ways = ways
  }

  /** Something came from below, or from this node itself. */
  contribute(id: string, { agents, nodes, data }: Contribution): void {
    const fence = this.#fences.get(id) ?? this.#open(agents)
    this.#fences.set(id, fence)
    const strange = nodes.some((node) => !fence.members.has(node) || fence.data.has(node))
    if (strange || agents !== fence.agents) {
      this.forget(id)
      this.#ways.broken(id, disagreement(id))
      return
    }
    nodes.forEach((node, i) => {
      fence.data.set(node, data[i] as Uint8Array)
    })
    if (fence.data.size < fence.expected) return
    const known = fence.participants.filter((node) => fence.data.has(node))
    const gathered = known.map((node) => fence.data.get(node) as Uint8Array)
    if (this.#ways.up) {
      const sizes = gathered.map((part) => part.length)
      this.#ways.up({ kind: 'fence', id, agents, nodes: encodeNodes(known), sizes }, gathered)
    } else {
      this.#release(id, fence, gathered)
    }
  }

  /** All have met, says the one above: `body` is what was given by those who are neither here nor below. */
  release(id: string, sizes: readonly number[], body: Uint8Array): void {
    const fence = this.#fences.get(id)
    if (!fence) return
    if (fence.participants.length !== sizes.length)
      throw malformed('a fence has met with others than expected')
    let offset = 0
    const data = fence.participants.map((node, i) => {
      const known = fence.data.get(node)
      if (known) return known
      const begin = offset
      offset += sizes[i] as number
      return body.subarray(begin, offset)
    })
    this.#release(id, fence, data)
  }

  /** A fence is over without having met. */
  forget(id: string): void {
    this.#fences.delete(id)
  }

  /** The fences that now cannot be, since a node is gone: it takes part in them, or stands above one who does. */
  brokenBy(node: number): string[] {
    const depends = (one: number) => one === node || branchOf(one, node, this.#tree) !== undefined
    return [...this.#fences].filter(([, fence]) => fence.participants.some(depends)).map(([id]) => id)
  }

  #open(agents: string): Fence {
    const participants = decodeNodes(agents, this.#tree.count)
    const here = (node: number) => node === this.#self || branchOf(node, this.#self, this.#tree) !== undefined
    const expected = this.#self === CONTROLLER ? participants.length : participants.filter(here).length
    return { agents, participants, members: new Set(participants), expected, data: new Map() }
  }

  #release(id: string, { participants }: Fence, data: readonly Uint8Array[]): void {
    this.forget(id)
    const branches = participants.map((node) => branchOf(node, this.#self, this.#tree))
    const children = new Set(branches.filter((branch) => branch !== undefined))
    if (children.size > 0) {
      const sizes = data.map((part) => part.length)
      // One piece of memory, of which all children get parts.
      const all = Buffer.concat(data)
      for (const child of children) {
        const body = cut(all, sizes, (i) => branches[i] === child)
        this.#ways.down(child)?.send({ kind: 'met', id, sizes }, body)
      }
    }
    this.#ways.met(id, data)
  }
}

/** A contribution as it came over a link; `LEET_E_LINK` when it is none. */
export function contributionOf(
  { agents, nodes, sizes }: Message & { kind: 'fence' },
  body: Buffer,
  { count }: Tree,
): Contribution {
  const from = decodeNodes(nodes, count)
  let offset = 0
  const data = sizes.map((size) => {
    const begin = offset
    offset += size
    return body.subarray(begin, offset)
  })
  if (sizes.length !== from.length || offset !== body.length) throw malformed('its sizes are wrong')
  return { agents, nodes: from, data }
}

/** The stretches of `all` that are left when the parts for which `without` holds are taken out. */
function cut(all: Buffer, sizes: readonly number[], without: (part: number) => boolean): Buffer[] {
  const stretches: Buffer[] = []
  let [begin, end] = [0, 0]
  sizes.forEach((size, i) => {
    if (without(i)) {
      if (end > begin) stretches.push(all.subarray(begin, end))
      begin = end + size
    }
    end += size
  })
  if (end > begin) stretches.push(all.subarray(begin, end))
  return stretches
}

function disagreement(id: string): LeetError {
  return new LeetError({
    code: 'LEET_E_EXCHANGE',
    what: `the participants of the fence "${id}" do not agree who takes part`,
  })
}
