// `leet submit --wait` under a real Slurm and a real Grid Engine: the same words give the same result, and a signal cancels
// the job.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { BARE, buildCheckout, hostsOfRanks, LEET_MPIRUN, makeCase, reapAll } from './jobs.ts'
import type { Cluster } from './lab/cluster.ts'
import { describeLab } from './lab/describe.ts'
import { startGridEngine } from './lab/gridengine.ts'
import { startLab } from './lab/lab.ts'

const SYSTEMS = [
  { name: 'Slurm', start: () => startLab({ nodes: 2 }), extra: [] },
  {
    name: 'Grid Engine',
    start: () => startGridEngine({ nodes: 2 }),
    // Its slots need a parallel environment, which the site names.
    extra: ['--parallel-environment', 'mpi'],
  },
]

const COMMANDS = ['sge_qmaster', 'sge_execd', 'qsub', 'qrsh']

describeLab(
  'leet submit --wait',
  () => {
    beforeAll(() => buildCheckout())
    describe.each(SYSTEMS)('in $name', ({ name, start, extra }) => {
      let lab: Cluster
      let directory: string
      beforeAll(async () => {
        lab = await start()
        directory = await makeCase(lab, 'alice', lab.users.alice)
      })
      afterEach(async () => {
        await reapAll(lab, lab.users.alice)
        await lab.waitClean({ deadline: Deadline.after(20_000) })
      })
      afterAll(() => lab?.stop())

      const scheduler = name === 'Slurm' ? 'slurm' : 'gridengine'
      const words = [
        join(dirname(LEET_MPIRUN), 'leet'),
        ...['submit', '--wait', '--scheduler', scheduler, '--nodes', '2', '--ntasks-per-node', '2'],
        ...[...extra, '--time', '10m', '--name', 'share', '--'],
      ]
      const run = (argv: readonly string[]) =>
        lab.run('head', argv as [string, ...string[]], { user: lab.users.alice, cwd: directory })
      const left = () => readdirSync(lab.path(directory)).filter((file) => file.startsWith('leet-submit-'))

      it('gives output and exit status of a job', async () => {
        const result = await run([...words, LEET_MPIRUN, ...BARE, './share.mpich', '0', '3'])
        expect(result, JSON.stringify(result)).toMatchObject({ status: 3 })
        expect(result.stdout.match(/at work/g)).toHaveLength(1)
        expect(hostsOfRanks(lab, directory, 'alice', 4).toSorted()).toEqual([
          ...['node1', 'node1', 'node2', 'node2'],
        ])
        expect(left()).toEqual([])
      })

      it('cancels a job that it is told to end', async () => {
        const job = [...words, LEET_MPIRUN, ...BARE, './share.mpich', '600'].join(' ')
        const script = `{ sh -c 'echo $$ >pid; exec ${job}'; echo $? >status; } | while read line; do case $line in *at\\ work*) kill -TERM $(cat pid);; esac; done`
        await run(['sh', '-c', script])
        expect(readFileSync(join(lab.path(directory), 'status'), 'utf8')).toBe('143\n')
        expect(left()).toEqual([])
      })
    })
  },
  COMMANDS,
)
