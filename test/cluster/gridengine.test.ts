// leet-mpirun over all nodes of a real Grid Engine, and the lab that it runs in.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { BARE, buildCheckout, hostsOfRanks, LEET_MPIRUN, makeCase, reapAll } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type GridEngineLab, startGridEngine } from './lab/gridengine.ts'

const COMMANDS = ['sge_qmaster', 'sge_execd', 'qsub', 'qrsh']

describeLab(
  'an allocation of Grid Engine',
  () => {
    let lab: GridEngineLab
    let directory: string
    beforeAll(async () => {
      await buildCheckout()
      lab = await startGridEngine({ nodes: 3 })
      directory = await makeCase(lab, 'alice', lab.users.alice)
    })
    afterEach(() => lab.waitClean({ deadline: Deadline.after(20_000) }))
    afterAll(() => lab?.stop())

    const outFile = () => join(lab.path(directory), 'out')
    const submit = (script: string) => {
      // What the job before has said is not to be taken for this one's.
      writeFileSync(outFile(), '')
      chmodSync(outFile(), 0o666)
      return lab.qsub(script, {
        user: lab.users.alice,
        cwd: directory,
        options: ['-pe', 'mpi', '5', '-o', `${directory}/out`],
      })
    }
    const output = () => readFileSync(outFile(), 'utf8')

    it('deals slots out in turn and lets jobs start tasks on their nodes', async () => {
      const id = await submit(
        'cut -d" " -f1,2 "$PE_HOSTFILE"; for h in $(cut -d" " -f1 "$PE_HOSTFILE"); do qrsh -inherit $h hostname; done; exit 5',
      )
      expect(await lab.waitJob(id)).toBe(5)
      const lines = output().trim().split('\n')
      expect(lines.slice(0, 3).map((line) => line.split(' ')[1])).toEqual(['2', '2', '1'])
      expect(lines.slice(3)).toEqual(lines.slice(0, 3).map((line) => line.split(' ')[0]))
    })

    it('runs ranks on all nodes', async () => {
      const id = await submit(`>out; exec ${LEET_MPIRUN} ${BARE.join(' ')} ./share.mpich 0 3`)
      const status = await lab.waitJob(id)
      expect({ status, output: output() }).toMatchObject({ status: 3 })
      const hosts = hostsOfRanks(lab, directory, 'alice', 5)
      expect(new Set(hosts).size).toBe(3)
    })

    it('ends in order when it is deleted', async () => {
      const id = await submit(`>out; exec ${LEET_MPIRUN} ${BARE.join(' ')} ./share.mpich 600`)
      const limits = { deadline: Deadline.after(60_000) }
      const atWork = () => (output().includes('at work') ? true : undefined)
      await poll(atWork, 100, limits, { what: 'ranks on all nodes' })
      await lab.qdel(id)
      await lab.waitJob(id)
      // It kills what it started, which may have no time to remove its own files.
      await reapAll(lab, lab.users.alice)
    })
  },
  COMMANDS,
)
