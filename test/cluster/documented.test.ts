// leet-mpirun over all nodes of LSF and of Flux, which could not be had: fakes by their documentation start the tasks.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { BARE, buildCheckout, GUESTS, LEET_MPIRUN, makeCase } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type FakeLab, startFake } from './lab/fakes.ts'

describeLab('an allocation as documented', () => {
  beforeAll(() => buildCheckout())
  describe.each(['lsf', 'flux'] as const)('of %s', (name) => {
    let lab: FakeLab
    let directory: string
    beforeAll(async () => {
      lab = await startFake(name, { nodes: 3, nfs: true })
      directory = await makeCase(lab, 'alice', lab.users.alice)
    })
    afterEach(() => lab.waitClean({ deadline: Deadline.after(30_000) }))
    afterAll(() => lab?.stop())

    const start = (words: string) =>
      lab.submit(`cd ${directory} && exec ${words}\n`, { user: lab.users.alice, cwd: directory })

    const runShare = async (options: readonly string[], program: string) => {
      const job = await start(`${LEET_MPIRUN} ${options.join(' ')} ./${program} 0 3`)
      const status = await job.ended
      expect({ status, output: job.output() }).toMatchObject({ status: 3 })
      const hosts = job.slots.map((_, rank) => {
        const line = readFileSync(join(lab.path(directory), `output.${rank}`), 'utf8')
        return /on (\S+) read what alice needs\n$/.exec(line)?.[1]
      })
      return { job, hosts }
    }
    it('runs ranks on the bare nodes, in the order of their slots', async () => {
      const { job, hosts } = await runShare(BARE, 'share.mpich')
      expect(hosts).toEqual(job.slots)
    })
    it.each(['share.openmpi', 'share.mpich'])(
      'runs %s in Linux guests',
      { tags: ['long'] },
      async (program) => {
        const { hosts } = await runShare(GUESTS, program)
        expect(new Set(hosts).size).toBe(3)
      },
    )

    it('leaves nothing when its job is cancelled', async () => {
      const job = await start(`${LEET_MPIRUN} ${BARE.join(' ')} ./share.mpich 600`)
      const limits = { deadline: Deadline.after(60_000) }
      const atWork = () => (job.output().includes('at work') ? true : undefined)
      await poll(atWork, 100, limits, { what: 'ranks on all nodes' })
      await job.delete()
      expect(await job.ended).toBeGreaterThan(128)
    })
  })
})
