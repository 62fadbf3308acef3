// leet bench with Linux guests: what it tells of guests is there, in order, and what --timings says.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { GUEST_STAGES } from '../../launcher/bench/observe.ts'
import type { Results, Run, ScalarName } from '../../launcher/bench/results.ts'
import type { Summary } from '../../launcher/bench/summary.ts'
import { type Playground, playground, startLeet } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const MEMORY = 384 * 2 ** 20

describeWith(['qemu-system-x86_64', 'vde_switch', 'mpicc.openmpi'], 'leet bench with Linux guests', () => {
  let place: Playground
  let runs: readonly Run[]
  let images: readonly Run[]
  let results: Results & { readonly summary: Summary }

  beforeAll(async () => {
    place = playground()
    const hello = new URL('../../examples/programs/hello.c', import.meta.url).pathname
    execFileSync('mpicc.openmpi', ['-O2', '-o', join(place.directory, 'hello'), hello])
    const words = ['--kinds', 'linux,host', '-r', '1', '--warmup', '0', '--out', 'out', '--no-osu']
    const micro = ['--mpicc', 'mpicc.openmpi', '--sizes', '8,4K', '--micro-time', '0.01']
    const guests = ['--guests', '2', '--guest-memory', '384M', '--guest-cpus', '1', '-n', '2', './hello']
    const bench = startLeet(
      ['bench', ...words, ...micro, ...guests],
      { cwd: place.directory, env: place.env },
      'leet',
    )
    const { status, stderr } = await bench.ended
    expect({ status, stderr }).toMatchObject({ status: 0 })
    results = JSON.parse(readFileSync(join(place.directory, 'out/results.json'), 'utf8'))
    images = results.runs.filter(({ workload }) => workload === 'image')
    runs = results.runs.filter(({ kind, workload }) => kind === 'linux' && workload !== 'image')
  })
  afterAll(() => place.remove())

  const figure = (run: Run, name: ScalarName) =>
    run.measurements.find(({ metric }) => metric === name)?.value as number

  it('has the figures of guests, each of a size that can be', () => {
    for (const run of runs) {
      expect(run.accelerator).toMatch(/^(kvm|tcg)$/)
      const ready = figure(run, 'memory-ready')
      expect(ready).toBeGreaterThan(2 ** 25)
      expect(figure(run, 'memory-peak')).toBeGreaterThanOrEqual(ready)
      // The guest's memory, and what QEMU needs for itself.
      expect(figure(run, 'memory-peak')).toBeLessThan(MEMORY + 2 ** 30)
      const share = figure(run, 'memory-share-ready')
      expect(share).toBeGreaterThan(2 ** 25)
      expect(figure(run, 'memory-share-end')).toBeGreaterThanOrEqual(share / 2)
      expect(figure(run, 'memory-share-end')).toBeLessThanOrEqual(figure(run, 'memory-peak'))
      expect(figure(run, 'image')).toBeGreaterThan(2 ** 20)
    }
    const [micro] = runs
    const curves = (micro as Run).measurements.filter(({ size }) => size !== undefined)
    expect(curves.map(({ metric, size }) => `${metric} ${size}`)).toEqual(
      ['latency', 'bandwidth', 'allreduce'].flatMap((name) => [`${name} 8`, `${name} 4096`]),
    )
  })

  it('has the stages of each guest in order, within the boot', () => {
    for (const { timeline } of runs) {
      const boot = timeline.job.find(({ name }) => name === 'boot')
      expect(timeline.guests).toHaveLength(2)
      for (const { stages } of timeline.guests) {
        expect(stages.map(({ name }) => name)).toEqual([...GUEST_STAGES])
        const marks = [
          boot?.from ?? 0,
          ...stages.map(({ from }) => from),
          stages.at(-1)?.to ?? 0,
          boot?.to ?? 0,
        ]
        expect(marks).toEqual(marks.toSorted((a, b) => a - b))
      }
    }
  })

  it('agrees with what leet-mpirun says itself', () => {
    for (const run of runs) {
      const events = run.command[run.command.indexOf('--events') + 1] as string
      const said = readFileSync(events.replace(/events$/, 'err'), 'utf8')
      const seconds = (name: string) => Number(new RegExp(`${name} +([0-9.]+) s`).exec(said)?.[1])
      expect(figure(run, 'boot')).toBeCloseTo(seconds('boot of the guests, to ready'), 1.9)
      expect(figure(run, 'launch-last')).toBeCloseTo(seconds('launch to last rank in MPI_Init'), 1.9)
    }
  })

  it('composes the image of the program anew, once and in a store of its own', () => {
    expect(images.map(({ number, kind, command }) => [number, kind, command.at(-1)])).toEqual([
      [1, 'linux', './hello'],
    ])
    const [composed] = images as [Run]
    expect(figure(composed, 'compose')).toBe(composed.seconds)
    const said = readFileSync(join(place.directory, 'out/runs/001-linux-image.out'), 'utf8')
    expect(said).toMatch(/^[0-9a-f]{64}\n/)
    expect(existsSync(join(place.directory, 'out/runs/store'))).toBe(false)
    expect(results.summary.rows.map(({ name }) => name)).toContain('image, composed anew')
  })

  it('leaves nothing', () => {
    expect([place.files(), place.processes()]).toEqual([[], []])
  })
})
