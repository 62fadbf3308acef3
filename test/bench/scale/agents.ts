// Many simulated agents in one process: `node agents.ts FIRST STEP AGENTS` is every STEPth of AGENTS nodes from FIRST on, and
// reads the invitation from standard input.
import { text } from 'node:stream/consumers'
import { Deadline, Scope, silentLog } from '../../../common/index.ts'
import { startAgent } from '../../../launcher/agents/agent.ts'
import { decodeInvitation } from '../../../launcher/agents/invitation.ts'
import type { NodeWorker, RankOrder, WorkerContext } from '../../../launcher/node/worker.ts'
import { CONTROLLER, type JobLayout } from '../../../mpi-bridge/index.ts'
import { cardOf, LINE_BYTES, LINES, RANKS_PER_NODE, STEP_TOPIC, type Step, VERSION } from './job.ts'

const LIMIT_MS = 600_000

const everybody = ({ guests }: JobLayout) => guests.map(({ agent }) => agent)

// A node whose ranks do at once what they are told.
function makeWorker({ exchange, emit }: WorkerContext): NodeWorker {
  let layout: JobLayout | undefined
  let orders: readonly RankOrder[] = []
  const limits = () => ({ deadline: Deadline.after(LIMIT_MS) })
  const line = Buffer.alloc(LINE_BYTES, 'x').fill('\n', LINE_BYTES - 1)
  const report = (kind: 'connected' | 'initialised' | 'finalised') => {
    for (const { rank } of orders) exchange.report({ kind, job: (layout as JobLayout).id, rank })
  }
  const steps: Record<Step, () => Promise<void>> = {
    async fence() {
      const ranks = Array.from({ length: RANKS_PER_NODE }, (_, i) => exchange.agent * RANKS_PER_NODE + i)
      const cards = Buffer.from(ranks.map(cardOf).join(''))
      const all = await exchange.fence('cards', everybody(layout as JobLayout), cards, limits())
      const isOf = (part: Uint8Array, agent: number) =>
        Buffer.from(part.buffer, part.byteOffset, 24)
          .toString()
          .startsWith(`P${agent * RANKS_PER_NODE}-`)
      if (!all.every(isOf)) throw new Error('the fence mixed up its data')
    },
    async output() {
      for (let i = 0; i < LINES; i++) {
        for (const { task } of orders) emit({ kind: 'output', task, stream: 'stdout', data: line })
      }
    },
    async end() {
      report('finalised')
      for (const { task } of orders) emit({ kind: 'ended', task, end: { kind: 'exit', status: 0 } })
    },
  }
  exchange.answer(STEP_TOPIC, async (message) => {
    const step = Buffer.from(message).toString() as Step
    await steps[step]()
    await exchange.ask(CONTROLLER, step, new Uint8Array(), limits())
    return new Uint8Array()
  })
  return {
    async reserve() {},
    async boot({ plan, node }) {
      for (const { index } of plan.guests.filter((guest) => guest.node === node)) {
        emit({ kind: 'guest', guest: index, state: 'ready' })
      }
    },
    async prove() {},
    async openJob(opened) {
      layout = opened
    },
    async start(_job, ranks) {
      orders = ranks
      for (const { task } of ranks) emit({ kind: 'began', task, pid: 1 })
      report('connected')
      report('initialised')
    },
    async write() {},
    endInput() {},
    signal() {},
    holdOutput() {},
    end() {},
    async collect() {},
    async merge() {},
    async stop() {},
  }
}

const [first, step, agents] = process.argv.slice(2).map(Number) as [number, number, number]
const invitation = decodeInvitation(await text(process.stdin))
const scope = Scope.open({ name: 'the bench', warn: (line) => console.error(line) })
const ends = await Promise.all(
  Array.from({ length: Math.ceil((agents - first) / step) }, async (_, i) => {
    const agent = await startAgent({
      scope,
      invitation,
      version: VERSION,
      names: [],
      node: first + i * step,
      makeWorker,
      log: silentLog,
      deadline: Deadline.after(LIMIT_MS),
    })
    return agent.ended
  }),
)
await Promise.all(ends)
