// Boots guests in pairs, many times, as users' jobs do: `npm run soak -- [--boots N] [--guest linux|osv] [--load]`. Counts the
// guests that hung and were booted again, the jobs that were lost, and what they left. With --load beside two busy loops
// for each processor, as on a node that others use too.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { JobEvent } from '../../launcher/job/events.ts'
import { Timings } from '../../launcher/job/timings.ts'
import { leetMpirun, playground } from '../support/leet.ts'

const { values } = parseArgs({
  options: {
    boots: { type: 'string', default: '200' },
    guest: { type: 'string', default: 'linux' },
    load: { type: 'boolean', default: false },
  },
})
const pairs = Math.ceil(Number(values.boots) / 2)
if (!(pairs >= 1)) throw new Error(`--boots ${values.boots} is no number of boots`)

/** What a job told, and when in milliseconds. */
function timingsOf(file: string): Timings {
  const timings = new Timings()
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const { time, ...event } = JSON.parse(line) as JobEvent & { time: number }
    timings.add(event as JobEvent, time * 1000)
  }
  return timings
}

const place = playground()
const busy = (): ChildProcess => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })
const loads = values.load ? Array.from({ length: 2 * availableParallelism() }, busy) : []
const events = join(place.directory, 'events')
const guests = ['--guest', values.guest, '--guests', '2', '--guest-memory', '384M', '--guest-cpus', '2']
const ready: number[] = []
let replaced = 0
let lost = 0
let interrupted = false
process.once('SIGINT', () => {
  interrupted = true
})

/** Of the jobs so far. */
function report(): string {
  const times = ready.toSorted((a, b) => a - b)
  const seconds = (ms: number | undefined) => (ms === undefined ? '-' : `${(ms / 1000).toFixed(1)} s`)
  const left = `${place.processes().length} processes and ${place.files().length} files left`
  const time = `ready after ${seconds(times[times.length >> 1])} (median), ${seconds(times.at(-1))} (longest)`
  return `${2 * (ready.length + lost)} boots, ${replaced} replaced, ${lost} jobs lost, ${left}; ${time}`
}

for (let pair = 1; pair <= pairs && !interrupted; pair++) {
  rmSync(events, { force: true })
  const { status, stderr } = await leetMpirun([...guests, '--events', events, '-n', '2', 'true'], {
    cwd: place.directory,
    env: place.env,
  })
  const timings = timingsOf(events)
  replaced += timings.hung
  const took = timings.took('boot')
  if (status === 0 && took !== undefined) ready.push(took)
  else lost += 1
  if (status !== 0 || timings.hung > 0) console.log(`pair ${pair}, status ${status}:\n${stderr}`)
  if (pair % 10 === 0) console.log(report())
}
for (const load of loads) load.kill('SIGKILL')
console.log(report())
process.exitCode = lost > 0 || place.processes().length > 0 || place.files().length > 0 ? 1 : 0
place.remove()
