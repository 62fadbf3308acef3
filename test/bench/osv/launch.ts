// `node launch.ts N`: starts four ranks in each of N simulated OSv guests, which live in a process of their own, and
// prints an OsvScaleResult.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Deadline, Scope, silentLog } from '../../../common/index.ts'
import type { RankStart } from '../../../mpi-bridge/channels/channel.ts'
import { type OsvChannel, openOsvChannel } from '../../../mpi-bridge/osv/channel.ts'
import { OsvRest } from '../../../mpi-bridge/osv/rest.ts'
import { type FromGuests, type OsvScaleResult, RANKS_PER_GUEST } from './run.ts'

const LIMIT_MS = 120_000
const count = Number(process.argv[2])
// As many variables as a batch job usually has.
const env = Object.fromEntries(
  Array.from({ length: 60 }, (_, i) => [`SOME_VARIABLE_${i}`, `/software/module/${i}/lib:/usr/lib`]),
)

let channels: readonly OsvChannel[] = []
const booted = Promise.withResolvers<readonly number[]>()
const child = fork(fileURLToPath(new URL('guests.ts', import.meta.url)), [`${count}`])
child.on('message', (message: FromGuests) => {
  if (message.kind === 'ports') booted.resolve(message.ports)
  else for (const [guest, line] of message.lines) channels[guest]?.consoleData(Buffer.from(line, 'latin1'))
})
const ports = await booted.promise

const scope = Scope.open({ name: 'the bench', warn: (line) => console.error(line) })
let left = count * RANKS_PER_GUEST
const over = Promise.withResolvers<void>()
const idle = memoryNow()
channels = ports.map((port, index) =>
  openOsvChannel({
    scope,
    rest: new OsvRest({ guest: `g${index}`, host: '127.0.0.1', port }),
    listener: (event) => {
      if (event.kind === 'failed' || event.kind === 'lost') over.reject(event.error)
      if (event.kind === 'ended' && --left === 0) over.resolve()
    },
    log: silentLog,
    compat: true,
    nonce: 'bench',
  }),
)
const begin = performance.now()
await Promise.all(channels.map((channel, guest) => channel.start(ranksOf(guest))))
const started = performance.now() - begin
await over.promise
const ended = performance.now() - begin
const memory = memoryNow() - idle
await scope.end(Deadline.after(LIMIT_MS))
child.disconnect()
console.log(JSON.stringify({ guests: count, started, ended, memory } satisfies OsvScaleResult))

function ranksOf(guest: number): RankStart[] {
  return Array.from({ length: RANKS_PER_GUEST }, (_, i) => ({
    rank: guest * RANKS_PER_GUEST + i,
    argv: ['/bin/true'],
    env,
    cwd: '/tmp',
    stdin: false,
    terminal: false,
  }))
}

/** Without what only waits to be collected. */
function memoryNow(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
