import { zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contributionOf, Fences } from '../../../launcher/agents/fences.ts'
import type { Link } from '../../../launcher/agents/link.ts'
import { encodeNodes, type Message } from '../../../launcher/agents/messages.ts'
import { parentOf, type Tree } from '../../../launcher/agents/tree.ts'
import { CONTROLLER } from '../../../mpi-bridge/index.ts'

/** A tree of fences whose messages are delivered when and in which order the test wants. */
function network(tree: Tree) {
  const mail: (() => void)[] = []
  const met: { node: number; id: string; data: string[] }[] = []
  const broken: string[] = []
  /** Bytes of data over the link above each node. */
  const bytes = { up: new Map<number, number>(), down: new Map<number, number>() }
  const count = (way: Map<number, number>, node: number, body: readonly Uint8Array[]) =>
    way.set(node, (way.get(node) ?? 0) + body.reduce((sum, part) => sum + part.length, 0))
  const places = new Map<number, Fences>()
  for (let node = CONTROLLER; node < tree.count; node++) {
    const up = (message: Message & { kind: 'fence' }, body: readonly Uint8Array[]) => {
      count(bytes.up, node, body)
      const contribution = contributionOf(message, Buffer.concat(body), tree)
      mail.push(() => places.get(parentOf(node, tree))?.contribute(message.id, contribution))
    }
    const send = (child: number) => (message: Message & { kind: 'met' }, body: readonly Uint8Array[]) => {
      count(bytes.down, child, body)
      mail.push(() => places.get(child)?.release(message.id, { ...message, body: Buffer.concat(body) }))
    }
    const fences = new Fences(node, tree, {
      up: node === CONTROLLER ? undefined : up,
      down: (child) => ({ send: send(child) }) as unknown as Link,
      met: (id, data) => met.push({ node, id, data: data.map((part) => Buffer.from(part).toString()) }),
      broken: (id) => broken.push(id),
    })
    places.set(node, fences)
  }
  return { places, mail, met, broken, bytes }
}

describe('fences over a tree', () => {
  it('give all participants what all gave, over each link once, whatever the order of messages', () => {
    fc.assert(
      fc.property(
        fc.record({ count: fc.integer({ min: 1, max: 30 }), width: fc.integer({ min: 1, max: 6 }) }),
        fc.infiniteStream(fc.nat()),
        (tree, choices) => {
          const choose = (below: number) => (choices.next().value as number) % below
          const { places, mail, met, broken, bytes } = network(tree)
          const groups = ['a', 'b'].map((id) => {
            const nodes = Array.from({ length: tree.count }, (_, node) => node).filter(() => choose(3) > 0)
            return { id, nodes: nodes.length > 0 ? nodes : [0] }
          })
          for (const { id, nodes } of groups) {
            for (const node of nodes) {
              const data = [Buffer.from(`${id}${node}`)]
              const contribution = { agents: encodeNodes(nodes), nodes: [node], data }
              mail.push(() => places.get(node)?.contribute(id, contribution))
            }
          }
          while (mail.length > 0) mail.splice(choose(mail.length), 1)[0]?.()
          expect(broken).toEqual([])
          let total = 0
          for (const { id, nodes } of groups) {
            const told = met.filter((one) => one.id === id)
            const data = nodes.map((node) => `${id}${node}`)
            total += data.join('').length
            for (const node of nodes) {
              expect(told.filter((one) => one.node === node)).toEqual([{ node, id, data }])
            }
          }
          for (const way of [bytes.up, bytes.down]) {
            for (const crossed of way.values()) expect(crossed).toBeLessThanOrEqual(total)
          }
        },
      ),
    )
  })

  it('compress what is much, once, and refuse what was not compressed so', () => {
    const { places, mail, met, bytes } = network({ count: 2, width: 1 })
    const given = ['a', 'b'].map((letter) => letter.repeat(10_000))
    given.forEach((text, node) => {
      const contribution = { agents: '0-1', nodes: [node], data: [Buffer.from(text)] }
      mail.push(() => places.get(node)?.contribute('f', contribution))
    })
    while (mail.length > 0) mail.shift()?.()
    expect(met.map(({ node, data }) => [node, data])).toEqual([-1, 0, 1].map((node) => [node, given]))
    expect(Math.max(...bytes.down.values())).toBeLessThan(500)
    expect(bytes.down.get(0)).toBe(bytes.down.get(1))

    const contribution = { agents: '0-1', nodes: [0, 1], data: [Buffer.from('x'), Buffer.from('y')] }
    const wrong = [
      { sizes: [1, 1], packed: true, body: Buffer.from('xy') },
      { sizes: [5000, 5000], packed: true, body: Buffer.from('xy') },
      { sizes: [5000, 5000], packed: true, body: zstdCompressSync(Buffer.alloc(10_001)) },
      { sizes: [5000, 5000], packed: true, body: zstdCompressSync(Buffer.alloc(9_999)) },
      { sizes: [1, 2], packed: false, body: Buffer.from('xy') },
      { sizes: [2], packed: false, body: Buffer.from('xy') },
    ]
    for (const all of wrong) {
      const { places } = network({ count: 2, width: 2 })
      places.get(0)?.contribute('g', { ...contribution, nodes: [0], data: contribution.data.slice(0, 1) })
      expect(() => places.get(0)?.release('g', all)).toThrow(/fence|compressed|sizes/)
    }
  })

  it('are broken by participants that do not agree, or come twice', () => {
    const { places, broken } = network({ count: 3, width: 4 })
    const data = [Buffer.from('x')]
    const controller = places.get(CONTROLLER)
    controller?.contribute('f', { agents: '0-1', nodes: [0], data })
    controller?.contribute('f', { agents: '0-2', nodes: [1], data })
    expect(broken).toEqual(['f'])
    controller?.contribute('g', { agents: '0-1', nodes: [2], data })
    controller?.contribute('h', { agents: '0-1', nodes: [0], data })
    controller?.contribute('h', { agents: '0-1', nodes: [0], data })
    expect(broken).toEqual(['f', 'g', 'h'])
  })

  it('know which of them a lost node breaks', () => {
    const { places } = network({ count: 9, width: 2 })
    const node0 = places.get(0)
    const give = (id: string, agents: string, node: number) =>
      node0?.contribute(id, { agents, nodes: [node], data: [Buffer.alloc(0)] })
    give('with 6', '2,6', 2)
    give('without', '0,8', 0)
    // 2 is above 6 and 7, 0 above 2 and 3, and so 1 above none of these.
    expect(node0?.brokenBy(6)).toEqual(['with 6'])
    expect(node0?.brokenBy(2)).toEqual(['with 6'])
    expect(node0?.brokenBy(0)).toEqual(['with 6', 'without'])
    expect(node0?.brokenBy(1)).toEqual([])
  })
})
