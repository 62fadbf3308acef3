import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { branchOf, childrenOf, parentOf, type Tree } from '../../../launcher/agents/tree.ts'
import { CONTROLLER } from '../../../mpi-bridge/index.ts'

const trees: fc.Arbitrary<Tree> = fc.record({
  count: fc.integer({ min: 1, max: 200 }),
  width: fc.integer({ min: 1, max: 40 }),
})
const everybody = ({ count }: Tree) => [CONTROLLER, ...Array.from({ length: count }, (_, node) => node)]

describe('the tree of agents', () => {
  it('is a star while there are no more nodes than the controller may have children', () => {
    const tree = { count: 4, width: 4 }
    expect(childrenOf(CONTROLLER, tree)).toEqual([0, 1, 2, 3])
    expect([0, 1, 2, 3].flatMap((node) => childrenOf(node, tree))).toEqual([])
    expect(childrenOf(0, { count: 5, width: 4 })).toEqual([4])
  })

  it('has each node under exactly the one that it takes for its parent', () => {
    fc.assert(
      fc.property(trees, (tree) => {
        const placed = everybody(tree).flatMap((top) => {
          const children = childrenOf(top, tree)
          expect(children.length).toBeLessThanOrEqual(tree.width)
          for (const child of children) expect(parentOf(child, tree)).toBe(top)
          return children
        })
        expect(placed.sort((a, b) => a - b)).toEqual(everybody(tree).slice(1))
      }),
    )
  })

  it('knows by which child each node is reached', () => {
    fc.assert(
      fc.property(trees, fc.nat(), fc.nat(), (tree, a, b) => {
        const all = everybody(tree)
        const [top, node] = [all[a % all.length] as number, all[b % all.length] as number]
        const way: number[] = []
        for (let at = node; at !== CONTROLLER; at = parentOf(at, tree)) way.push(at)
        way.push(CONTROLLER)
        const above = way.indexOf(top)
        expect(branchOf(node, top, tree)).toBe(above > 0 ? way[above - 1] : undefined)
      }),
    )
  })
})
