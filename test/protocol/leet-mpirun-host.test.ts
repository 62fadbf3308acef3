// leet-mpirun on the bare host, with real MPI programs: what it prints and returns, and what it refuses.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { JOB_PROGRAMS, testJobs } from '../support/jobs.ts'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { buildPrograms, type Programs } from './programs/build.ts'

let place: Playground
beforeAll(() => {
  place = playground()
})
afterEach(() => {
  expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
})
afterAll(() => place.remove())

for (const mpi of ['mpich', 'openmpi'] as const) {
  describeWith([`mpicc.${mpi}`], `${mpi} on the bare host`, () => {
    let programs: Programs
    beforeAll(async () => {
      programs = await buildPrograms(`mpicc.${mpi}`, JOB_PROGRAMS)
    })
    afterAll(() => programs.remove())
    testJobs({
      place: () => place,
      options: ['--guest', 'host'],
      oneGuest: ['--guest', 'host'],
      program: (name) => programs.path(name),
      mpi,
      guests: 1,
    })
  })
}

describe('leet-mpirun notes', () => {
  const run = (env: NodeJS.ProcessEnv, ...argv: string[]) =>
    leetMpirun(['--guest', 'host', '-n', '1', ...argv, 'true'], {
      cwd: place.directory,
      env: { ...place.env, ...env },
    })

  it('options of the command line that only shape guests, and passes over what variables say', async () => {
    expect(await run({}, '--guest-memory', '1G', '--guest-cpus', '2')).toMatchObject({
      status: 0,
      stderr: 'leet: --guest-memory, --guest-cpus have no effect: there are no guests on the bare host\n',
    })
    const environment = { LEET_GUEST_MEMORY: '1G', LEET_MOUNTS: 'server:/data:/data', LEET_GUESTS: '3' }
    expect(await run(environment)).toMatchObject({ status: 0, stderr: '' })
  })
})

describe('leet-mpirun refuses', () => {
  const run = (...argv: string[]) => leetMpirun(argv, { cwd: place.directory, env: place.env })

  it('a program that is not there, before anything is started', async () => {
    const { status, stderr, stdout } = await run('-n', '2', './nothing')
    expect({ status, stdout }).toEqual({ status: 127, stdout: '' })
    expect(stderr).toMatch(/nothing.*cannot be found/)
  })
  it.each([
    [['-n', 'x', 'true']],
    [['-n', '1', '-wdir', '/no/such/place', 'true']],
    [['-n', '1', '--guests', '0', 'true']],
    [['-n', '1', '--gues', 'host', 'true']],
    [['-n', '1', '--events', '/no/such/file', 'true']],
    [['-n', '1', '--image', 'no-such-image', 'true']],
    [['-n', '1', '--kernel', '/no/kernel', 'true']],
    [['-n', '1', '--file', '/no/such/file', 'true']],
    [['-n', '1', '--guest', 'host', '--mount', 'server:/data:/data', 'true']],
    [['-n', '1', '--osv-base', 'base', 'true']],
    [[]],
  ])('%j with one sentence and status 2', async (argv) => {
    const { status, stdout, stderr } = await run(...argv)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(2)
    expect(stderr).not.toMatch(/ {4}at /)
  })
})
