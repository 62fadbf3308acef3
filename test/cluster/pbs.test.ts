// leet-mpirun over all nodes of a PBS, as Torque and as OpenPBS: the recorded environments and a fake of pbsdsh, whose
// tasks have nothing of the environment and whose exit status lies. Neither is in Debian.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { BARE, buildCheckout, GUESTS, LEET_MPIRUN, makeCase } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type FakeLab, startFake } from './lab/fakes.ts'

/** For guests on all nodes, on a busy machine. */
const PATIENCE_MS = 180_000

describeLab('an allocation of a PBS', () => {
  beforeAll(() => buildCheckout())
  describe.each(['torque', 'openpbs'] as const)('%s', (flavour) => {
    let lab: FakeLab
    let directory: string
    // Their tasks differ, but not the guests that are started by them.
    const tags = flavour === 'openpbs' ? ['long'] : []
    beforeAll(async () => {
      lab = await startFake(flavour, { nodes: 3, nfs: true })
      directory = await makeCase(lab, 'alice', lab.users.alice)
    })
    afterEach(() => lab.waitClean({ deadline: Deadline.after(30_000) }))
    afterAll(() => lab?.stop())

    const start = (words: string) =>
      lab.submit(`cd ${directory} && exec ${words}\n`, { user: lab.users.alice, cwd: directory })
    const hosts = () =>
      [0, 1, 2, 3, 4, 5].map((rank) => {
        const line = readFileSync(join(lab.path(directory), `output.${rank}`), 'utf8')
        return /^\d of 6 on (\S+) read what alice needs\n$/.exec(line)?.[1]
      })

    const runShare = async (options: readonly string[]) => {
      const job = await start(`${LEET_MPIRUN} ${options.join(' ')} ./share.mpich 0 3`)
      const status = await job.ended
      expect({ status, output: job.output() }).toMatchObject({ status: 3 })
      return job
    }
    it('runs ranks on the bare nodes, in the order of the node file', async () => {
      const job = await runShare(BARE)
      expect(hosts()).toEqual(job.slots)
    })
    it('runs ranks in Linux guests on all nodes', { tags }, async () => {
      await runShare(GUESTS)
      expect(new Set(hosts()).size).toBe(3)
    })

    it('has a session, of which nothing is left when its job is deleted', { tags: ['long'] }, async () => {
      const script = [
        `cd ${directory}`,
        `PATH=${dirname(LEET_MPIRUN)}:$PATH`,
        `leet up ${GUESTS.join(' ')} ./share.mpich || exit 9`,
        'leet-mpirun -n 6 ./share.mpich 0 3',
        '[ $? = 3 ] || exit 8',
        'for guest in g0 g1 g2; do leet logs $guest | grep -c "init: ready" || exit 7; done',
        'exec leet-mpirun -n 6 ./share.mpich 600',
      ]
      const job = await lab.submit(script.join('\n'), { user: lab.users.alice, cwd: directory })
      const limits = { deadline: Deadline.after(PATIENCE_MS) }
      const over = job.ended.then((status) => Promise.reject(new Error(`${status}: ${job.output()}`)))
      // When it is deleted nobody waits for that any more.
      over.catch(() => {})
      const again = () => (job.output().match(/at work/g)?.length === 2 ? true : undefined)
      await Promise.race([over, poll(again, 100, limits, { what: 'ranks in all guests, twice' })])
      await job.delete()
      expect(await job.ended).toBeGreaterThan(128)
    })

    it('leaves nothing when it is deleted', async () => {
      const job = await start(`${LEET_MPIRUN} ${BARE.join(' ')} ./share.mpich 600`)
      const limits = { deadline: Deadline.after(60_000) }
      const atWork = () => (job.output().includes('at work') ? true : undefined)
      await poll(atWork, 100, limits, { what: 'ranks on all nodes' })
      await job.delete()
      expect(await job.ended).toBeGreaterThan(128)
    })

    it('has each of its nodes looked at, with a status that does not lie', async () => {
      const doctor = (env: string) =>
        start(`env ${env} ${LEET_MPIRUN.replace('leet-mpirun', 'leet')} doctor --all-nodes --json`)
      const bad = await doctor('LEET_NETWORK=bridge=none0')
      expect(await bad.ended).toBe(1)
      const good = await doctor('LEET_NETWORK=bridge=br0')
      expect({ status: await good.ended, output: good.output() }).toMatchObject({ status: 0 })
      for (const node of lab.nodes) expect(good.output()).toContain(`{"node":"${node}"`)
    })

    it('is refused as one of the tasks of pbsdsh', async () => {
      const job = await start(`pbsdsh -u ${LEET_MPIRUN} ${BARE.join(' ')} ${directory}/share.mpich`)
      expect(await job.ended).toBe(0)
      expect(job.output().match(/pbsdsh started this command; it must run once/g)).toHaveLength(3)
    })
  })
})
