// leet bench on the bare host and under the stock launcher, with real MPI, and its figures against those that a user gets.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { SCALARS } from '../../launcher/bench/figures.ts'
import { observe, readEvents } from '../../launcher/bench/observe.ts'
import type { Results } from '../../launcher/bench/results.ts'
import { resultsSchema } from '../../launcher/bench/results-shape.ts'
import { summarise } from '../../launcher/bench/summary.ts'
import { type Playground, playground, startLeet } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const hello = new URL('../../examples/programs/hello.c', import.meta.url).pathname

describeWith(['mpicc.openmpi', 'mpicc.mpich', 'mpirun.openmpi', 'mpiexec.mpich'], 'leet bench', () => {
  let place: Playground
  beforeEach(() => {
    place = playground()
  })
  afterEach(() => place.remove())

  const bench = (argv: readonly string[]) =>
    startLeet(['bench', '--out', 'out', ...argv], { cwd: place.directory, env: place.env }, 'leet')
  const results = (): Results => JSON.parse(readFileSync(join(place.directory, 'out/results.json'), 'utf8'))
  const compile = (mpi: string) =>
    execFileSync(`mpicc.${mpi}`, ['-O2', '-o', join(place.directory, 'hello'), hello])

  it.each([
    ['openmpi', 'mpirun'],
    ['mpich', 'mpiexec'],
  ])('measures %s on the host and under its own launcher', async (mpi, stock) => {
    compile(mpi)
    const words = ['--kinds', `host,${stock}`, '-r', '1', '--warmup', '1', '--sizes', '1,1K,64K']
    const { status, stdout, stderr } = await bench([
      ...[...words, '--micro-time', '0.002', '--no-osu', '--mpicc', `mpicc.${mpi}`, '-n', '2', './hello'],
    ]).ended
    expect({ status, stderr }).toMatchObject({ status: 0 })
    expect(stdout).toMatch(/^Whole job: there are too few repetitions/)
    expect(stdout).toMatch(/^hello .* ms/m)
    const { runs, environment, seed } = results()
    expect(seed).toBeGreaterThanOrEqual(0)
    expect(environment.mpi).toMatch(mpi === 'openmpi' ? /^Open MPI \d[\d.]*$/ : /^MPICH \d[\d.]*$/)
    expect(runs.map(({ failure }) => failure)).toEqual(Array(8).fill(undefined))
    for (const kind of ['host', stock]) {
      const metrics = runs
        .filter((run) => run.kind === kind && run.round === 1)
        .flatMap(({ measurements }) => measurements.map(({ metric, size }) => `${metric}${size ?? ''}`))
      const host =
        kind === 'host' ? ['launch-first', 'launch-first', 'launch-last', 'launch-last', 'program'] : []
      const curves = ['latency', 'bandwidth', 'allreduce'].flatMap((name) =>
        [1, 1024, 65536].filter((size) => name !== 'allreduce' || size >= 4).map((size) => `${name}${size}`),
      )
      expect(metrics.sort()).toEqual([...host, ...curves, 'job', 'start'].sort())
    }
    expect(runs.flatMap(({ measurements }) => measurements).every(({ value }) => value > 0)).toBe(true)
    expect(readdirSync(join(place.directory, 'out')).sort()).toEqual(
      [`micro-${mpi}`, 'report.html', 'results.csv', 'results.json', 'runs'].sort(),
    )
    expect([place.files(), place.processes()]).toEqual([[], []])
  })

  it('measures both MPIs when there is no program, and goes on with both', async () => {
    const words = ['--kinds', 'host,mpirun,mpiexec', '-r', '1', '--warmup', '0', '--no-osu', '-n', '2']
    const micro = ['--sizes', '8,4K', '--micro-time', '0.002']
    const { status, stdout, stderr } = await bench([...words, ...micro]).ended
    expect({ status, stderr }).toMatchObject({ status: 0 })
    const whole = results()
    expect(whole.environment.mpi).toMatch(/^Open MPI [\d.]+, MPICH [\d.]+$/)
    expect(whole.runs.map(({ kind, mpi }) => `${kind} ${mpi}`).sort()).toEqual([
      'host mpich',
      'host openmpi',
      'mpiexec mpich',
      'mpirun openmpi',
    ])
    for (const { kind, mpi, command, measurements } of whole.runs) {
      expect(command.join(' ')).toContain(`/micro-${mpi} 8,4096 0.002`)
      expect(measurements.filter(({ size }) => size !== undefined)).toHaveLength(6)
      const { rows } = summarise(whole)
      const start = rows.find((row) => row.mpi === mpi && row.figure === SCALARS.start)
      expect(start?.cells.find((cell) => cell.kind === kind)?.values).toEqual(
        measurements.filter(({ metric }) => metric === 'start').map(({ value }) => value),
      )
    }
    expect(stdout).toMatch(/^latency, 8 B with MPICH /m)
    expect(readFileSync(join(place.directory, 'out/report.html'), 'utf8')).toContain('MPICH: dashed, hollow')

    // As if it had been killed before its last run.
    writeFileSync(
      join(place.directory, 'out/results.json'),
      JSON.stringify({ ...whole, runs: whole.runs.slice(0, 3) }),
    )
    const resume = ['bench', '--resume', 'out']
    const again = await startLeet(resume, { cwd: place.directory, env: place.env }, 'leet').ended
    expect({ status: again.status, stderr: again.stderr }).toMatchObject({ status: 0 })
    expect(results().runs[3]).toMatchObject({ ...whole.plan[3], command: whole.runs[3]?.command })
  })

  it('measures the MPI of the program, of --mpicc or of --mpi alone', async () => {
    compile('mpich')
    const words = ['--kinds', 'host', '-r', '1', '--warmup', '0', '--no-osu', '--sizes', '8', '-n', '2']
    const mpisOf = async (more: readonly string[]) => {
      rmSync(join(place.directory, 'out'), { recursive: true, force: true })
      expect(await bench([...words, '--micro-time', '0.002', ...more]).ended).toMatchObject({ status: 0 })
      return results().plan.map(({ workload, mpi }) => `${workload} ${mpi}`)
    }
    expect(await mpisOf(['./hello'])).toEqual(['micro mpich', 'program mpich'])
    expect(await mpisOf(['--mpicc', 'mpicc.mpich'])).toEqual(['micro mpich'])
    expect(await mpisOf(['--mpi', 'openmpi'])).toEqual(['micro openmpi'])
  })

  it('has the figures that the same command gives by hand', async () => {
    compile('openmpi')
    await bench(['--kinds', 'host', '-r', '1', '--warmup', '0', '--no-micro', '-n', '2', './hello']).ended
    const [run] = results().runs
    const { command } = run as Results['runs'][number]
    const events = command[command.indexOf('--events') + 1] as string
    rmSync(events)
    const begun = Date.now()
    const { stderr } = await startLeet(command.slice(1), { cwd: place.directory, env: place.env }).ended
    const took = (Date.now() - begun) / 1000
    const text = readFileSync(events, 'utf8')
    const seen = observe(readEvents(text), begun)
    const phaseAt = (phase: string, state: string) => {
      const told = text.split('\n').find((line) => line.includes(`"phase":"${phase}","state":"${state}"`))
      return JSON.parse(told as string).time as number
    }
    const figure = (name: string) => seen.measurements.find(({ metric }) => metric === name)?.value as number
    const said = (name: string) => Number(new RegExp(`${name} +([0-9.]+) s`).exec(stderr)?.[1])
    const names = (each: { metric: string }) => each.metric
    expect((run?.measurements ?? []).map(names).filter((name) => name !== 'job')).toEqual(
      seen.measurements.map(names),
    )
    // --timings rounds to hundredths.
    expect(figure('launch-first')).toBeCloseTo(said('launch to first rank connected'), 1.9)
    expect(figure('launch-last')).toBeCloseTo(said('launch to last rank in MPI_Init'), 1.9)
    // A busy machine takes its time from one phase to the next, and --timings has the phases alone.
    const between = phaseAt('run', 'begin') - phaseAt('launch', 'end')
    expect(figure('program')).toBeCloseTo(
      said('ranks handed over') + between + said('run, to the end of the last rank'),
      1.5,
    )
    expect(seen.timeline.job.at(-1)?.to).toBeLessThanOrEqual(took)
  })

  const solver = (text: string) => {
    mkdirSync(join(place.directory, 'case'))
    const lines = 'ExecutionTime = 1 s  ClockTime = 1 s\nExecutionTime = 1.5 s  ClockTime = 2 s'
    // With the results of another run it has nothing to do.
    const script = `#!/bin/sh\ntest ! -e result || exit 3\necho 1 >result\necho '${lines}'\n${text}\n`
    writeFileSync(join(place.directory, 'case/solve'), script, { mode: 0o755 })
    const stock = ['--kinds', 'host,mpirun', '--mpirun', 'mpirun.openmpi', '--no-micro', '-n', '1']
    return bench(['--case', 'case', '-r', '1', ...stock, './solve']).ended
  }

  it('runs a solver in a fresh copy of its case, times its iterations and compares its fields', async () => {
    const { status, stdout, stderr } = await solver('touch empty')
    expect({ status, stderr }).toMatchObject({ status: 0 })
    const { runs, fields } = results()
    expect(fields).toEqual(['host', 'mpirun'].map((kind) => ({ kind, files: 2 })))
    expect(stdout).toContain('Fields are equal under stock mpirun: all 2 files')
    for (const { iterations, measurements } of runs) {
      expect(iterations).toBe(2)
      expect(measurements).toContainEqual({ metric: 'iteration-processor', value: 0.5 })
    }
    const kept = readdirSync(join(place.directory, 'out/runs')).filter((name) => name.endsWith('.sha256'))
    expect(kept).toHaveLength(runs.length)
    const sums = readFileSync(join(place.directory, 'out/runs', kept[0] as string), 'utf8')
    expect(sums).toMatch(/^[0-9a-f]{64} {2}empty\n[0-9a-f]{64} {2}result\n$/)
    expect(readdirSync(join(place.directory, 'case'))).toEqual(['solve'])
    expect(existsSync(join(place.directory, 'out/runs/case'))).toBe(false)
    expect([place.files(), place.processes()]).toEqual([[], []])
  })

  it('names the first file that is not the same on another kind', async () => {
    const { status, stdout } = await solver('cat /proc/$PPID/comm >parent')
    expect(status).toBe(0)
    expect(results().fields).toMatchObject([{ kind: 'host' }, { kind: 'mpirun', differs: 'parent' }])
    expect(stdout).toMatch(/not equal under stock mpirun: .* is parent/)
  })

  it('refuses a case that is none, or has the results in it', async () => {
    const refused = (words: readonly string[]) => bench([...words, '--no-micro', 'true']).ended
    expect(await refused(['--case', 'absent'])).toMatchObject({ status: 2, stderr: /is not a directory/ })
    expect(await refused(['--case', '.'])).toMatchObject({ status: 2, stderr: /would be in the case/ })
  })

  it('says which runs failed, and why', async () => {
    const script = 'echo no mesh >&2; exit 3'
    const { status, stdout } = await bench([
      '--kinds',
      'host',
      '-r',
      '1',
      '--no-micro',
      '-n',
      '1',
      'sh',
      '-c',
      script,
    ]).ended
    expect(status).toBe(1)
    expect(stdout).toContain('2 of 2 runs failed')
    expect(results().runs[0]?.failure).toMatch(/^status 3\n.*no mesh/s)
    expect(readFileSync(join(place.directory, 'out/report.html'), 'utf8')).toContain('no mesh')
  })

  it('ends at a signal with what it has, and leaves nothing', async () => {
    const running = bench(['--kinds', 'host', '--no-micro', '-n', '1', 'sh', '-c', 'touch began; sleep 600'])
    const began = () => existsSync(join(place.directory, 'began')) || undefined
    await poll(began, 20, { deadline: Deadline.after(60_000) }, { what: 'the first run' })
    running.child.kill('SIGTERM')
    expect((await running.ended).status).toBe(143)
    expect(results().runs).toEqual([])
    expect(readFileSync(join(place.directory, 'out/report.html'), 'utf8')).toContain(
      'The bench was ended with 6 of 6 runs still to do.',
    )
    expect([place.files(), place.processes()]).toEqual([[], []])
  })

  it('goes on where it was killed, on the same machine with the same program', async () => {
    const program = join(place.directory, 'program')
    const write = (script: string) => writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    // The third run waits for ever, until the bench has been killed.
    write('echo x >> began; test "$(wc -l < began)" != 3 || sleep 600')
    const words = ['--kinds', 'host', '-r', '4', '--warmup', '1', '--no-micro', '-n', '1', './program']
    const running = bench(words)
    const began = () => readTextOr(join(place.directory, 'began')).length === 6 || undefined
    await poll(began, 20, { deadline: Deadline.after(60_000) }, { what: 'the third run' })
    running.child.kill('SIGKILL')
    await running.ended
    const kept = results()
    expect(kept.runs.map(({ number }) => number)).toEqual([1, 2])

    const resume = (argv: readonly string[], cwd = place.directory) =>
      startLeet(['bench', '--resume', ...argv], { cwd, env: place.env }, 'leet').ended
    expect(await resume(['out', '-r', '3'])).toMatchObject({ status: 2 })
    expect((await resume([join(place.directory, 'out')], '/')).stderr).toContain(
      'was begun in another directory',
    )
    const saved = readFileSync(program, 'utf8')
    write('true')
    expect((await resume(['out'])).stderr).toContain('the program has changed')
    writeFileSync(program, saved)
    expect(await resume(['out'])).toMatchObject({ status: 0 })
    const { runs, notes } = results()
    expect(runs.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5])
    expect(runs.slice(0, 2)).toEqual(kept.runs)
    expect(notes.join()).toContain('with 2 of 5 runs done')
    expect(await resume(['elsewhere'])).toMatchObject({ status: 2 })
  })

  it('prints the schema of its results', async () => {
    const { status, stdout } = await bench(['--schema']).ended
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toEqual(resultsSchema())
  })

  it('puts two benches side by side', async () => {
    const words = ['--kinds', 'host', '-r', '4', '--warmup', '0', '--no-micro', '-n', '1']
    const leet = (argv: readonly string[]) =>
      startLeet(['bench', ...argv], { cwd: place.directory, env: place.env }, 'leet').ended
    await leet(['--out', 'a', ...words, 'true'])
    await leet(['--out', 'b', ...words, 'sleep', '3'])
    const { status, stdout } = await leet(['compare', 'a', 'b/results.json', '--out', 'c.html'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^true is slower in B than in A on the bare host\./)
    expect(stdout).toContain('Doubt: Not the same was run: true in A, sleep 3 in B.')
    expect(readFileSync(join(place.directory, 'c.html'), 'utf8')).toContain('B against A')
    const { figures } = JSON.parse((await leet(['compare', 'a', 'b', '--json'])).stdout)
    expect(figures[0]).toMatchObject({ name: 'true', kind: 'host', comparison: { verdict: 'more' } })
    expect(await leet(['compare', 'a', 'nowhere'])).toMatchObject({ status: 2 })
  })

  it('refuses to write over other results, and kinds that cannot be had', async () => {
    const words = ['--kinds', 'host', '-r', '1', '--warmup', '0', '--no-micro', '-n', '1', 'true']
    expect((await bench(words).ended).status).toBe(0)
    expect(await bench(words).ended).toMatchObject({ status: 2, stderr: /another --out/ })
    const other = ['bench', '--kinds', 'osv', '--out', 'two', 'true']
    // Named by the environment, as for leet-mpirun.
    const env = { ...place.env, LEET_OSV_BASE: '0'.repeat(64) }
    const refused = await startLeet(other, { cwd: place.directory, env }, 'leet').ended
    expect(refused).toMatchObject({ status: 2 })
    expect(refused.stderr).toContain('osv cannot be measured: there is no OSv base')
    compile('openmpi')
    rmSync(join(place.directory, 'out'), { recursive: true })
    const stock = await bench(['--kinds', 'mpiexec', '--no-micro', './hello']).ended
    expect(stock).toMatchObject({ status: 2 })
    expect(stock.stderr).toContain('mpiexec cannot be measured: the launcher of this MPI is mpirun')
    const strange = await bench(['--mpirun', 'mpiexec.mpich', '--no-micro', './hello']).ended
    expect(strange).toMatchObject({ status: 2, stderr: /mpirun is of MPICH, of which nothing is measured/ })
  })
})

function readTextOr(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}
