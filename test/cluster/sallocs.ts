// Allocations by salloc on two nodes of a real Slurm, for ordinary users: how jobs in them are started, killed, and looked
// after.
import { spawn } from 'node:child_process'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { type ChildEnd, type CommandResult, Deadline, endOf, waitFor } from '../../common/index.ts'
import { buildCheckout, LEET_MPIRUN, leetProcesses, makeCase, reapAll } from './jobs.ts'
import { type Lab, startLab } from './lab/lab.ts'

const LIMIT_MS = 200_000
const NO_END = '600'

/** What a job waits to say, whose it is, how long its ranks work, and more options of salloc. */
interface JobChoices {
  readonly says?: RegExp
  readonly user?: 'alice' | 'bob'
  readonly seconds?: string
  readonly sallocOptions?: readonly string[]
}

/** A job that runs. */
interface SallocJob {
  readonly end: Promise<ChildEnd>
  /** Resolves when its output matches. */
  heard(pattern: RegExp): Promise<void>
  output(): string
}

/** The lab of a file's tests, there from the first test on. */
export interface SallocLab {
  readonly lab: Lab
  /** Of bob, whose jobs they are unless told. */
  readonly directory: string
  salloc(argv: readonly string[]): Promise<CommandResult>
  /** A job that would run for minutes unless told, once it has said what is waited for. */
  startJob(options: readonly string[], choices?: JobChoices): Promise<SallocJob>
  /** Signals the one process of its kind that bob has on a host. */
  kill(host: string, what: Parameters<typeof leetProcesses>[2], signal?: NodeJS.Signals): void
  /** What was killed leaves the files of its job directory, which `leet reap` removes; nothing else. */
  reap(): Promise<void>
}

/** Has the tests of this file use one lab; nothing may be left on its hosts after each of them. */
export function useSalloc(): SallocLab {
  let lab: Lab
  let directory: string
  let other: string
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 2, nfs: true })
    directory = await makeCase(lab, 'bob', lab.users.bob)
    other = await makeCase(lab, 'alice', lab.users.alice)
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())

  const sallocArgv = (argv: readonly string[]) => [
    ...['salloc', '-Q', '-N2', '--ntasks-per-node=1', '--time=10'],
    ...argv,
  ]
  const limits = () => ({ deadline: Deadline.after(LIMIT_MS) })
  const salloc = (argv: readonly string[]) =>
    lab.run('head', sallocArgv(argv), { user: lab.users.bob, cwd: directory, ...limits() })

  /** A job that would run for minutes unless told, once it has said what is waited for. */
  const startJob: SallocLab['startJob'] = async (
    options: readonly string[],
    { says = /at work/, user = 'bob', seconds = NO_END, sallocOptions = [] }: JobChoices = {},
  ) => {
    const cwd = user === 'bob' ? directory : other
    const words = [...sallocOptions, LEET_MPIRUN, ...options, './share.mpich', seconds]
    const { argv, env } = lab.command('head', sallocArgv(words), { user: lab.users[user], cwd })
    const child = spawn(argv[0], argv.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const end = endOf(child)
    let output = ''
    const heard = (pattern: RegExp) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = () => {
        if (pattern.test(output)) resolve()
      }
      for (const stream of [child.stdout, child.stderr]) stream.on('data', look)
      look()
      end.then(() => reject(new Error(`ended without ${pattern}:\n${output}`)), reject)
      return waitFor(promise, limits(), { what: `${pattern} in the output` })
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    await heard(says)
    return { end, heard, output: () => output }
  }
  const kill = (
    host: string,
    what: Parameters<typeof leetProcesses>[2],
    signal: NodeJS.Signals = 'SIGKILL',
  ) => {
    const victims = leetProcesses(lab, host, what).filter(({ uid }) => uid === lab.users.bob.uid)
    expect(victims).toHaveLength(1)
    for (const { pid } of victims) process.kill(pid, signal)
  }
  return {
    get lab() {
      return lab
    },
    get directory() {
      return directory
    },
    salloc,
    startJob,
    kill,
    reap: () => reapAll(lab, lab.users.bob),
  }
}
