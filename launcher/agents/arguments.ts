// Arguments of calls as they travel: JSON, one after the other. Those that are the same for all nodes and grow with their
// number (the plan, the layout of a job) are turned into bytes once, and deflated: their entries are much alike.
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { RankOrder } from '../node/worker.ts'
import { MOST_MESSAGE } from './link.ts'
import { type Message, malformed, parseJson } from './messages.ts'

const PACKED = new WeakMap<object, Uint8Array>()

/** An argument that other calls have too. */
class Shared {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

/** Marks an argument that other calls will have too. It must not change any more. */
export function shared(argument: object): object {
  const bytes = PACKED.get(argument) ?? deflateRawSync(JSON.stringify(argument), { level: 1 })
  PACKED.set(argument, bytes)
  return new Shared(bytes)
}

/** The body of a call. */
export function encodeArguments(args: readonly unknown[]): {
  sizes: number[]
  packed: number[]
  body: Uint8Array[]
} {
  const body = args.map((arg) => (arg instanceof Shared ? arg.bytes : Buffer.from(JSON.stringify(arg))))
  return {
    sizes: body.map((bytes) => bytes.length),
    packed: args.flatMap((arg, i) => (arg instanceof Shared ? [i] : [])),
    body,
  }
}

/** Reads the body of a call; `LEET_E_LINK` when it is none. */
export function decodeArguments({ sizes, packed }: Message & { kind: 'call' }, body: Buffer): unknown[] {
  if (sizes.reduce((sum, size) => sum + size, 0) !== body.length) throw malformed('its sizes are wrong')
  let offset = 0
  return sizes.map((size, i) => {
    const begin = offset
    offset += size
    const bytes = body.subarray(begin, offset)
    return parseJson(packed.includes(i) ? inflate(bytes) : bytes)
  })
}

function inflate(bytes: Buffer): Buffer {
  try {
    return inflateRawSync(bytes, { maxOutputLength: MOST_MESSAGE })
  } catch {
    throw malformed('it is not deflated')
  }
}

/** Orders of ranks with the variables that all have alike apart, which are most. */
export function packOrders(orders: readonly RankOrder[]): [Record<string, string>, RankOrder[]] {
  const common = { ...orders[0]?.environment }
  for (const { environment } of orders) {
    for (const [name, value] of Object.entries(common)) {
      if (environment[name] !== value) delete common[name]
    }
  }
  const own = (environment: RankOrder['environment']) =>
    Object.fromEntries(Object.entries(environment).filter(([name]) => !Object.hasOwn(common, name)))
  return [common, orders.map((order) => ({ ...order, environment: own(order.environment) }))]
}

/** The orders that `packOrders` was given. */
export function unpackOrders(common: Record<string, string>, orders: readonly RankOrder[]): RankOrder[] {
  return orders.map((order) => ({ ...order, environment: { ...common, ...order.environment } }))
}
