// leet bench as a job of a real Slurm: it measures on the nodes of the allocation, with both MPIs, and so do the stock
// launchers; its ranks are where theirs are.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Results } from '../../launcher/bench/results.ts'
import { buildCheckout, GUESTS, submitScript } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

describeLab('leet bench in a job of Slurm', () => {
  const directory = '/srv/project/bench'
  let lab: Lab
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 2, nfs: true })
    await lab.must(['mkdir', directory], { user: lab.users.alice })
  })
  afterAll(() => lab?.stop())

  /** Runs one round on two nodes. */
  async function bench(out: string, words: readonly string[]): Promise<Results> {
    const once = ['-n', '2', '-r', '1', '--warmup', '0', '--out', out]
    const script = `#!/bin/sh\nexec /srv/leet/launcher/bin/leet bench ${[...once, ...words].join(' ')}\n`
    const options = ['-N2', '--ntasks-per-node=1']
    const job = await submitScript(lab, script, { user: lab.users.alice, directory, options })
    const end = await lab.waitJob(job.id)
    expect(end, job.output()).toMatchObject({ state: 'COMPLETED' })
    const results: Results = JSON.parse(readFileSync(lab.path(`${directory}/${out}/results.json`), 'utf8'))
    expect(results.environment).toMatchObject({ scheduler: 'slurm', nodes: ['node1', 'node2'] })
    return results
  }

  const MICRO = ['--no-osu', '--sizes', '8,64K', '--micro-time', '0.01']
  const measured = ({ runs }: Results) => {
    const micro = runs.filter(({ workload }) => workload === 'micro')
    for (const { measurements } of micro)
      expect(measurements.filter(({ size }) => size !== undefined)).toHaveLength(6)
    return micro.map(({ kind, mpi }) => `${kind} ${mpi}`).sort()
  }

  it('measures both MPIs on the bare nodes, each under its own launcher', async () => {
    const results = await bench('bare', ['--guests-of', 'host,mpirun,mpiexec', ...MICRO])
    expect(measured(results)).toEqual(['host mpich', 'host openmpi', 'mpiexec mpich', 'mpirun openmpi'])
  })

  it.each(['mpirun.openmpi', 'mpiexec.mpich'])('has a rank on each node, as %s', async (launcher) => {
    const kinds = `host,${launcher.split('.')[0]}`
    const { runs } = await bench(launcher, [
      ...['--kinds', kinds, '--mpirun', launcher, '--no-micro', 'sh', '-c', `'echo on $(hostname)'`],
    ])
    for (const { number, kind } of runs) {
      const file = `${directory}/${launcher}/runs/00${number}-${kind}-program.out`
      expect(
        readFileSync(lab.path(file), 'utf8')
          .match(/on node\d/g)
          ?.sort(),
      ).toEqual(['on node1', 'on node2'])
    }
  })

  it('measures both in guests, one on each node', { tags: ['long'] }, async () => {
    const results = await bench('guests', ['--guests-of', 'linux,host', ...MICRO, ...GUESTS])
    expect(results.guests).toBe(2)
    expect(measured(results)).toEqual(['host mpich', 'host openmpi', 'linux mpich', 'linux openmpi'])
  })
})
