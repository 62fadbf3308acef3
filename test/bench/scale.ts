// `npm run bench:scale`: what a controller needs for many nodes. Each line is one simulated job with eight ranks a node,
// controller and agents in processes of their own over real TLS on loopback: connect, boot, launch, fence with data,
// output, teardown. Agents share the machine with the controller here, so wall times of what all agents do at once (in
// a fence each gets all cards: N² bytes) are this machine's; the controller's own time and memory are what counts.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Phase, RANKS_PER_NODE, type ScaleResult } from './scale/job.ts'

const SIZES = [128, 256, 512, 1000]
const PROCESSES = 2
const CONNECT_MS = 5_000
/** A fence at the least and at the largest size. */
const FENCE_MS = [500, 6_000] as const
const MEMORY = 300 * 2 ** 20
const EXPONENT = 1.1
const PHASES: readonly Phase[] = ['connect', 'boot', 'launch', 'fence', 'output', 'teardown']

// Compiled code is kept between runs, as for the real commands: turning TypeScript into JavaScript takes tens of megabytes.
const cache = mkdtempSync(join(tmpdir(), 'leet-bench-'))
process.once('exit', () => rmSync(cache, { recursive: true, force: true }))

function run(agents: number): ScaleResult {
  const program = fileURLToPath(new URL('scale/controller.ts', import.meta.url))
  // With V8's option of launcher/bin/leet-mpirun.
  const argv = ['--max-semi-space-size=4', program, `${agents}`, `${PROCESSES}`]
  const child = spawnSync(process.execPath, argv, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
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

const cell = (text: string) => text.padStart(14)
const ms = (value: number) => value.toFixed(0)
const allCpu = ({ cpu }: ScaleResult) => PHASES.reduce((sum, phase) => sum + cpu[phase], 0)
console.log("milliseconds of each phase, and the controller's own CPU time in it")
console.log(['agents', 'ranks', ...PHASES, 'CPU', 'stall', 'memory'].map(cell).join(''))
// Fills the cache.
run(PROCESSES)
const results: ScaleResult[] = []
for (const agents of SIZES) {
  const result = run(agents)
  results.push(result)
  const { wall, cpu, stall, memory } = result
  console.log(
    [
      ...[`${agents}`, `${agents * RANKS_PER_NODE}`],
      ...PHASES.map((phase) => `${ms(wall[phase])} (${ms(cpu[phase])})`),
      ...[ms(allCpu(result)), ms(stall), `${(memory / 2 ** 20).toFixed(0)} MB`],
    ]
      .map(cell)
      .join(''),
  )
}

const [least, last] = [results[0], results.at(-1)] as [ScaleResult, ScaleResult]
const line = (name: string, value: number, target: number, unit: string) =>
  console.log(
    `${name.padEnd(58)} ${value.toFixed(2)}${unit}, target at most ${target.toFixed(2)}${unit}` +
      (value > target ? '  MISSED' : ''),
  )
line(`${last.agents} agents connected`, last.wall.connect / 1000, CONNECT_MS / 1000, ' s')
for (const [i, { agents, wall }] of [least, last].entries()) {
  const name = `fence of ${agents * RANKS_PER_NODE} ranks over ${agents} agents`
  line(name, wall.fence / 1000, (FENCE_MS[i] as number) / 1000, ' s')
}
line(`controller's largest memory, ${last.agents} agents`, last.memory / 2 ** 20, MEMORY / 2 ** 20, ' MB')
line("exponent of the controller's CPU time against agents", exponent(results, allCpu), EXPONENT, '')
line(
  "exponent of the controller's memory against agents",
  exponent(results, ({ memory }) => memory),
  EXPONENT,
  '',
)
