// `npm run bench:pmi`: the process manager under many ranks. Raw PMI-1 clients in another process connect over
// loopback, put 4 keys of 256 bytes each, meet in a fence and get each other's keys. Figures of this machine, now.
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Scope, silentLog } from '../../common/index.ts'
import type { JobLayout } from '../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../mpi-bridge/local-exchange.ts'
import { openProcessManager } from '../../mpi-bridge/process-manager.ts'
import { createExchangeNet } from '../simulators/exchange-net.ts'
import type { BenchOrder, BenchRank, BenchReply } from './pmi-clients.ts'

/** What was measured with so many ranks. */
export interface PmiFigures {
  readonly ranks: number
  readonly services: number
  /** Milliseconds until all ranks were connected. */
  readonly connectMs: number
  /** Milliseconds from the last rank's entry into the fence to the last rank's release; the median of the fences. */
  readonly fenceMs: number
  readonly getsPerSecond: number
  /** Growth of live memory (heap and buffers after a collection) by a rank and its keys, in bytes. */
  readonly liveBytes: number
  /** Growth of the resident set by a rank and its keys, in bytes; holds what the collector does not give back. */
  readonly residentBytes: number
}

const KEYS = 4
const BYTES = 256
const GETS = 64
const FENCES = 5

/** Measures `ranks` ranks dealt out to `services` process managers, each standing for a node with one guest. */
export async function benchPmi(ranks: number, services: number): Promise<PmiFigures> {
  const exchanges = services === 1 ? [createLocalExchange(() => {})] : createExchangeNet(services, () => {})
  const each = ranks / services
  const layout: JobLayout = {
    id: `leet-${randomBytes(16).toString('hex')}`,
    size: ranks,
    guests: exchanges.map((_, agent) => ({
      guest: agent,
      name: `guest${agent}`,
      agent,
      ranks: Array.from({ length: each }, (_, nth) => agent * each + nth),
    })),
    appnums: Array.from({ length: ranks }, () => 0),
  }
  const scope = Scope.open({ name: 'the bench', warn: (line) => console.error(line) })
  const managers = exchanges.map((exchange) => openProcessManager({ scope, exchange, log: silentLog }))
  const clients = fork(fileURLToPath(new URL('pmi-clients.ts', import.meta.url)))
  try {
    const before = memory()
    const places: BenchRank[] = []
    for (const [agent, manager] of managers.entries()) {
      manager.addJob(layout)
      const address = await manager.listen(agent, '127.0.0.1')
      for (const rank of layout.guests[agent]?.ranks ?? []) {
        const { PMI_ID: id = '' } = manager.environment(layout.id, rank, address)
        places.push({ port: address.port, id, kvs: layout.id })
      }
    }
    const connected = await order(clients, { do: 'connect', ranks: places })
    await order(clients, { do: 'put', keys: KEYS, bytes: BYTES })
    // The first fence carries the data; the others show what meeting alone costs.
    const first = await order(clients, { do: 'fence' })
    const gets = await order(clients, { do: 'get', each: GETS, keys: KEYS })
    const after = memory()
    const fences = [first.afterLast]
    for (let nth = 1; nth < FENCES; nth++) {
      await order(clients, { do: 'put', keys: KEYS, bytes: BYTES })
      fences.push((await order(clients, { do: 'fence' })).afterLast)
    }
    fences.sort((a, b) => a - b)
    return {
      ranks,
      services,
      connectMs: connected.total,
      fenceMs: fences[FENCES >> 1] as number,
      getsPerSecond: (ranks * GETS * 1000) / gets.total,
      liveBytes: (after.live - before.live) / ranks,
      residentBytes: (after.resident - before.resident) / ranks,
    }
  } finally {
    clients.kill()
    await scope.end()
  }
}

/** How fast the time of a fence grows: T ~ ranks^exponent, between the first and the last figures. */
export function exponentOf(figures: readonly PmiFigures[]): number {
  const [first, last] = [figures[0], figures.at(-1)]
  if (!first || !last) return Number.NaN
  return Math.log(last.fenceMs / first.fenceMs) / Math.log(last.ranks / first.ranks)
}

/** One line of figures. */
export function pmiLine(figures: PmiFigures): string {
  return (
    `PMI-1, ${figures.ranks} ranks on ${figures.services} service${figures.services > 1 ? 's' : ''}: ` +
    `connected in ${figures.connectMs.toFixed(0)} ms, fence ${figures.fenceMs.toFixed(1)} ms, ` +
    `${Math.round(figures.getsPerSecond)} gets/s, ${(figures.liveBytes / 1000).toFixed(1)} kB a rank ` +
    `(resident ${(figures.residentBytes / 1000).toFixed(1)} kB)`
  )
}

async function order(clients: ChildProcess, what: BenchOrder): Promise<BenchReply> {
  clients.send(what)
  const [reply] = await once(clients, 'message')
  return reply as BenchReply
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function memory(): { readonly live: number; readonly resident: number } {
  collect()
  const { rss, heapUsed, external } = process.memoryUsage()
  return { live: heapUsed + external, resident: rss }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // What code and its first use take is no rank's.
  await benchPmi(16, 1)
  const single: PmiFigures[] = []
  for (const ranks of [64, 256, 1024]) {
    single.push(await benchPmi(ranks, 1))
    console.log(pmiLine(single.at(-1) as PmiFigures))
  }
  const many: PmiFigures[] = []
  for (const ranks of [1024, 2048, 4096]) {
    many.push(await benchPmi(ranks, 64))
    console.log(pmiLine(many.at(-1) as PmiFigures))
  }
  console.log(
    `exponent of the fence: ${exponentOf(single).toFixed(2)} on one service, ${exponentOf(many).toFixed(2)} on 64; ` +
      'targets: 1,024 ranks on one service at most 500 ms, exponent at most 1.1, at most 20 kB a rank',
  )
}
