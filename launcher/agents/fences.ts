// Fences where many links meet, at the controller and at each agent: what comes from below is gathered and passed on in
// one piece, what comes from above is spread. Data crosses each link once in each direction. What all gave is compressed
// once, by the controller, and passed on as it is: the addresses of ranks are much alike, and what a fence of many nodes
// costs is their bytes over TLS. So everybody also gets back what came from below it, which is little of the whole.
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { LeetError } from '../../common/index.ts'
import { CONTROLLER } from '../../mpi-bridge/index.ts'
import { type Link, MOST_MESSAGE } from './link.ts'
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

/** Less than that is not worth compressing. */
const PACKED_FROM = 4 * 1024

/** What all gave, as it goes down: in ascending order of the participants, in one piece, compressed if `packed`. */
type Together = Pick<Message & { kind: 'met' }, 'sizes' | 'packed'> & { readonly body: Uint8Array }

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
      this.#spread(id, fence, together(gathered))
      this.#ways.met(id, gathered)
    }
  }

  /** All have met, says the one above. `LEET_E_LINK` when that cannot be what they gave. */
  release(id: string, all: Together): void {
    const fence = this.#fences.get(id)
    if (!fence) return
    if (fence.participants.length !== all.sizes.length)
      throw malformed('a fence has met with others than expected')
    this.#spread(id, fence, all)
    this.#ways.met(id, apart(all))
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

  // The fence is over here.
  #spread(id: string, { participants }: Fence, { sizes, packed, body }: Together): void {
    this.forget(id)
    const branches = participants.map((node) => branchOf(node, this.#self, this.#tree))
    for (const child of new Set(branches)) {
      if (child !== undefined) this.#ways.down(child)?.send({ kind: 'met', id, sizes, packed }, [body])
    }
  }
}

/** A contribution as it came over a link; `LEET_E_LINK` when it is none. */
export function contributionOf(
  { agents, nodes, sizes }: Message & { kind: 'fence' },
  body: Buffer,
  { count }: Tree,
): Contribution {
  const from = decodeNodes(nodes, count)
  if (sizes.length !== from.length) throw malformed('its sizes are wrong')
  return { agents, nodes: from, data: cut(body, sizes) }
}

function together(data: readonly Uint8Array[]): Together {
  const all = Buffer.concat(data)
  const packed = all.length >= PACKED_FROM
  return { sizes: data.map((part) => part.length), packed, body: packed ? zstdCompressSync(all) : all }
}

function apart({ sizes, packed, body }: Together): Uint8Array[] {
  return cut(packed ? unpack(body, sizes) : body, sizes)
}

function unpack(body: Uint8Array, sizes: readonly number[]): Uint8Array {
  const size = sizes.reduce((sum, one) => sum + one, 0)
  if (size < PACKED_FROM || size > MOST_MESSAGE) throw malformed('its sizes are wrong')
  try {
    // One piece of memory for all of it, with room to see that nothing follows.
    return zstdDecompressSync(body, { chunkSize: size + 1, maxOutputLength: size })
  } catch {
    throw malformed('it is not compressed, or longer than it says')
  }
}

/** The parts of which `all` is made. They share its memory. */
function cut(all: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  let offset = 0
  const parts = sizes.map((size) => {
    const begin = offset
    offset += size
    return all.subarray(begin, offset)
  })
  if (offset !== all.length) throw malformed('its sizes are wrong')
  return parts
}

function disagreement(id: string): LeetError {
  return new LeetError({
    code: 'LEET_E_EXCHANGE',
    what: `the participants of the fence "${id}" do not agree who takes part`,
  })
}
