// `npm run bench:fuzz`: how much strangers on all ports of a running job slow it, against the same traffic on a port that
// is nobody's. Pairs of one MPI job with 16 ranks in four pretended guests.

import { runLocalJob } from '../protocol/local-job.ts'
import { buildPrograms } from '../protocol/programs/build.ts'
import { strangers } from '../support/strangers.ts'
import { ratioLine, ratioOf } from './pairs.ts'

const PAIRS = 9
/** Connections a second, of each kind of attack as many: some megabytes a second. */
const RATE = 1000
const GUESTS = [0, 4, 8, 12].map((first) => [first, first + 1, first + 2, first + 3])

const programs = await buildPrograms('mpicc.mpich', ['work'])

/** Runs the job under attack; gives its milliseconds, and what the fuzzer did in a second. */
async function run(where: 'job' | 'elsewhere') {
  const fuzzer = strangers(where, RATE)
  const { ranks } = await runLocalJob({
    argv: [programs.path('work')],
    guests: GUESTS,
    env: { HWLOC_COMPONENTS: '-gl,-opencl', UCX_TLS: 'tcp,self', UCX_NET_DEVICES: 'lo' },
    finalizeRescue: { graceMs: 1000 },
    disturb: fuzzer.disturb,
  })
  if (ranks.some(({ status }) => status !== 0)) throw new Error('a rank failed')
  const { took, connections, bytes } = fuzzer.report()
  return { took, connections: (connections * 1000) / took, bytes: (bytes * 1000) / took }
}

try {
  await run('job')
  const pairs = []
  for (let nth = 0; nth < PAIRS; nth++) pairs.push([await run('job'), await run('elsewhere')] as const)
  const times = ratioOf(pairs.map(([here, there]) => [here.took, there.took] as const))
  console.log(ratioLine('16 ranks, strangers on its ports / on another', times, 1.1))
  for (const what of ['connections', 'bytes'] as const) {
    const traffic = ratioOf(pairs.map(([here, there]) => [here[what], there[what]] as const))
    console.log(`${what} a second: ${traffic.a.toFixed(0)} there, ${traffic.b.toFixed(0)} elsewhere`)
  }
} finally {
  programs.remove()
}
