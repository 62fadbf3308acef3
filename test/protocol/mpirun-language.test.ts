// leet-mpirun in the place of mpirun: the same maps as the stock launcher, and what scripts do with it.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nodeProcessors } from '../../launcher/node/processors.ts'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

let place: Playground
beforeAll(() => {
  place = playground()
})
afterAll(() => place.remove())
const run = (argv: readonly string[], input = '') =>
  leetMpirun(['--guest', 'host', ...argv], { cwd: place.directory, env: place.env, input })
const lines = (text: string) => text.split('\n').filter(Boolean).sort()

describeWith(['mpirun.openmpi'], 'maps are those of Open MPI’s mpirun', () => {
  /** Ranks of each node in what --display-map prints. */
  function ranksByNode(text: string): Record<string, number[]> {
    const nodes: Record<string, number[]> = {}
    let own: number[] = []
    for (const line of text.split('\n')) {
      const node = /Data for node: (\S+)/.exec(line)?.[1]
      if (node !== undefined) nodes[node] = own = []
      const rank = /Process rank: (\d+)/.exec(line)?.[1]
      if (rank !== undefined) own.push(Number(rank))
    }
    return nodes
  }

  it.each([
    ['-n 7'],
    ['-n 11 --oversubscribe'],
    ['-n 5 --map-by node'],
    ['-n 8 --map-by node:oversubscribe'],
    ['-n 5 --map-by node --rank-by slot'],
    ['-n 5 --rank-by node'],
    ['--map-by ppr:1:node'],
    ['-n 5 -N 2'],
  ])('for %s', async (options) => {
    const hosts = join(place.directory, 'hosts')
    writeFileSync(hosts, 'n1 slots=2\nn2 slots=4\nn3 slots=1\n')
    const words = ['--hostfile', hosts, '--do-not-launch', '--display-map', ...options.split(' ')]
    const stock = spawnSync(
      'mpirun.openmpi',
      ['--allow-run-as-root', '--bind-to', 'none', ...words, 'true'],
      {
        encoding: 'utf8',
      },
    )
    const ours = await run([...words, 'true'])
    expect(ours).toMatchObject({ status: 0, stderr: '' })
    expect(Object.keys(ranksByNode(ours.stdout)).length).toBeGreaterThan(0)
    expect(ranksByNode(ours.stdout)).toEqual(ranksByNode(stock.stdout))
  })
})

describe('ranks', () => {
  it('are bound to the processors that --report-bindings names', async () => {
    const show = 'grep Cpus_allowed_list: /proc/self/status'
    const words = ['-n', '1', '--bind-to', 'core', '--report-bindings', 'sh', '-c', show]
    const { status, stdout, stderr } = await run(words)
    const [first] = nodeProcessors()
    const core = nodeProcessors().filter(
      ({ core: c, package: p }) => c === first?.core && p === first.package,
    )
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: `Cpus_allowed_list:\t${core.map(({ id }) => id).join(',')}\n`,
    })
    expect(stderr).toMatch(
      nodeProcessors().length === core.length
        ? /MCW rank 0 is not bound/
        : /MCW rank 0 bound to socket 0\[core 0/,
    )
  })
  it('are not bound to more cores than there are', async () => {
    const outcome = await run(['-n', String(nodeProcessors().length + 1), '--bind-to', 'core', 'true'])
    expect(outcome).toMatchObject({ status: 2, stdout: '' })
    expect(outcome.stderr).toMatch(/LEET_E_BINDING/)
  })
  it('read the input that the user gives to all, or to one', async () => {
    const all = await run(['-n', '2', '--stdin', 'all', '-l', 'cat'], 'a\nb\n')
    expect(lines(all.stdout)).toEqual(['[0] a', '[0] b', '[1] a', '[1] b'])
    expect((await run(['-n', '2', '--stdin', '1', '-l', 'cat'], 'a\n')).stdout).toBe('[1] a\n')
    expect((await run(['-n', '2', '--stdin', 'none', '-l', 'cat'], 'a\n')).stdout).toBe('')
  })
  it('write into files, with or without a copy for the user', async () => {
    const out = join(place.directory, 'out')
    const say = ['sh', '-c', 'echo $OMPI_COMM_WORLD_RANK; echo err >&2']
    const { stdout, stderr } = await run(['-n', '2', '--output-filename', out, ...say])
    expect([lines(stdout), lines(stderr)]).toEqual([
      ['0', '1'],
      ['err', 'err'],
    ])
    expect(readFileSync(join(out, '1', 'rank.1', 'stdout'), 'utf8')).toBe('1\n')
    expect(readFileSync(join(out, '1', 'rank.1', 'stderr'), 'utf8')).toBe('err\n')
    const patterns = ['-outfile-pattern', join(out, 'o.%r'), '-errfile-pattern', join(out, 'e')]
    expect(await run(['-n', '2', ...patterns, ...say])).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(readdirSync(out).sort()).toEqual(['1', 'e', 'o.0', 'o.1'])
    expect(readFileSync(join(out, 'e'), 'utf8')).toBe('err\nerr\n')
  })
  it('are told when their files can have no directory', async () => {
    const outcome = await run(['-n', '1', '--output-filename', '/proc/none', 'echo', 'said'])
    expect(outcome).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/\/proc\/none.*LEET_E_OUTPUT/s),
    })
  })
  it('are shown one alone, or with how each ended', async () => {
    const words = ['-n', '2', '-output-from', '1', '-print-all-exitcodes']
    const { status, stdout, stderr } = await run([...words, 'sh', '-c', 'echo $OMPI_COMM_WORLD_RANK'])
    expect({ status, stdout }).toEqual({ status: 0, stdout: '1\n' })
    expect(stderr).toMatch(/^rank +guest +end\n0-1 +\S+ +exit status 0\n$/)
  })
  it('are told of a universe and have the variables that were edited last', async () => {
    const script = join(place.directory, 'tools', 'own-program')
    mkdirSync(join(place.directory, 'tools'))
    writeFileSync(script, '#!/bin/sh\necho "$ADDED $OMPI_UNIVERSE_SIZE"\n', { mode: 0o755 })
    const edits = ['-x', 'ADDED=1', '--prepend-env', 'ADDED[:]', '0', '--append-env', 'ADDED[:]', '2']
    const words = ['-n', '1', '-usize', '9', '--path', join(place.directory, 'tools'), ...edits]
    expect((await run([...words, 'own-program'])).stdout).toBe('0:1:2 9\n')
  })
  it('get a signal that is forwarded', async () => {
    const script = 'trap "echo caught; exit 0" ALRM; kill -ALRM $1; while :; do sleep 0.1; done'
    const starter = ['sh', '-c', 'exec "$0" --guest host -n 1 sh -c "$1" x $$', LEET_MPIRUN, script]
    const { status, stdout } = spawnSync(starter[0] as string, starter.slice(1), {
      encoding: 'utf8',
      env: place.env,
      timeout: 60_000,
    })
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'caught\n' })
  })
})

const LEET_MPIRUN = new URL('../../launcher/bin/leet-mpirun', import.meta.url).pathname
const AS_MPIRUN = new URL('../../launcher/bin/as-mpirun', import.meta.url).pathname

describe('a script that knows mpirun and mpiexec', () => {
  const script = (text: string) =>
    spawnSync('sh', ['-eu', '-c', text], {
      encoding: 'utf8',
      cwd: place.directory,
      env: { ...place.env, PATH: `${AS_MPIRUN}:${process.env.PATH}`, LEET_GUEST: 'host' },
    })

  it('runs as it is with their names first in PATH', () => {
    mkdirSync(join(place.directory, 'case'), { recursive: true })
    writeFileSync(join(place.directory, 'app'), '-n 1 echo master\n-n 2 echo worker\n')
    const { status, stdout } = script(`
      mpirun --version | grep -q 'Open MPI'
      mpiexec -info | grep -q HYDRA
      mpirun --allow-run-as-root --oversubscribe --mca btl_vader_single_copy_mechanism none -np 3 \\
        printenv OMPI_MCA_btl_vader_single_copy_mechanism
      mpiexec -genv A 1 -n 1 printenv A : -env A 2 -n 1 printenv A
      mpiexec.absent 2>/dev/null || mpiexec -configfile app
      mpirun -wdir case -n 1 pwd
      mpiexec.hydra -genv A=3 -n 1 printenv A
    `)
    expect({ status, lines: lines(stdout) }).toEqual({
      status: 0,
      lines: [
        'none',
        'none',
        'none',
        '1',
        '2',
        '3',
        'master',
        'worker',
        'worker',
        join(place.directory, 'case'),
      ].sort(),
    })
  })
  it('is told the nearest option for one that there is not', () => {
    const { status, stderr } = script('mpirun --oversubscrib -n 1 true')
    expect(status).toBe(2)
    expect(stderr).toMatch(/--oversubscribe/)
  })
})

it('--display env shows what is set, why, and what the user’s own wins', async () => {
  const mpi = [
    '--mpi',
    'openmpi',
    '-x',
    'OMPI_MCA_pml=cm',
    '--display',
    'env',
    '--do-not-launch',
    '-n',
    '1',
    'true',
  ]
  const { stdout } = await run(mpi)
  expect(stdout).toMatch(/HWLOC_COMPONENTS=\S+ +# each rank would/)
  expect(stdout).toMatch(new RegExp(`in ${hostname()}:`))
  if (stdout.includes('OMPI_MCA_pml')) expect(stdout).toMatch(/OMPI_MCA_pml=cm +# yours; LEET’s would be ob1/)
})
