// `npm run bench:osv`: ranks in many OSv guests, simulated, with the launcher in a process of its own; and, where
// LEET_OSV_BASE names what OSv's build left, boot and composition with the real one.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { OsvScaleResult } from './osv/run.ts'
import { ratioLine } from './pairs.ts'

const SIZES = [250, 500, 1000]
const START_MS = 10_000
/** "Flat" with the noise of a collector that runs when it likes. */
const GROWTH = 1.2
const COMPOSE_RATIO = 1.5
const BOOT_RATIO = 1.2
const FILES_S = 1

function run(guests: number): OsvScaleResult {
  const program = fileURLToPath(new URL('osv/launch.ts', import.meta.url))
  const child = spawnSync(process.execPath, ['--expose-gc', program, `${guests}`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.status !== 0) throw new Error(`the run with ${guests} guests failed`)
  return JSON.parse(child.stdout)
}

const perGuest = ({ memory, guests }: OsvScaleResult) => memory / guests / 1024
const line = (name: string, value: number, target: number, unit: string) =>
  console.log(
    `${name.padEnd(58)} ${value.toFixed(2)}${unit}, target at most ${target.toFixed(2)}${unit}` +
      (value > target ? '  MISSED' : ''),
  )

const results = SIZES.map(run)
for (const result of results) {
  const { guests, started, ended } = result
  console.log(
    `${guests} guests, ${4 * guests} ranks: started in ${started.toFixed(0)} ms, ended after ${ended.toFixed(0)} ms, ` +
      `${perGuest(result).toFixed(1)} KiB a guest`,
  )
}
const [first, last] = [results[0], results.at(-1)] as [OsvScaleResult, OsvScaleResult]
line(
  `${4 * last.guests} ranks in ${last.guests} simulated guests started`,
  last.started / 1000,
  START_MS / 1000,
  ' s',
)
line('memory per guest, most against fewest guests', perGuest(last) / perGuest(first), GROWTH, '')

if (process.env.LEET_OSV_BASE === undefined) {
  console.log('left out: boot and composition (LEET_OSV_BASE names no OSv base)')
} else {
  const { benchOsvBoot, benchOsvCompose } = await import('./osv/real.ts')
  const work = mkdtempSync(join(tmpdir(), 'leet-bench-'))
  try {
    const composed = await benchOsvCompose(work)
    console.log(ratioLine('image of a 300 MB closure / cp and sync', composed, COMPOSE_RATIO))
    for (const guests of [1, 4]) {
      const name = `boot of ${guests} OSv guest${guests === 1 ? '' : 's'}: leet-mpirun / QEMU by hand`
      console.log(ratioLine(name, await benchOsvBoot(work, guests), BOOT_RATIO))
    }
    const { benchOsvFiles } = await import('./osv/files.ts')
    const { files, none } = benchOsvFiles(process.env.LEET_OSV_BASE)
    const what = `100 files, 20 MB, in and back (${files.toFixed(1)} s against ${none.toFixed(1)} s)`
    line(what, files - none, FILES_S, ' s more')
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
