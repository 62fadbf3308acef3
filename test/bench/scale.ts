// `npm run bench:scale`: what a controller needs for many nodes. Each line is one simulated job with eight ranks a node,
// controller and agents in processes of their own over real TLS on loopback: connect, boot, launch, fence with data,
// output, teardown. Agents share the machine with the controller here, so wall times of what all agents do at once (in
// a fence each gets all cards: N² bytes) are this machine's; the controller's own time and memory are what counts.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { RANKS_PER_NODE, type ScaleResult } from './scale/job.ts'

const SIZES = [125, 250, 500, 1000]
const PROCESSES = 2
const CONNECT_MS = 5_000
const MEMORY = 300 * 2 ** 20
const EXPONENT = 1.1
const PHASES = ['connect', 'boot', 'launch', 'fence', 'output', 'teardown'] as const

function run(agents: number): ScaleResult {
  const program = fileURLToPath(new URL('scale/controller.ts', import.meta.url))
  const child = spawnSync(process.execPath, [program, `${agents}`, `${PROCESSES}`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.status !== 0) throw new Error(`the run with ${agents} agents failed`)
  return JSON.parse(child.stdout)
}

/** The slope of a straight line through the logarithms, by least squares. */
function exponent(results: readonly ScaleResult[], of: (result: ScaleResult) => number): number {
  const points = results.map((result) => [Math.log(result.agents), Math.log(of(result))] as const)
  const mean = (i: 0 | 1) => points.reduce((sum, point) => sum + point[i], 0) / points.length
  const [mx, my] = [mean(0), mean(1)]
  const covariance = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0)
  return covariance / points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0)
}

const cell = (text: string) => text.padStart(10)
const ms = (value: number) => cell(`${value.toFixed(0)} ms`)
console.log(
  [cell('agents'), cell('ranks'), ...PHASES.map(cell), cell('CPU'), cell('stall'), cell('memory')].join(''),
)
const results: ScaleResult[] = []
for (const agents of SIZES) {
  const result = run(agents)
  results.push(result)
  const { wall, cpu, stall, memory } = result
  const figures = [...PHASES.map((phase) => wall[phase]), cpu, stall].map(ms)
  console.log(
    [
      cell(`${agents}`),
      cell(`${agents * RANKS_PER_NODE}`),
      ...figures,
      cell(`${(memory / 2 ** 20).toFixed(0)} MB`),
    ].join(''),
  )
}

const last = results.at(-1) as ScaleResult
const line = (name: string, value: number, target: number, unit: string) =>
  console.log(
    `${name.padEnd(58)} ${value.toFixed(2)}${unit}, target at most ${target.toFixed(2)}${unit}` +
      (value > target ? '  MISSED' : ''),
  )
line(`${last.agents} agents connected`, last.wall.connect / 1000, CONNECT_MS / 1000, ' s')
line(`controller's largest memory, ${last.agents} agents`, last.memory / 2 ** 20, MEMORY / 2 ** 20, ' MB')
line(
  "exponent of the controller's CPU time against agents",
  exponent(results, ({ cpu }) => cpu),
  EXPONENT,
  '',
)
line(
  "exponent of the controller's memory against agents",
  exponent(results, ({ memory }) => memory),
  EXPONENT,
  '',
)
