// One run of the scale benchmark: `node controller.ts AGENTS PROCESSES` is the controller of a simulated job with
// eight ranks on each of AGENTS nodes; it starts the processes with the agents itself and prints a ScaleResult.
import { spawn } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { Deadline, Scope, silentLog } from '../../../common/index.ts'
import { startHub } from '../../../launcher/agents/hub.ts'
import { encodeInvitation } from '../../../launcher/agents/invitation.ts'
import { createController } from '../../../launcher/job/controller.ts'
import type { LinuxSecrets } from '../../../launcher/node/worker.ts'
import type { JobPlan } from '../../../launcher/plan/plan.ts'
import {
  LINE_BYTES,
  LINES,
  type Phase,
  RANKS_PER_NODE,
  type ScaleResult,
  STEP_TOPIC,
  type Step,
  VERSION,
} from './job.ts'

const LIMIT_MS = 600_000
const MIB = 2 ** 20

const [agents, processes] = process.argv.slice(2).map(Number) as [number, number]
const nodes = Array.from({ length: agents }, (_, node) => `node${String(node).padStart(4, '0')}.cluster`)
const ranks = agents * RANKS_PER_NODE

const plan: JobPlan = {
  jobId: 'scale',
  guestKind: 'linux',
  hypervisor: { kind: 'qemu' },
  pinning: 'no',
  scheduler: 'slurm',
  nodes: nodes.map((name) => ({ name, slots: RANKS_PER_NODE, cpus: RANKS_PER_NODE, memory: 16384 * MIB })),
  guests: nodes.map((_, node) => ({
    index: node,
    name: `leet-scale-g${node}`,
    node,
    cpus: RANKS_PER_NODE,
    memory: 8192 * MIB,
    ranks: Array.from({ length: RANKS_PER_NODE }, (_, i) => node * RANKS_PER_NODE + i),
  })),
  programs: [
    {
      argv: ['/home/user/bin/solver', '-parallel'],
      ranks,
      workDir: '/home/user/case',
      exports: [],
      inherits: true,
      mpi: 'mpich',
    },
  ],
  size: ranks,
  stdin: 0,
  environmentEdits: [],
  mounts: [],
  network: { mode: 'local', subnet: '10.77.0.0/16' },
  staging: { when: 'auto', add: [] },
  finalizeRescue: false,
  user: {
    name: 'user',
    uid: 1000,
    group: 'user',
    gid: 1000,
    groups: [1000],
    home: '/home/user',
    shell: '/bin/sh',
  },
  treeWidth: 32,
  limits: { boot: LIMIT_MS, run: undefined, patience: LIMIT_MS, retries: 0, silence: 120_000 },
}
// As many variables as a batch job usually has.
const environment = Object.fromEntries(
  Array.from({ length: 60 }, (_, i) => [`SOME_VARIABLE_${i}`, `/software/module/${i}/lib:/usr/lib`]),
)

// Resolves when all agents have asked about a step, that is have done it.
let arrive: Record<string, () => void> = {}
let outputBytes = 0
let told: () => void = () => {}
let started = 0
const until = async (what: string, wait: Promise<void>) => {
  const timer = setTimeout(() => {
    throw new Error(`${what} took more than ${LIMIT_MS / 1000} s`)
  }, LIMIT_MS)
  await wait
  clearTimeout(timer)
}

const scope = Scope.open({ name: 'the bench', warn: (line) => console.error(line) })
const hub = await startHub({
  scope,
  width: 32,
  nodes,
  version: VERSION,
  log: silentLog,
  onReport: (report) => controller.onReport(report),
  onEvent: (node, event) => controller.onNodeEvent(node, event),
  onLost: (_, error) => {
    throw error
  },
  onSignal() {},
  addresses: ['127.0.0.1'],
})
const controller = createController({
  plan,
  workers: hub.workers,
  exchange: hub.exchange,
  bootOrder: (node, addresses) => ({ plan, node, image: undefined, addresses, secrets: SECRETS }),
  environmentOf: (_, guest) => ({ ...environment, GUEST: `${guest}` }),
  onEvent(event) {
    if (event.event !== 'rank' || event.state !== 'initialised') return
    if (++started === ranks) told()
  },
  onOutput(_task, _stream, data) {
    outputBytes += data.length
    if (outputBytes === ranks * LINES * LINE_BYTES) told()
  },
  onTaskEnd() {},
  onEnding() {},
})
const SECRETS: LinuxSecrets = {
  kind: 'linux',
  hostKey: { privateKey: 'x'.repeat(400), publicKey: 'y'.repeat(80) },
  clientKey: { privateKey: 'x'.repeat(400), publicKey: 'y'.repeat(80) },
}

async function step(name: Step): Promise<void> {
  let left = agents
  const done = new Promise<void>((resolve) => {
    arrive = { [name]: () => --left === 0 && resolve() }
  })
  hub.exchange.broadcast(STEP_TOPIC, Buffer.from(name))
  await until(name, done)
}
for (const name of ['fence', 'output', 'end'] as const) {
  hub.exchange.answer(name, async () => {
    arrive[name]?.()
    return new Uint8Array()
  })
}
const toldBy = () =>
  new Promise<void>((resolve) => {
    told = resolve
  })

// Nodes are dealt out in turn: those with others below them in the tree, which have the most to do, have the lowest numbers.
const children = Array.from({ length: processes }, (_, first) => {
  const program = fileURLToPath(new URL('agents.ts', import.meta.url))
  return spawn(process.execPath, [program, `${first}`, `${processes}`, `${agents}`], {
    stdio: ['pipe', 'inherit', 'inherit'],
  }).once('exit', (status) => {
    if (status !== 0) throw new Error('the agents failed')
  })
})

const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
const wall: Record<string, number> = {}
const cpu: Record<string, number> = {}
const timed = async (phase: Phase, work: () => Promise<unknown>) => {
  const [begin, before] = [performance.now(), process.cpuUsage()]
  await work()
  wall[phase] = performance.now() - begin
  const { user, system } = process.cpuUsage(before)
  cpu[phase] = (user + system) / 1000
}
const never = new AbortController().signal
await timed('connect', async () => {
  for (const child of children) child.stdin.end(encodeInvitation(hub.invitation))
  await hub.ready({ deadline: Deadline.after(LIMIT_MS) })
})
await timed('boot', () => controller.boot(never))
let over: Promise<unknown> = Promise.resolve()
await timed('launch', async () => {
  const initialised = toldBy()
  over = controller.run(never)
  await until('launch', initialised)
})
await timed('fence', () => step('fence'))
await timed('output', async () => {
  const complete = toldBy()
  await step('output')
  await until('output', complete)
})
await timed('teardown', async () => {
  await step('end')
  await over
  await controller.stop()
  await scope.end()
})
const result: ScaleResult = {
  agents,
  wall: wall as ScaleResult['wall'],
  cpu: cpu as ScaleResult['cpu'],
  stall: delay.max / 1e6,
  memory: process.resourceUsage().maxRSS * 1024,
}
console.log(JSON.stringify(result))
