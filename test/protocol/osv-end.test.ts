// The end of ranks in OSv guests, where nothing can be signalled: those that speak PMIx are told to end, and a guest whose
// ranks do not is powered off. A node's worker against simulated guests of a session.
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Deadline, identify, type ProcessIdentity, poll, silentLog } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { createLocalWorker } from '../../launcher/node/local-worker.ts'
import type { NodeEvent, NodeWorker } from '../../launcher/node/worker.ts'
import type { JobPlan } from '../../launcher/plan/plan.ts'
import { createLocalExchange } from '../../mpi-bridge/index.ts'
import { OsvRest } from '../../mpi-bridge/osv/rest.ts'
import { OsvGuest } from '../simulators/osv/guest.ts'
import { describeWith } from '../support/needs.ts'
import { openScope } from '../support/scope.ts'
import { planOf } from '../unit/job/simulated-job.ts'
import { buildPrograms, type Programs } from './programs/build.ts'
import { buildPmixPrograms, type PmixPrograms } from './programs/pmix-build.ts'

const limits = () => ({ deadline: Deadline.after(20_000) })
const here = identify(process.pid) as ProcessIdentity
const never = new AbortController().signal
/** A grace that no test waits for. */
const LONG_MS = 600_000

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-osv-end-'))
})
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  rmSync(folder, { recursive: true, force: true })
})

interface Running {
  readonly worker: NodeWorker
  /** Waits until so many ranks wrote this line. */
  wrote(line: string, count: number): Promise<unknown>
  /** Waits for the ends of these ranks. */
  ends(ranks: number): Promise<unknown[]>
  /** Waits until the guest is no more. */
  gone(): Promise<unknown>
  /** Whether the guest still answers. */
  answers(): Promise<boolean>
}

/** Starts ranks in one guest. */
async function run(
  argv: readonly [string, ...string[]],
  ranks: number,
  env: Record<string, string> = {},
): Promise<Running> {
  const console = join(folder, 'console')
  const workDir = join(folder, 'case')
  mkdirSync(workDir)
  writeFileSync(console, '')
  const ended = Promise.withResolvers<void>()
  const guest = await OsvGuest.boot({
    ...{ compat: true, programs: { '/program': argv[0] } },
    onConsole: (data) => appendFileSync(console, data),
    onEnd: ended.resolve,
  })
  cleanups.push(() => guest.remove())
  const own = planOf([Array.from({ length: ranks }, (_, rank) => rank)])
  const name = folder.split('/').at(-1) as string
  const plan: JobPlan = {
    ...own,
    guestKind: 'osv',
    session: { id: 'session', needs: [] },
    guests: own.guests.map((one) => ({ ...one, name })),
    programs: own.programs.map((one) => ({ ...one, argv, workDir })),
  }
  const events: NodeEvent[] = []
  const journal = await Journal.open({ jobId: 'end', root: join(folder, 'root') })
  const scope = openScope()
  cleanups.push(() => journal.close(limits()))
  cleanups.push(() => scope.end())
  const worker = createLocalWorker({
    ...{ scope, journal, log: silentLog },
    exchange: createLocalExchange(() => {}),
    emit: (event) => events.push(event),
  })
  const held = { port: guest.port, serviceAddress: '127.0.0.1', osv: { machine: here, console } }
  const files = { kernel: '', disk: '', compat: true, tls: false, mountTool: undefined, links: [] }
  await worker.boot(
    {
      ...{ plan, node: 0, addresses: ['127.0.0.1'], secrets: { kind: 'host' } },
      image: { kind: 'osv', ...files, programs: { [argv[0]]: '/program' } },
      held: { access: { kind: 'osv' }, guests: { [name]: held } },
    },
    never,
  )
  const layout = {
    ...{ id: 'leet-0123456789abcdef', size: ranks, appnums: Array.from({ length: ranks }, () => 0) },
    guests: plan.guests.map((one) => ({ guest: 0, name, agent: 0, ranks: one.ranks })),
  }
  await worker.openJob(layout, [])
  const environment = { PATH: process.env.PATH ?? '', ...env }
  const order = { guest: 0, argv, environment, workDir, stdin: false, terminal: false }
  await worker.start(
    layout.id,
    Array.from({ length: ranks }, (_, rank) => ({ ...order, task: rank, rank })),
  )
  const until = <T>(look: () => T | undefined, what: string) => poll(look, 10, limits(), { what })
  const lines = () =>
    events
      .flatMap((event) => (event.kind === 'output' ? [Buffer.from(event.data).toString()] : []))
      .join('')
      .split('\n')
  const endsOf = () =>
    events
      .filter((event) => event.kind === 'ended')
      .toSorted((one, other) => one.task - other.task)
      .map(({ end }) => end)
  const rest = new OsvRest({ guest: name, host: '127.0.0.1', port: guest.port })
  return {
    worker,
    wrote: (line, count) =>
      until(() => lines().filter((each) => each === line).length === count || undefined, line),
    ends: (count) => until(() => (endsOf().length === count ? endsOf() : undefined), 'the ends of ranks'),
    gone: () => ended.promise,
    answers: () =>
      rest.uptime(limits()).then(
        () => true,
        () => false,
      ),
  }
}

const KILLED = { kind: 'signal', signal: 9, core: false }

describe('ranks in an OSv guest that must end', () => {
  it('are ended with their guest at once, when they speak no PMIx', async () => {
    const { worker, wrote, ends, gone } = await run(['/bin/sh', '-c', 'echo ready; exec sleep 60'], 2)
    await wrote('ready', 2)
    worker.end(LONG_MS)
    expect(await ends(2)).toEqual([KILLED, KILLED])
    await gone()
  })

  it('leave their guest whole when all had ended', async () => {
    const { worker, ends, answers } = await run(['/bin/sh', '-c', 'exit 3'], 2)
    const exit = { kind: 'exit', status: 3 }
    expect(await ends(2)).toEqual([exit, exit])
    worker.end(LONG_MS)
    worker.end(0)
    expect(await answers()).toBe(true)
  })
})

describeWith(['cc', 'pkg-config', 'mpicc.openmpi'], 'clients of PMIx in an OSv guest that must end', () => {
  let programs: PmixPrograms
  beforeAll(async () => {
    programs = await buildPmixPrograms([], ['pmix-leave'])
  })
  afterAll(() => programs?.remove())

  it('end by themselves, and leave their guest whole', async () => {
    const { worker, wrote, ends, answers } = await run([programs.path('pmix-leave'), 'ends'], 2)
    await wrote('ready', 2)
    worker.end(LONG_MS)
    const exit = { kind: 'exit', status: 9 }
    expect(await ends(2)).toEqual([exit, exit])
    expect(await answers()).toBe(true)
  })

  it('are ended with their guest when they do not, or nobody waits', async () => {
    const { worker, wrote, ends, gone } = await run([programs.path('pmix-leave'), 'stays'], 1)
    await wrote('ready', 1)
    worker.end(LONG_MS)
    worker.end(0)
    expect(await ends(1)).toEqual([KILLED])
    await gone()
  })

  it('are ended with their guest at once when they would not hear it', async () => {
    const { worker, wrote, ends, gone } = await run([programs.path('pmix-leave'), 'deaf'], 1)
    await wrote('ready', 1)
    worker.end(LONG_MS)
    expect(await ends(1)).toEqual([KILLED])
    await gone()
  })
})

describeWith(['mpicc.openmpi'], 'ranks of Open MPI in an OSv guest that must end', () => {
  let programs: Programs
  beforeAll(async () => {
    programs = await buildPrograms('mpicc.openmpi', ['end'])
  })
  afterAll(() => programs.remove())

  it('end by themselves, and leave their guest whole', async () => {
    const env = { OMPI_MCA_pml: 'ob1', OMPI_MCA_btl: 'tcp,self', HWLOC_COMPONENTS: '-gl,-opencl' }
    const { worker, wrote, ends, answers } = await run([programs.path('end'), 'wait', '0', '0'], 2, env)
    await wrote('waiting', 2)
    worker.end(LONG_MS)
    const exit = { kind: 'exit', status: expect.any(Number) }
    const statuses = await ends(2)
    expect(statuses).toEqual([exit, exit])
    expect(statuses).not.toContainEqual({ kind: 'exit', status: 0 })
    expect(await answers()).toBe(true)
  })
})
