// `leet submit` as a user types it: what it shows, writes, hands over and refuses.
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Playground, playground, startLeet } from '../support/leet.ts'

let place: Playground
beforeAll(() => {
  place = playground()
})
afterAll(() => place.remove())

const submit = (argv: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  startLeet(['submit', ...argv], { cwd: place.directory, env: { ...place.env, ...env } }, 'leet').ended
const ask = ['--nodes', '2', '--tasks-per-node', '4', '--time', '30m', '--memory', '2G']
const command = ['--', 'leet-mpirun', './a.out', 'two words']

describe('leet submit', () => {
  it('shows a script and what would submit it', async () => {
    const { status, stdout } = await submit(['--scheduler', 'torque', ...ask, '--print', ...command])
    expect(status).toBe(0)
    expect(stdout).toContain('#PBS -l nodes=2:ppn=4')
    expect(stdout).toContain('#PBS -l walltime=00:30:00')
    expect(stdout).toContain("exec leet-mpirun ./a.out 'two words'")
    expect(stdout).toMatch(/# submitted by: qsub\n$/)
  })

  it('takes the batch system from the environment, and a script', async () => {
    writeFileSync(join(place.directory, 'job.sh'), '#!/bin/bash\nmodule load x\nleet-mpirun ./a.out\n')
    const { stdout } = await submit([...ask, '--print', 'job.sh'], { LEET_SCHEDULER: 'slurm' })
    expect(stdout.split('\n').slice(0, 2)).toEqual(['#!/bin/bash', '#SBATCH --nodes=2'])
    expect(stdout).toContain('\nmodule load x\n')
  })

  it('writes a script that can be run', async () => {
    const { stdout } = await submit(['--scheduler', 'slurm', '--write', 'made.sh', ...command])
    expect(stdout).toBe('sbatch <made.sh\n')
    expect(readFileSync(join(place.directory, 'made.sh'), 'utf8')).toContain('#SBATCH --nodes=1')
    expect(statSync(join(place.directory, 'made.sh')).mode & 0o100).toBe(0o100)
  })

  it('hands the script over and returns what the batch system says', async () => {
    const fake = join(place.directory, 'sbatch')
    writeFileSync(fake, '#!/bin/sh\ncat >submitted\necho Submitted batch job 7\nexit 3\n')
    chmodSync(fake, 0o755)
    const path = `${place.directory}:${process.env.PATH}`
    const { status, stdout } = await submit(['--scheduler', 'slurm', ...command], { PATH: path })
    expect({ status, stdout }).toEqual({ status: 3, stdout: 'Submitted batch job 7\n' })
    expect(readFileSync(join(place.directory, 'submitted'), 'utf8')).toContain('exec leet-mpirun')
  })

  it.each([
    { argv: ['x.sh'], says: /no batch system is named/ },
    { argv: ['--scheduler', 'slrum', 'x.sh'], says: /"slrum" is not a batch system/ },
    { argv: ['--scheduler', 'slurm', 'absent.sh'], says: /absent.sh: cannot be read/ },
    { argv: ['--scheduler', 'slurm', 'job.sh', 'more'], says: /a command stands behind --/ },
    {
      argv: ['--scheduler', 'lsf', '--cpus-per-task', '2', ...command],
      says: /LSF cannot be asked for CPUs/,
    },
  ])('refuses $argv', async ({ argv, says }) => {
    const { status, stderr } = await submit(argv, { LEET_SCHEDULER: undefined })
    expect(status).toBe(2)
    expect(stderr).toMatch(says)
  })
})
