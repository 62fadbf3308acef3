// The figures of a bench: what each means, in which unit, and which way is better.
import { formatSize } from '../../common/index.ts'
import type { CurveName, ScalarName } from './results.ts'

/** What a number is. */
export type Unit = 'seconds' | 'bytes' | 'bytes per second'

/** One figure. */
export interface Figure {
  readonly title: string
  readonly unit: Unit
  readonly better: 'less' | 'more'
  /** What exactly was measured. */
  readonly meaning: string
}

/** Figures that are one number for each run, in the order of reports. */
export const SCALARS: Readonly<Record<ScalarName, Figure>> = {
  program: {
    title: 'program',
    unit: 'seconds',
    better: 'less',
    meaning:
      'from the hand-over of the first rank to the end of the last (from the begin of phase launch to the end of phase run); of stock launchers only the whole job can be known',
  },
  job: {
    title: 'whole job',
    unit: 'seconds',
    better: 'less',
    meaning: 'from the start of the command to its end, with image, boot and clean-up',
  },
  boot: {
    title: 'boot to ready',
    unit: 'seconds',
    better: 'less',
    meaning:
      'from the start of the hypervisors until every guest is ready and proved to reach the others (phase boot)',
  },
  start: {
    title: 'start to MPI_Init',
    unit: 'seconds',
    better: 'less',
    meaning:
      'from the start of the command until rank 0 of the MPI benchmark prints that all ranks are through MPI_Init',
  },
  'launch-first': {
    title: 'launch to first rank in MPI_Init',
    unit: 'seconds',
    better: 'less',
    meaning:
      'from the hand-over of the ranks until the first speaks to the process manager, which MPI_Init does',
  },
  'launch-last': {
    title: 'launch to last rank through MPI_Init',
    unit: 'seconds',
    better: 'less',
    meaning: 'from the hand-over of the ranks until the last is initialised',
  },
  iteration: {
    title: 'time per iteration',
    unit: 'seconds',
    better: 'less',
    meaning:
      'from the end of the first iteration to the end of the last by the solver’s log (ClockTime), for each; left out of runs that are too short for its clock, which mostly counts whole seconds',
  },
  'iteration-processor': {
    title: 'processor time per iteration',
    unit: 'seconds',
    better: 'less',
    meaning: 'the same in processor time of the first rank (ExecutionTime), as its system counts it',
  },
  'memory-ready': {
    title: 'memory of a guest, ready',
    unit: 'bytes',
    better: 'less',
    meaning: 'resident size of the largest guest’s QEMU when the guest is ready (VmRSS)',
  },
  'memory-peak': {
    title: 'memory of a guest, at most',
    unit: 'bytes',
    better: 'less',
    meaning: 'largest resident size of the largest guest’s QEMU during the run (VmHWM)',
  },
  'memory-share-ready': {
    title: 'memory of a guest, its share, ready',
    unit: 'bytes',
    better: 'less',
    meaning:
      'proportional size of the largest guest’s QEMU when the guest is ready: pages that several processes have count in parts (Pss)',
  },
  'memory-share-end': {
    title: 'memory of a guest, its share, at the end',
    unit: 'bytes',
    better: 'less',
    meaning:
      'the same when the ranks have ended; guests give nothing back, so that this is the most they had (Pss)',
  },
  image: {
    title: 'image',
    unit: 'bytes',
    better: 'less',
    meaning: 'kernel, initial file system and disk that guests boot',
  },
  compose: {
    title: 'image, composed anew',
    unit: 'seconds',
    better: 'less',
    meaning: 'from the start of leet image compose to its end, once, into a store that has nothing yet',
  },
}

/** Figures over message size. */
export const CURVES: Readonly<Record<CurveName, Figure>> = {
  latency: {
    title: 'latency',
    unit: 'seconds',
    better: 'less',
    meaning: 'half of a round trip between the first and the last rank',
  },
  bandwidth: {
    title: 'bandwidth',
    unit: 'bytes per second',
    better: 'more',
    meaning: 'from the first to the last rank, with up to 64 messages and 4 MiB under way at once',
  },
  allreduce: {
    title: 'allreduce',
    unit: 'seconds',
    better: 'less',
    meaning: 'MPI_Allreduce of floats over all ranks',
  },
}

/** A value with three significant digits in a unit that suits it: `1.23 ms`, `458 MiB`, `2.10 GB/s`. */
export function formatValue(value: number, unit: Unit): string {
  if (unit === 'bytes') return formatSize(Math.round(value))
  if (unit === 'bytes per second')
    return scaled(value, [
      [1e9, 'GB/s'],
      [1e6, 'MB/s'],
      [1e3, 'kB/s'],
      [1, 'B/s'],
    ])
  return scaled(value, [
    [1, 's'],
    [1e-3, 'ms'],
    [1e-6, 'µs'],
    [1e-9, 'ns'],
  ])
}

function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  // What rounds to a thousand of a smaller unit is one of the larger.
  const [factor, name] = units.find(([each]) => value >= each * 0.9995) ?? (units.at(-1) as [number, string])
  return `${digits(value / factor)} ${name}`
}

/** Three significant digits, without an exponent. */
export function digits(value: number): string {
  // Rounded first: 0.9999 has one digit before the point.
  const whole = Math.floor(Math.log10(Number(Math.max(value, 1e-12).toPrecision(3)))) + 1
  return value.toFixed(Math.min(6, Math.max(0, 3 - whole)))
}

/** A message size as people say it: `8 B`, `64 KiB`. */
export function sizeName(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value} ${units[unit]}`
}
