// `leet submit` as a user types it: what it shows, writes, hands over and refuses.
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
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
const ask = ['--nodes', '2', '--ntasks-per-node', '4', '--time', '30m', '--memory', '2G']
function writeFake(path: string, script: string): void {
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}
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
    writeFake(join(place.directory, 'sbatch'), 'cat >submitted\necho Submitted batch job 7\nexit 3')
    const path = `${place.directory}:${process.env.PATH}`
    const { status, stdout } = await submit(['--scheduler', 'slurm', ...command], { PATH: path })
    expect({ status, stdout }).toEqual({ status: 3, stdout: 'Submitted batch job 7\n' })
    expect(readFileSync(join(place.directory, 'submitted'), 'utf8')).toContain('exec leet-mpirun')
  })

  it.each([
    { argv: ['--wait', '--print', 'job.sh'], says: /--wait: nothing is submitted/ },
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

describe('leet submit --wait', () => {
  // Each runs the script in the background, as its daemon would; what a job is told by `qdel` is a signal.
  const RUN = 'echo $$ >pid; exec sh ./job'
  const FAKES = {
    slurm: {
      sbatch: [
        'echo Submitted batch job 7; cat >job; [ "$1" = --wait ] || exit 9',
        'exec >"$(sed -n "s/^#SBATCH --output=//p" job)" 2>"$(sed -n "s/^#SBATCH --error=//p" job)"',
        RUN,
      ],
      scancel: ['kill "$(cat pid)"; echo cancelled "$1"'],
    },
    openpbs: {
      qsub: ['echo 7.head; cat >job; [ "$1 $2" = "-W block=true" ] || exit 9', RUN],
      qdel: ['kill "$(cat pid)"; echo cancelled "$1"'],
    },
    torque: {
      qsub: ['echo 7.head; cat >job; (sh ./job & echo $! >pid; wait $!; echo $? >ended) >/dev/null 2>&1 &'],
      qstat: [
        'if [ -s ended ]; then printf "    job_state = C\n    exit_status = %s\n" "$(cat ended)"; else echo "    job_state = R"; fi',
      ],
      qdel: ['kill "$(cat pid)"; echo cancelled "$1"'],
    },
  } as const satisfies Record<string, Record<string, readonly string[]>>

  it.each(Object.keys(FAKES) as (keyof typeof FAKES)[])('is a command, under %s', async (system) => {
    const directory = join(place.directory, `waits-${system}`)
    mkdirSync(directory)
    for (const [name, lines] of Object.entries(FAKES[system]))
      writeFake(join(directory, name), (lines as readonly string[]).join('\n'))
    const before = readdirSync(directory)
    const start = (script: string) =>
      startLeet(
        ['submit', '--wait', '--scheduler', system, '--', 'sh', '-c', script],
        { cwd: directory, env: { ...place.env, PATH: `${directory}:${process.env.PATH}` } },
        'leet',
      )
    const { status, stdout, stderr } = await start('echo words; echo of it >&2; exit 5').ended
    expect({ status, stdout }).toEqual({ status: 5, stdout: 'words\n' })
    expect(stderr).toMatch(/^of it$/m)

    writeFileSync(join(directory, 'ended'), '')
    const cancelled = start('echo begun; trap "echo last; exit 9" TERM; while :; do sleep 0.1; done')
    await cancelled.saw(/begun/)
    cancelled.child.kill('SIGTERM')
    const end = await cancelled.ended
    expect(end).toMatchObject({ status: 143 })
    expect(end.stderr).toMatch(/^cancelled 7/m)
    expect(end.stdout).toBe('begun\nlast\n')
    const left = readdirSync(directory).filter((name) => !before.includes(name))
    expect(left.filter((name) => name.startsWith('leet-submit-'))).toEqual([])
  })

  it('has what the batch system refuses', async () => {
    writeFake(join(place.directory, 'sbatch'), 'echo sbatch: error: no such partition >&2; exit 1')
    const path = `${place.directory}:${process.env.PATH}`
    const { status, stdout, stderr } = await submit(['--scheduler', 'slurm', '--wait', ...command], {
      PATH: path,
    })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('no such partition')
  })
})
