// The small MPI program that leet bench measures latency, bandwidth and allreduce with: compiled with the user's own
// mpicc, so that it has the MPI that his programs have, and its lines read. OSU's benchmarks are read the same way.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'
import type { CurveName, Measurement } from './results.ts'

/** First words of each line of micro.c. */
const WORD = 'leet-bench'

/** Compiles micro.c to `program` with an MPI compiler; `LEET_E_BENCH` with what the compiler says. */
export async function compileMicro(mpicc: string, program: string, limits: WaitLimits): Promise<void> {
  const source = fileURLToPath(new URL('micro.c', import.meta.url))
  const { status, stderr } = await runCommand([mpicc, '-O2', '-o', program, source], limits)
  if (status === 0) return
  throw new LeetError({
    code: 'LEET_E_BENCH',
    what: 'the small MPI program of leet bench cannot be compiled',
    where: mpicc,
    why: stderr.trim().split('\n').slice(0, 5).join('\n'),
    hint: '--mpicc COMPILER, or --no-micro',
  })
}

/** Whether this line says that all ranks are through MPI_Init: the first that rank 0 of a benchmark prints. */
export function saysBegin(line: string): boolean {
  return line.startsWith(`${WORD} begin `) || /^# OSU MPI/.test(line)
}

/** Reads what micro.c printed; undefined unless it came to its end. */
export function parseMicro(output: string): Measurement[] | undefined {
  const found: Measurement[] = []
  for (const line of output.split('\n')) {
    if (line === `${WORD} end`) return found
    const match = /^leet-bench (latency|bandwidth|allreduce) (\d+) (\d\S*)$/.exec(line)
    if (!match) continue
    const [, metric, size, value] = match
    if (Number.isFinite(Number(value)))
      found.push({ metric: metric as CurveName, size: Number(size), value: Number(value) })
  }
  return undefined
}

/** OSU's program for each curve. */
const OSU_PROGRAMS: Readonly<Record<CurveName, string>> = {
  latency: 'osu_latency',
  bandwidth: 'osu_bw',
  allreduce: 'osu_allreduce',
}

/** OSU's programs when all are on PATH. */
export function findOsu(path: string): Readonly<Record<CurveName, string>> | undefined {
  const found = Object.entries(OSU_PROGRAMS).map(([curve, name]) => [curve, onPath(name, path)] as const)
  return found.every(([, file]) => file !== undefined)
    ? (Object.fromEntries(found) as Record<CurveName, string>)
    : undefined
}

/** Reads a table of OSU's: size, then microseconds, or 10^6 bytes a second. undefined when there is none. */
export function parseOsu(curve: CurveName, output: string): Measurement[] | undefined {
  if (!/^# OSU MPI/m.test(output)) return undefined
  const scale = curve === 'bandwidth' ? 1e6 : 1e-6
  const rows = [...output.matchAll(/^(\d+)[ \t]+(\d+(?:\.\d+)?)(?:[ \t].*)?$/gm)]
  // A message of no bytes has no place on an axis of powers.
  const found = rows
    .map(([, size, value]) => ({ metric: curve, size: Number(size), value: Number(value) * scale }))
    .filter(({ size, value }) => size > 0 && value > 0)
  return found.length > 0 ? found : undefined
}

/** Whether a command is there. */
export function isOnPath(name: string): boolean {
  return onPath(name, process.env.PATH ?? '') !== undefined
}

function onPath(name: string, path: string): string | undefined {
  const folders = path.split(delimiter).filter(Boolean)
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
