// The tree along which fence data goes: the controller above the first `width` nodes, and under each node `width` others,
// by their numbers alone. With no more nodes than that it is a star. Pure arithmetic.
import { CONTROLLER } from '../../mpi-bridge/index.ts'

/** Nodes `0` to `count - 1` in a tree in which nobody has more than `width` children. */
export interface Tree {
  readonly count: number
  readonly width: number
}

/** The one above a node: a node or CONTROLLER. */
export function parentOf(node: number, { width }: Tree): number {
  return node < width ? CONTROLLER : Math.floor(node / width) - 1
}

/** The nodes directly below a node or CONTROLLER, ascending. */
export function childrenOf(node: number, { count, width }: Tree): number[] {
  const first = (node + 1) * width
  return Array.from({ length: Math.max(0, Math.min(width, count - first)) }, (_, i) => first + i)
}

/** The child of `top` that is `node` or above it; undefined when `node` is not below `top`. */
export function branchOf(node: number, top: number, tree: Tree): number | undefined {
  let below = node
  // Numbers fall on the way up.
  while (below > top) {
    const above = parentOf(below, tree)
    if (above === top) return below
    below = above
  }
  return undefined
}
