// Results of a bench that nobody ran: a value of each part, made from a few numbers, the same in every run.
import {
  canRun,
  type Kind,
  type Measurement,
  type Mpi,
  ofMpi,
  type Results,
  type Run,
} from '../../launcher/bench/results.ts'

/** What may differ from the usual. */
export interface BenchShape {
  readonly kinds: readonly Kind[]
  /** Seconds of the program on each kind; linux 2, osv 1.9, host and the stock launchers 1 unless told. */
  readonly seconds?: Partial<Record<Kind, number>>
  readonly repetitions?: number
  readonly accelerator?: string
  readonly program?: readonly string[] | undefined
  /** What MPI is measured of; one that nobody knows unless told. */
  readonly mpis?: readonly Mpi[]
}

const SECONDS: Readonly<Record<Kind, number>> = { linux: 2, osv: 1.9, host: 1, mpirun: 1, mpiexec: 1 }
const SIZES = Array.from({ length: 21 }, (_, power) => 2 ** power)

/** Makes results. */
export function benchResults(shape: BenchShape): Results {
  const { kinds, repetitions = 5, accelerator = 'kvm' } = shape
  const program = 'program' in shape ? shape.program : ['./solver', '-parallel']
  const runs: Run[] = []
  for (let round = 0; round <= repetitions; round++) {
    const micros = (shape.mpis ?? [undefined]).map((mpi) => ({ workload: 'micro' as const, mpi }))
    const programs = program ? [...micros, { workload: 'program' as const, mpi: shape.mpis?.[0] }] : micros
    for (const { workload, mpi } of programs) {
      for (const kind of kinds.filter((each) => mpi === undefined || canRun(each, mpi))) {
        // Half a per cent from round to round, another way round for each kind.
        const noise = (mpi === 'mpich' ? 1.25 : 1) + 0.005 * (((round * 7 + kinds.indexOf(kind) * 3) % 5) - 2)
        const isGuest = kind === 'linux' || kind === 'osv'
        const seconds = ((shape.seconds?.[kind] ?? SECONDS[kind]) + (isGuest ? 3 : 0.3)) * noise
        runs.push({
          number: runs.length + 1,
          round,
          kind,
          workload,
          ...ofMpi(mpi),
          command: ['leet-mpirun', '--guest', kind, ...(program ?? ['micro'])],
          startedAt: 1.8e12,
          seconds,
          ...(isGuest ? { accelerator } : {}),
          measurements: measurements(shape, kind, workload, noise, seconds),
          timeline: {
            job: [
              { name: 'start', from: 0, to: 0.2 },
              ...(isGuest ? [{ name: 'boot', from: 0.2, to: 2.5 * noise }] : []),
              { name: 'launch', from: 2.5 * noise, to: 2.6 * noise },
              { name: 'run', from: 2.6 * noise, to: seconds - 0.2 },
              { name: 'clean-up', from: seconds - 0.2, to: seconds },
            ],
            guests: isGuest ? [guest('g0', noise), guest('g1', noise * 1.02)] : [],
          },
        })
      }
    }
  }
  for (const kind of kinds.filter((each) => each === 'linux' || each === 'osv')) {
    for (const mpi of shape.mpis?.slice(0, program ? 1 : undefined) ?? [undefined]) {
      runs.push({
        number: runs.length + 1,
        round: 1,
        kind,
        workload: 'image',
        ...ofMpi(mpi),
        command: ['leet', 'image', 'compose', '--guest', kind, ...(program ?? ['micro'])],
        startedAt: 1.8e12,
        seconds: 2.5,
        measurements: [{ metric: 'compose', value: 2.5 }],
        timeline: { job: [{ name: 'run', from: 0, to: 2.5 }], guests: [] },
      })
    }
  }
  return {
    format: 1,
    begun: '2026-01-02T03:04:05.000Z',
    ended: '2026-01-02T03:14:05.000Z',
    command: ['leet', 'bench', '-n', '2', ...(program ?? [])],
    directory: '/home/user/case',
    ...(program ? { program } : {}),
    ranks: 2,
    guests: 2,
    kinds,
    baseline: kinds.includes('host') ? 'host' : (kinds[0] as Kind),
    repetitions,
    warmup: 1,
    notes: [],
    environment: {
      leet: '0.1.0',
      host: 'node1',
      system: 'Debian GNU/Linux 12',
      kernel: '6.1.0',
      processor: 'a processor',
      cpus: 8,
      memory: 2 ** 34,
      load: [0.5, 1.5],
      qemu: 'QEMU emulator version 7.2',
      mpi: 'openmpi 4.1.4',
      nodes: ['node1'],
      scheduler: 'local',
    },
    programs: [{ file: '/home/user/case/solver', sha256: '0'.repeat(64) }],
    plan: runs.map(({ round, kind, workload, mpi }) => ({ round, kind, workload, ...ofMpi(mpi) })),
    runs,
  }
}

function measurements(
  { seconds }: BenchShape,
  kind: Kind,
  workload: 'micro' | 'program',
  noise: number,
  job: number,
): Measurement[] {
  const isGuest = kind === 'linux' || kind === 'osv'
  const slow = isGuest ? 40 : 1
  if (workload === 'micro') {
    return [
      { metric: 'start', value: (isGuest ? 2.8 : 0.3) * noise },
      ...SIZES.flatMap((size): Measurement[] => {
        const latency = (slow * 3e-7 + size / 8e9) * noise
        return [
          { metric: 'latency', size, value: latency },
          { metric: 'bandwidth', size, value: size / latency },
          ...(size < 4 ? [] : [{ metric: 'allreduce' as const, size, value: 2 * latency }]),
        ]
      }),
    ]
  }
  return [
    { metric: 'job', value: job },
    ...(kind === 'mpirun'
      ? []
      : [{ metric: 'program' as const, value: (seconds?.[kind] ?? SECONDS[kind]) * noise }]),
    ...(isGuest
      ? [
          { metric: 'boot' as const, value: 2.3 * noise },
          { metric: 'memory-ready' as const, value: 1e8 * noise },
          { metric: 'memory-peak' as const, value: 2e8 * noise },
          { metric: 'memory-share-ready' as const, value: 8e7 * noise },
          { metric: 'memory-share-end' as const, value: 1.8e8 * noise },
          { metric: 'image' as const, value: 6e7 },
        ]
      : []),
  ]
}

function guest(name: string, noise: number) {
  const marks = [0.25, 0.4, 1.6, 1.9, 2.2].map((at) => at * noise)
  return {
    guest: name,
    stages: ['hypervisor', 'kernel', 'set-up', 'control'].map((stage, index) => ({
      name: stage,
      from: marks[index] as number,
      to: marks[index + 1] as number,
    })),
  }
}
