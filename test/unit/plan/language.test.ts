// What users of Open MPI and Hydra type, as settings.
import { describe, expect, it } from 'vitest'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import { type JobPlan, planJob } from '../../../launcher/plan/plan.ts'
import { environmentOf } from '../../../launcher/plan/rank-environment.ts'
import type { Settings } from '../../../launcher/plan/settings.ts'
import { exportedVariables, parseCommandWords, placeVariables } from '../../../mpi-bridge/index.ts'

/** The plan on the bare host, which has four slots. */
const planFor = (said: Settings) =>
  planJob(
    { ...said, guest: { ...said.guest, kind: 'host' } },
    {
      jobId: 'abc',
      scheduler: 'none',
      nodes: [{ name: 'n0', slots: 4, cpus: 4, memory: 2 ** 30 }],
      programs: said.programs.map((program) => ({ ...program, workDir: '/w', mpi: 'none' })),
      user: { name: 'u', uid: 1, group: 'g', gid: 2, groups: [2], home: '/h', shell: '/bin/sh' },
      planMounts: () => [],
    },
  )
const settings = (line: string) => readSettings(parseCommandWords(OPTIONS, line.split(' ')), {})
const variables = (line: string) =>
  settings(line).programs.map(({ exports, inherits }) => [inherits, exportedVariables(exports, ENVIRONMENT)])
const ENVIRONMENT = { A: 'a', AB: 'ab', C: 'c' }

describe('variables for ranks', () => {
  it.each([
    ['-x A* p', [[true, { A: 'a', AB: 'ab' }]]],
    ['-x A=1 -x NONE p', [[true, { A: '1' }]]],
    [
      '-genv X 1 -n 1 -env X 2 p : -n 1 q',
      [
        [true, { X: '2' }],
        [true, { X: '1' }],
      ],
    ],
    ['-genvlist A,C p', [[false, { A: 'a', C: 'c' }]]],
    [
      '-genvnone -n 1 p : -n 1 -envall q',
      [
        [false, {}],
        [true, {}],
      ],
    ],
    [
      '-genvlist A -n 1 -envlist C p : -n 1 -envnone q',
      [
        [false, { C: 'c' }],
        [false, {}],
      ],
    ],
    [
      '--mca btl tcp,self --mca plm rsh --pmixmca ptl tcp p',
      [[true, { OMPI_MCA_btl: 'tcp,self', PMIX_MCA_ptl: 'tcp' }]],
    ],
  ])('by %s', (line, expected) => {
    expect(variables(line)).toEqual(expected)
  })
})

describe('edits of the variables of all ranks', () => {
  it.each([
    ['--set-env FOO=1 --prepend-env FOO[:] x', 'FOO', 'x:1'],
    ['--prepend-env FOO[:] x --set-env FOO=1', 'FOO', '1'],
    ['--append-env A[,] z', 'A', 'a,z'],
    ['--append-env NEW[:] z', 'NEW', 'z'],
    ['--unset-env A', 'A', undefined],
    ['-envexcl A,C', 'C', undefined],
    ['--unset-env A*', 'AB', undefined],
    ['-x A=1 --append-env A[:] 2', 'A', '1:2'],
  ])('%s', (options, name, value) => {
    const plan = planFor(settings(`${options} -n 1 p`))
    const program = plan.programs[0] as JobPlan['programs'][number]
    expect(environmentOf(plan, program, [], ENVIRONMENT, ENVIRONMENT)[name]).toBe(value)
  })
  it.each([
    ['--set-env FOO', /has no value/],
    ['--prepend-env PATH /opt', /names no separator/],
    ['--unset-env 1=2', /not a variable/],
  ])('%s is refused', (options, says) => {
    expect(() => settings(`${options} -n 1 p`)).toThrow(says)
  })
})

it.each([
  ['-usize 7', 7],
  ['-usize SYSTEM', 4],
  ['-usize INFINITE', undefined],
])('MPI_UNIVERSE_SIZE by %s', (options, universe) => {
  expect(planFor(settings(`${options} -n 1 p`)).universe).toBe(universe)
})

it('the output of a rank that there is not is refused', () => {
  expect(() => planFor(settings('-output-from 1 -n 1 p'))).toThrow(/no rank 1/)
})

describe('options', () => {
  it('that cannot be had are refused with advice', () => {
    expect(() => settings('--xml -n 1 p')).toThrow(/is not to be had here/)
  })
  it('name processors for all ranks, or one for each', () => {
    const binding = (options: string) => settings(`${options} -n 1 p`).placement.binding
    expect(binding('--cpu-set 0-2,5')).toMatchObject({ to: 'none', within: [0, 1, 2, 5] })
    expect(binding('--cpu-list 0,2 --bind-to core')).toMatchObject({ to: 'core', within: [0, 2] })
    expect(binding('--cpu-list 2,0 --bind-to cpu-list:ordered')).toMatchObject({ list: [[2], [0]] })
    expect(() => binding('--bind-to cpu-list:ordered')).toThrow(/names no processors/)
    expect(() => binding('--cpu-list 3-1')).toThrow(expect.objectContaining({ exitCode: 2 }))
    expect(() => binding('--cpu-list 1-2-3')).toThrow(/no range/)
  })
  it('put files into the image that no guest would see', () => {
    expect(settings('--preload-files /etc/hosts,here.txt -n 1 p').image.files).toEqual(['/etc/hosts'])
  })
  it('that mean nothing here are accepted with a note', () => {
    const { notes } = settings('--allow-run-as-root -launcher ssh --mca plm rsh --mca btl tcp -n 1 p')
    expect(notes).toHaveLength(3)
    expect(notes.join()).toMatch(/allow-run-as-root.*launcher.*plm/)
  })
  it('that are shorter ways say what they stand for', () => {
    expect(settings('--bynode --display-map -pernode p')).toMatchObject({
      placement: { mapBy: { by: 'node' } },
      ppn: 1,
      display: new Set(['map']),
    })
    expect(settings('--npersocket 2 p').placement.mapBy).toEqual({ by: 'package', perResource: 2 })
  })
  it('have one key and spelling each, and shorter ways stand for options that there are', () => {
    const keys = OPTIONS.map(({ key }) => key)
    const flags = OPTIONS.flatMap((option) => option.flags)
    expect(new Set(keys).size).toBe(keys.length)
    expect(new Set(flags).size).toBe(flags.length)
    for (const { means } of OPTIONS) if (means) expect(keys).toContain(means[0])
  })
  it('choose who reads input and which signals are passed on', () => {
    expect(settings('p')).toMatchObject({
      stdin: 0,
      forwardSignals: expect.arrayContaining(['SIGUSR1', 'SIGTSTP']),
    })
    expect(settings('--stdin all --forward-signals usr2,SIGALRM,18 p')).toMatchObject({
      stdin: 'all',
      forwardSignals: ['SIGUSR2', 'SIGALRM', 'SIGCONT'],
    })
    expect(settings('--forward-signals none p').forwardSignals).toEqual([])
  })
  it.each([
    ['--forward-signals KILL p', 'SIGKILL'],
    ['--forward-signals FOO p', 'FOO'],
    ['--stdin some p', '--stdin'],
    ['--oversubscrib p', 'unknown option'],
    ['--display maps p', 'map'],
    ['--output color p', '--output'],
    ['-genvlist 1A p', 'genvlist'],
  ])('refuse %s', (line, word) => {
    expect(() => settings(line)).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining(word) }),
    )
  })
})

it('ranks are told their place as the stock launchers do', () => {
  const place = { rank: 3, size: 4, guest: [1, 3] }
  expect(placeVariables('openmpi', place)).toMatchObject({
    OMPI_COMM_WORLD_RANK: '3',
    OMPI_COMM_WORLD_SIZE: '4',
    OMPI_COMM_WORLD_LOCAL_RANK: '1',
    OMPI_COMM_WORLD_LOCAL_SIZE: '2',
  })
  expect(placeVariables('mpich', place)).toEqual({
    PMI_RANK: '3',
    PMI_SIZE: '4',
    MPI_LOCALRANKID: '1',
    MPI_LOCALNRANKS: '2',
  })
  expect(Object.keys(placeVariables('none', place))).toHaveLength(10)
})
