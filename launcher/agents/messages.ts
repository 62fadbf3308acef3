// What controller and agents say to each other, and how it is put into bytes: a 32-bit big-endian length, that many bytes
// of JSON with the message's own fields, and the rest is its body (a rank's output, fence data, arguments of a call).
//
// Both ends are of one version (the first exchange sees to that) and have the job's key. Fields are checked
// where they arrive all the same: a message that is not one ends the link, nothing else.
import { LeetError, type LeetErrorDetails, messageOf } from '../../common/index.ts'
import type { RankReport } from '../../mpi-bridge/index.ts'
import type { NodeEvent } from '../node/worker.ts'

/** What a NodeWorker is asked over a link. The arguments are in the body, each as JSON; those of `packed` are deflated. */
export type CallMethod = 'reserve' | 'boot' | 'prove' | 'openJob' | 'start' | 'collect' | 'merge' | 'stop'

/** Events of a NodeWorker except output, which has its own message. Errors travel as `WireError`. */
export type WireEvent = Exclude<NodeEvent, { kind: 'output' }>

/** A LeetError on its way. */
export type WireError = Omit<LeetErrorDetails, 'cause'>

/** Each message by its kind. `up` goes to the controller, `down` to an agent. */
export type Message =
  // Beginning: up, and down one of the two.
  | { kind: 'hello'; version: string; node: number; names: string[] }
  | { kind: 'welcome'; node: number; window: number; count: number; width: number; patience: number }
  | { kind: 'refused'; error: WireError }
  // Finding one's place in the tree of agents: `listening` and `astray` up, `parent` down; `child` between agents.
  | { kind: 'listening'; addresses: string[]; port: number }
  | { kind: 'parent'; addresses: string[]; port: number }
  | { kind: 'child'; node: number }
  | { kind: 'astray'; node: number; why: string }
  // Calls of the node's worker: down, `done` up.
  | { kind: 'call'; id: number; method: CallMethod; sizes: number[]; packed: number[] }
  | { kind: 'abort'; id: number; error: WireError }
  | { kind: 'done'; id: number; error?: WireError }
  // Ranks: down.
  | { kind: 'input'; task: number }
  | { kind: 'input-end'; task: number }
  | { kind: 'end'; graceMs: number }
  | { kind: 'signal'; signal: string; tasks: number[]; all: boolean }
  | { kind: 'credit'; bytes: number }
  // Ranks and guests: up.
  | { kind: 'input-taken'; task: number; bytes: number }
  | { kind: 'output'; task: number; stream: string }
  | { kind: 'event'; event: object }
  | { kind: 'signalled'; signal: string }
  // The exchange. `fence` up and `met` down, along the tree; `unmet` up and then down to all; `gone` down to all;
  // `ask` up and `answer` down; `question` down and `reply` up; `broadcast` both ways; `report` up.
  | { kind: 'fence'; id: string; agents: string; nodes: string; sizes: number[] }
  | { kind: 'met'; id: string; sizes: number[]; packed: boolean }
  | { kind: 'unmet'; id: string; error: WireError }
  | { kind: 'gone'; node: number; error: WireError }
  | { kind: 'ask'; id: number; to: number; topic: string }
  | { kind: 'answer'; id: number; error?: WireError }
  | { kind: 'question'; id: number; from: number; topic: string }
  | { kind: 'reply'; id: number; error?: WireError }
  | { kind: 'broadcast'; from: number; topic: string }
  | { kind: 'report'; report: RankReport }

type Field = 'whole' | 'index' | 'text' | 'flag' | 'object' | 'wholes' | 'texts' | 'object?'

// `index` is a node number or -1.
const FIELDS: { readonly [K in Message['kind']]: Readonly<Record<string, Field>> } = {
  hello: { version: 'text', node: 'index', names: 'texts' },
  welcome: { node: 'whole', window: 'whole', count: 'whole', width: 'whole', patience: 'whole' },
  refused: { error: 'object' },
  listening: { addresses: 'texts', port: 'whole' },
  parent: { addresses: 'texts', port: 'whole' },
  child: { node: 'whole' },
  astray: { node: 'whole', why: 'text' },
  call: { id: 'whole', method: 'text', sizes: 'wholes', packed: 'wholes' },
  abort: { id: 'whole', error: 'object' },
  done: { id: 'whole', error: 'object?' },
  input: { task: 'whole' },
  'input-end': { task: 'whole' },
  end: { graceMs: 'whole' },
  signal: { signal: 'text', tasks: 'wholes', all: 'flag' },
  credit: { bytes: 'whole' },
  'input-taken': { task: 'whole', bytes: 'whole' },
  output: { task: 'whole', stream: 'text' },
  event: { event: 'object' },
  signalled: { signal: 'text' },
  fence: { id: 'text', agents: 'text', nodes: 'text', sizes: 'wholes' },
  met: { id: 'text', sizes: 'wholes', packed: 'flag' },
  unmet: { id: 'text', error: 'object' },
  gone: { node: 'whole', error: 'object' },
  ask: { id: 'whole', to: 'index', topic: 'text' },
  answer: { id: 'whole', error: 'object?' },
  question: { id: 'whole', from: 'index', topic: 'text' },
  reply: { id: 'whole', error: 'object?' },
  broadcast: { from: 'index', topic: 'text' },
  report: { report: 'object' },
}

const isWhole = (value: unknown, least = 0) => Number.isSafeInteger(value) && (value as number) >= least
const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
const isList = (value: unknown, item: (one: unknown) => boolean) => Array.isArray(value) && value.every(item)

const CHECKS: { readonly [F in Field]: (value: unknown) => boolean } = {
  whole: (value) => isWhole(value),
  index: (value) => isWhole(value, -1),
  text: (value) => typeof value === 'string',
  flag: (value) => typeof value === 'boolean',
  object: isObject,
  'object?': (value) => value === undefined || isObject(value),
  wholes: (value) => isList(value, (one) => isWhole(one)),
  texts: (value) => isList(value, (one) => typeof one === 'string'),
}

/** Length of the length. */
const PREFIX = 4

/** The bytes of a message before its body. */
export function encodeHead(message: Message): Buffer {
  const json = JSON.stringify(message)
  const length = Buffer.byteLength(json)
  const head = Buffer.allocUnsafe(PREFIX + length)
  head.writeUInt32BE(length)
  head.write(json, PREFIX, 'utf8')
  return head
}

/** Reads a whole message; `LEET_E_LINK` when it is none. The body shares memory with `data`. */
export function decodeMessage(data: Buffer): { message: Message; body: Buffer } {
  const length = data.length >= PREFIX ? data.readUInt32BE() : Number.POSITIVE_INFINITY
  if (data.length < PREFIX + length) throw malformed('it is shorter than it says')
  const message = parseJson(data.subarray(PREFIX, PREFIX + length))
  if (!isObject(message)) throw malformed('it has no fields')
  const fields = message as Record<string, unknown>
  const shape = Object.hasOwn(FIELDS, String(fields.kind))
    ? FIELDS[fields.kind as Message['kind']]
    : undefined
  if (!shape) throw malformed('its kind is unknown')
  for (const [name, field] of Object.entries(shape)) {
    if (!CHECKS[field](fields[name])) throw malformed(`${fields.kind} has no proper ${name}`)
  }
  return { message: message as Message, body: data.subarray(PREFIX + length) }
}

/** Reads JSON from a body; `LEET_E_LINK` when it is none. */
export function parseJson(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'))
  } catch {
    throw malformed('it is not JSON')
  }
}

/** An error as it travels. */
export function toWire(error: unknown): WireError {
  if (!(error instanceof LeetError)) return { code: 'LEET_E_AGENT', what: messageOf(error) }
  const { cause: _, also, ...details } = error.details
  return also ? { ...details, also: also.map(({ cause: _, ...other }) => other) } : details
}

/** An error that arrived; `node`, where it came from, is named in it. */
export function fromWire(error: unknown, node?: string): LeetError {
  const { code, what, ...more } = (error ?? {}) as Partial<Record<keyof WireError, unknown>>
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
  const where = text(more.where)
  const onNode = where && node && !where.includes(node) ? `${where} on ${node}` : where
  return new LeetError({
    code: /^LEET_E_[A-Z_]{1,64}$/.test(String(code)) ? (code as WireError['code']) : 'LEET_E_AGENT',
    what: text(what) ?? 'an agent failed',
    where: onNode ?? node,
    why: text(more.why),
    hint: text(more.hint),
    ...(Array.isArray(more.also) ? { also: more.also.map((other) => fromWire(other, node).details) } : {}),
    ...(isWhole(more.exitCode) ? { exitCode: more.exitCode as number } : {}),
  })
}

/** A set of node numbers in few bytes: `0-3,7`. The numbers must ascend. */
export function encodeNodes(nodes: readonly number[]): string {
  const ranges: string[] = []
  for (let i = 0; i < nodes.length; i++) {
    const first = i
    while (nodes[i + 1] === (nodes[i] as number) + 1) i++
    ranges.push(first === i ? `${nodes[i]}` : `${nodes[first]}-${nodes[i]}`)
  }
  return ranges.join(',')
}

/** Reads `encodeNodes`'s text; `LEET_E_LINK` unless all numbers are below `count` and ascend. */
export function decodeNodes(text: string, count: number): number[] {
  const nodes: number[] = []
  for (const range of text.split(',')) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? first)
    if (!match || last >= count || last < first || first <= (nodes.at(-1) ?? -1)) {
      throw malformed('a list of nodes is not one')
    }
    for (let node = first; node <= last; node++) nodes.push(node)
  }
  return nodes
}

/** A message that cannot be read. */
export function malformed(why: string): LeetError {
  return new LeetError({
    code: 'LEET_E_LINK',
    what: 'a message between controller and agent cannot be read',
    why,
  })
}
