// Jobs that a real Slurm confines to processors and memory of their own by cgroups, as on sites whose nodes several jobs
// share: guests stay on the job's processors, and within its memory.
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { isMet } from '../support/needs.ts'
import { buildCheckout, GUESTS, leetProcesses, makeCase, submit } from './jobs.ts'
import { haveCgroups } from './lab/cgroups.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

const NAME = 'a job that its cgroups confine'
// The lab's Slurm knows version 1 of cgroups alone, which newer systems have not.
const describeConfined = isMet(NAME, 'cgroups of version 1', haveCgroups()) ? describeLab : describe.skip

describeConfined(NAME, () => {
  let lab: Lab
  let directory: string
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 2, nfs: true, confine: true })
    directory = await makeCase(lab, 'alice', lab.users.alice)
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())

  const start = (memory: number, ...argv: string[]) =>
    submit(lab, [...GUESTS, ...argv], {
      user: lab.users.alice,
      directory,
      options: ['-N2', '--ntasks-per-node=1', '-c1', `--mem=${memory}`],
    })
  /** The processors that threads of the hypervisors of a node may use, of each hypervisor the set. */
  const processors = (node: string) =>
    leetProcesses(lab, node, 'qemu').map(({ pid }) => {
      const lists = readdirSync(`/proc/${pid}/task`).map((thread) => {
        const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1')
        return /^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1]
      })
      return [...new Set(lists)]
    })

  const several = isMet('processors of a job', 'several processors', availableParallelism() > 1)
  it.runIf(several)('has its guests on its own processors, on every node', async () => {
    const words = ['-v', '-n', '2', 'sh', '-c', 'echo up; sleep 600']
    const jobs = [await start(1000, ...words), await start(1000, ...words)]
    for (const job of jobs) {
      await job.says(/^up\n(.*\n)*up$/m)
      expect(job.output()).toMatch(/starting \(vCPUs on processors \d+\)/)
    }
    for (const node of lab.nodes) {
      const [one, other, ...more] = processors(node)
      expect([one, other, more]).toEqual([
        [expect.stringMatching(/^\d+$/)],
        [expect.stringMatching(/^\d+$/)],
        [],
      ])
      expect(one).not.toEqual(other)
    }
    for (const { id } of jobs) await lab.scancel(id)
    for (const { id } of jobs) expect((await lab.waitJob(id)).state).toBe('CANCELLED')
  })

  it('is refused guests that its memory has no room for, with the figures', async () => {
    const outputOf = async (memory: number) => {
      const job = await start(memory, '-n', '2', 'true')
      expect((await lab.waitJob(job.id)).state).toBe('FAILED')
      return job.output()
    }
    // Less than a guest, whatever is in use already.
    expect(await outputOf(380)).toMatch(/1 guest of 384 MiB on node1 are more than its \d+ MiB/)
    // Enough for the guest, but not for QEMU and what runs already.
    expect(await outputOf(500)).toMatch(
      /node[12]: a guest of 384 MiB, .* make 448 MiB, and the job may use 500 MiB, of which \d+ MiB are in use: \S*\/job_\d+\/memory.limit_in_bytes says so \[LEET_E_MEMORY\]/,
    )
  })

  it('has guests that fit when nothing is said of their memory', { tags: ['long'] }, async () => {
    const unsaid = GUESTS.filter((word) => word !== '--guest-memory' && word !== '384M')
    const job = await submit(lab, [...unsaid, '-n', '2', 'hostname'], {
      ...{ user: lab.users.alice, directory },
      options: ['-N2', '--ntasks-per-node=1', '-c1', '--mem=800'],
    })
    const end = await lab.waitJob(job.id)
    expect(end, job.output()).toMatchObject({ state: 'COMPLETED' })
  })
})
