// Job scripts: golden files per batch system, what cannot be asked for, and whether shells read them as meant.
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  type BatchScheduler,
  findBatchSystem,
  JOB_ENDS,
  type JobBody,
  type JobRequest,
  jobScript,
  shellQuote,
} from '../../../scheduler-adapters/index.ts'
import { describeWith } from '../../support/needs.ts'

const SYSTEMS = ['slurm', 'torque', 'openpbs', 'gridengine', 'lsf', 'flux'] as const

const command: JobBody = {
  kind: 'command',
  argv: ['leet-mpirun', '-n', '8', 'simpleFoam', '-parallel', 'with blank', "it's"],
  workDir: '/home/user/my case',
}
const request: JobRequest = {
  name: 'airfoil',
  nodes: 2,
  tasksPerNode: 4,
  memoryPerNode: 8 * 2 ** 30,
  timeLimit: 5_430_000,
  queue: 'batch',
  account: 'cfd',
  output: 'out.txt',
  error: 'err.txt',
  mail: 'user@example.org',
  parallelEnvironment: 'mpi',
}
const { memoryPerNode: _, mail: __, ...plain } = request
const requestFor = (system: BatchScheduler) => (system === 'flux' ? plain : request)

describe('jobScript', () => {
  it.each(SYSTEMS)('writes the directives of %s', async (system) => {
    const { text, submit } = jobScript(system, requestFor(system), command)
    await expect(`${text}\n# submitted by: ${submit.join(' ')}\n`).toMatchFileSnapshot(
      `golden/submit-${system}.sh`,
    )
  })

  it('asks for no more than was said', () => {
    const { text } = jobScript('slurm', { nodes: 1, tasksPerNode: 1 }, command)
    expect(text.split('\n').filter((line) => line.startsWith('#SBATCH'))).toEqual([
      '#SBATCH --nodes=1',
      '#SBATCH --ntasks-per-node=1',
    ])
  })

  it('puts directives between the first line of a script and the rest', () => {
    const script = {
      kind: 'script' as const,
      file: 'job.sh',
      text: '#!/bin/bash -l\n#SBATCH --exclusive\nmodule load x\n',
    }
    const { text } = jobScript('slurm', { nodes: 2, tasksPerNode: 1 }, script)
    expect(text).toBe(
      '#!/bin/bash -l\n#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1\n#SBATCH --exclusive\nmodule load x\n',
    )
    const bare = jobScript('gridengine', { nodes: 1, tasksPerNode: 1 }, { ...script, text: 'date' }).text
    expect(bare).toBe('#!/bin/sh\n#$ -S /bin/sh\n#$ -cwd\n#$ -notify\ndate\n')
  })

  it.each<[BatchScheduler, string]>([
    ['slurm', '#SBATCH -N 4'],
    ['slurm', '#SBATCH --time=5'],
    ['torque', '#PBS -l walltime=1:00,nodes=1'],
    ['openpbs', '#PBS -l select=1'],
    ['gridengine', '#$ -pe mpi 4'],
    ['lsf', '#BSUB -n 4'],
    ['flux', '#flux: -N 4'],
  ])('refuses a script for %s that says %s itself', (system, line) => {
    const script = { kind: 'script' as const, file: 'job.sh', text: `#!/bin/sh\n\n${line}\ndate\n` }
    expect(() => jobScript(system, requestFor(system), script)).toThrow(/job.sh, line 3: .*as well/)
  })

  it.each<[string, BatchScheduler, Partial<JobRequest>, RegExp]>([
    ['CPUs per task', 'torque', { cpusPerTask: 2 }, /Torque cannot be asked/],
    ['CPUs per task', 'gridengine', { cpusPerTask: 2 }, /Grid Engine cannot/],
    ['CPUs per task', 'lsf', { cpusPerTask: 2 }, /LSF cannot/],
    ['memory', 'flux', { memoryPerNode: 1 }, /Flux cannot/],
    ['slots without environment', 'gridengine', { parallelEnvironment: undefined }, /parallel environment/],
    ['no nodes', 'slurm', { nodes: 0 }, /at least 1/],
    ['half a task', 'slurm', { tasksPerNode: 1.5 }, /at least 1/],
    ['a name with a newline', 'slurm', { name: 'a\n#SBATCH --uid=0' }, /not a job name/],
    ['a queue with a blank', 'openpbs', { queue: 'a b' }, /not the name/],
    ['a queue that is an option', 'slurm', { queue: '-x' }, /not the name/],
    ['an output with a newline', 'lsf', { output: 'a\nb' }, /cannot stand/],
    ['time zero', 'slurm', { timeLimit: 0 }, /at least 1/],
  ])('refuses %s for %s', (_, system, change, why) => {
    const wanted = { ...requestFor(system), ...change } as JobRequest
    expect(() => jobScript(system, wanted, command)).toThrow(why)
  })

  it('rounds time and memory up', () => {
    const text = (system: BatchScheduler) =>
      jobScript(
        system,
        { nodes: 1, tasksPerNode: 1, timeLimit: 60_001, ...(system !== 'flux' && { memoryPerNode: 1 }) },
        command,
      ).text
    expect(text('slurm')).toContain('--time=00:01:01')
    expect(text('slurm')).toContain('--mem=1M')
    expect(text('lsf')).toContain('-W 00:02')
    expect(text('flux')).toContain('--time-limit=61s')
  })

  it('keeps to one line per directive whatever is asked', () => {
    const word = fc.option(fc.string({ maxLength: 12 }), { nil: undefined })
    const anyRequest = fc.record({
      nodes: fc.nat(4),
      tasksPerNode: fc.nat(4),
      name: word,
      queue: word,
      account: word,
      output: word,
    })
    fc.assert(
      fc.property(fc.constantFrom(...SYSTEMS), anyRequest, (system, wanted) => {
        try {
          const { text } = jobScript(system, { ...wanted, parallelEnvironment: 'mpi' }, command)
          const lines = text.split('\n')
          expect(lines.slice(1, -3).every((line) => line.startsWith('#'))).toBe(true)
          expect(lines.at(-2)).toMatch(/^exec leet-mpirun/)
        } catch (error) {
          expect(error).toBeInstanceOf(LeetError)
        }
      }),
    )
  })
})

describeWith(['sh'], 'the shell', () => {
  it('reads quoted words as they were', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
          { minLength: 1 },
        ),
        (words) => {
          const script = `printf '%s\\0' ${words.map(shellQuote).join(' ')}`
          const read = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)
          expect(read).toEqual(words)
        },
      ),
      { numRuns: 30 },
    )
  })

  it.each(SYSTEMS)('takes the script for %s', (system) => {
    const { text } = jobScript(system, requestFor(system), command)
    execFileSync('sh', ['-n'], { input: text })
  })
})

describe('findBatchSystem', () => {
  const find = (commands: readonly string[], version = '', env = {}) =>
    findBatchSystem(
      env,
      (command) => commands.includes(command),
      async () => version,
    )
  it.each([
    { commands: ['sbatch', 'qsub'], found: 'slurm' },
    { commands: ['qsub'], version: 'Version: 6.1.3\nCommit: 5a1\n', found: 'torque' },
    { commands: ['qsub'], version: 'pbs_version = 23.06.06\n', found: 'openpbs' },
    { commands: ['qsub'], version: 'SGE 8.1.9\nusage: qsub [options]\n', found: 'gridengine' },
    { commands: ['qsub'], env: { SGE_ROOT: '/opt/sge' }, found: 'gridengine' },
    { commands: ['qsub'], version: 'something else', found: undefined },
    { commands: ['bsub'], found: 'lsf' },
    { commands: ['flux'], found: 'flux' },
    { commands: ['sbatch', 'flux'], env: { FLUX_URI: 'local:///x' }, found: 'flux' },
    { commands: [], found: undefined },
  ])('takes $commands for $found', async ({ commands, version, env, found }) => {
    expect(await find(commands, version, env)).toBe(found)
  })
})

describe('the end of a job of Torque', () => {
  const statusOf = (stdout: string, status = 0) =>
    JOB_ENDS.torque.ask?.statusOf({ status, stdout, stderr: '' })
  const answer = (exit: number) => `Job Id: 7.head\n    job_state = C\n    exit_status = ${exit}\n`
  it('is its exit status, or that of a shell for a signal', () => {
    expect(statusOf('Job Id: 7.head\n    job_state = R\n')).toBeUndefined()
    expect(statusOf(answer(5))).toBe(5)
    expect(statusOf(answer(271))).toBe(143)
    expect(statusOf(answer(-11))).toBe(255)
    expect(statusOf('', 153)).toBe(255)
  })
})
