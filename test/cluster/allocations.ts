// Jobs of three users on three nodes of a real Slurm with an NFS server, for the tests of whole allocations: how they are
// started, killed, and looked after.
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import {
  buildCheckout,
  hostsOfRanks,
  killOne,
  type LabJob,
  type leetProcesses,
  type Mpi,
  makeCase,
  reapAll,
  submit,
} from './jobs.ts'
import { type Lab, startLab } from './lab/lab.ts'

/** Users with a directory of their own. */
export type CaseUser = 'root' | 'alice' | 'bob'

/** Seconds for which ranks of `share` work that somebody will end. */
export const NO_END = '600'

/** Six ranks were on three hosts, in the order of the ranks. */
export function expectTwoOnEach(hosts: readonly string[]): void {
  expect(new Set(hosts).size).toBe(3)
  expect(hosts).toEqual([0, 0, 2, 2, 4, 4].map((first) => hosts[first]))
}

/** The lab of a file's tests, there from the first test on. */
export interface Allocations {
  readonly lab: Lab
  /** Each user's directory. */
  readonly cases: Readonly<Record<CaseUser, string>>
  /** Starts a job of six ranks that would run for minutes, as a user in that user's directory. */
  startJob(options: readonly string[], name?: CaseUser, sbatch?: readonly string[]): Promise<LabJob>
  /** Runs six ranks that end with status 3, and sees that two were on each of three hosts. */
  runShare(options: readonly string[], mpi: Mpi, name: CaseUser): Promise<void>
  /** What was killed leaves the files of its job directory, which `leet reap` removes; nothing else. */
  reap(name: CaseUser): Promise<void>
  /** Kills the one process of its kind that a user has on a host. */
  kill(host: string, what: Parameters<typeof leetProcesses>[2], name?: CaseUser): void
}

/** Has the tests of this file use one lab; nothing may be left on its hosts after each of them. */
export function useAllocations(): Allocations {
  let lab: Lab
  const cases = { root: '', alice: '', bob: '' }
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 3, nfs: true })
    for (const name of ['root', 'alice', 'bob'] as const)
      cases[name] = await makeCase(lab, name, lab.users[name])
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())
  return {
    get lab() {
      return lab
    },
    cases,
    startJob: (options, name = 'alice', sbatch = []) =>
      submit(lab, [...options, '-n', '6', './share.mpich', NO_END], {
        user: lab.users[name],
        directory: cases[name],
        options: sbatch,
      }),
    async runShare(options, mpi, name) {
      const job = await submit(lab, [...options, '-n', '6', `./share.${mpi}`, '0', '3'], {
        user: lab.users[name],
        directory: cases[name],
      })
      const end = await lab.waitJob(job.id)
      expect({ ...end, output: job.output() }).toMatchObject({ state: 'FAILED', exitStatus: 3, signal: 0 })
      expectTwoOnEach(hostsOfRanks(lab, cases[name], name, 6))
    },
    reap: (name) => reapAll(lab, lab.users[name]),
    kill: (host, what, name = 'alice') => killOne(lab, lab.users[name], host, what),
  }
}
