// The fields of results.json, once: as the JSON schema that `leet bench --schema` prints, and as the check of results that
// are read. The compiler refuses a field that the types of results.ts have and this has not.
import { CURVES, type Figure, SCALARS } from './figures.ts'
import {
  type CurveName,
  type Environment,
  type Fields,
  FORMAT,
  KIND_NAMES,
  type Kind,
  type Measurement,
  MPI_NAMES,
  type Mpi,
  type PlannedRun,
  type ProgramFile,
  type Results,
  type Run,
  type ScalarName,
  type Span,
  type Timeline,
  type Workload,
} from './results.ts'
import {
  constant,
  list,
  number,
  optional,
  pair,
  record,
  type Schema,
  type Shape,
  text,
  words,
} from './shape.ts'
import type { Comparison, MedianRatio, Spread } from './statistics.ts'
import type { Cell, Curve, Doubt, Row, Short, Summary } from './summary.ts'

const kind = words(Object.keys(KIND_NAMES) as Kind[])
const mpi = words(
  Object.keys(MPI_NAMES) as Mpi[],
  'missing where nobody knows it; of what was concluded, where there was only one',
)
const scalarNames = Object.keys(SCALARS) as ScalarName[]
const curveNames = Object.keys(CURVES) as CurveName[]
const workload = words<Workload>(
  ['program', 'micro', ...curveNames.map((name): Workload => `osu-${name}`), 'image'],
  'the user’s program, a benchmark of MPI, or the making of the image',
)

const plannedRun = record<PlannedRun>({
  round: number('from 1; warm-up rounds are 0 and below'),
  kind,
  workload,
  mpi: optional(mpi),
})

const measurement = record<Measurement>({
  metric: words<ScalarName | CurveName>([...scalarNames, ...curveNames]),
  size: optional(number('bytes of a message')),
  value: number('seconds, bytes, or bytes per second of a bandwidth'),
})

const span = record<Span>({
  name: text(),
  from: number('seconds since the command was started'),
  to: number(),
})

const timeline = record<Timeline>({
  job: list(span),
  guests: list(record<Timeline['guests'][number]>({ guest: text(), stages: list(span) })),
})

const run = record<Run>({
  number: number('place in the plan, from 1'),
  round: number('from 1; warm-up rounds are 0 and below'),
  kind,
  workload,
  mpi: optional(mpi),
  command: list(text()),
  startedAt: number('milliseconds since 1970'),
  seconds: number('from the start of the command to its end'),
  failure: optional(text('why it does not count')),
  accelerator: optional(text('kvm or tcg')),
  iterations: optional(number('that the log of a solver tells of')),
  measurements: list(measurement),
  timeline,
})

const fields = record<Fields>({
  kind,
  files: number('that its first run wrote'),
  differs: optional(
    text('the first that is another than the baseline’s; missing: all are the same, bit by bit'),
  ),
})

const environment = record<Environment>({
  leet: text('version'),
  host: text(),
  system: text(),
  kernel: text(),
  processor: text(),
  cpus: number(),
  memory: number('bytes'),
  load: pair(number(), 'load averages of one minute before and after'),
  qemu: optional(text()),
  mpi: optional(text()),
  nodes: list(text()),
  scheduler: text(),
})

const spread = record<Spread>({
  count: number(),
  least: number(),
  lowerQuartile: number(),
  median: number(),
  upperQuartile: number(),
  most: number(),
  outliers: list(number(), 'values beyond Tukey’s fences; they count'),
})

const comparison = record<Comparison>({
  ratio: number('median of all quotients of a run of this kind and one of the baseline'),
  interval: optional(pair(number())),
  p: number('of the exact test of Mann and Whitney'),
  verdict: words<Comparison['verdict']>(['more', 'less', 'noise', 'unknown']),
  needed: optional(number('repetitions that would probably tell a difference that is within noise')),
})

const medians = record<MedianRatio>({
  ratio: number('of the medians of this kind and of the baseline'),
  interval: optional(pair(number(), 'by bootstrap')),
})

const figure = record<Figure>({
  title: text(),
  unit: words<Figure['unit']>(['seconds', 'bytes', 'bytes per second']),
  better: words<Figure['better']>(['less', 'more']),
  meaning: text(),
})

const cell = record<Cell>({
  kind,
  values: list(number(), 'of the runs that count'),
  spread,
  comparison: optional(comparison),
  medians: optional(medians),
})

const row = record<Row>({ name: text(), mpi: optional(mpi), figure, cells: list(cell) })

const summary = record<Summary>(
  {
    rows: list(row),
    curves: list(
      record<Curve>({
        name: words(curveNames),
        mpi: optional(mpi),
        figure,
        points: list(
          record<Curve['points'][number]>({ size: number('bytes of a message'), cells: list(cell) }),
        ),
      }),
    ),
    heads: list(row, 'the figures that answer which is faster'),
    short: record<Short>(
      { which: text(), howMuch: text(), trust: text() },
      'which is faster, by how much, and whether that can be trusted',
    ),
    versus: optional(text()),
    answers: list(text()),
    doubts: list(record<Doubt>({ weight: words<Doubt['weight']>(['grave', 'note']), text: text() })),
  },
  'what was concluded; missing while the bench runs',
)

/** results.json. */
export interface ResultsFile extends Results {
  readonly summary?: Summary
}

/** The shape of results.json. */
export const RESULTS_FILE: Shape<ResultsFile> = record<ResultsFile>({
  format: constant(FORMAT, 'version of this format: another when a field has changed its meaning'),
  begun: text('ISO 8601'),
  ended: text('ISO 8601; when it was written last'),
  command: list(text(), 'as typed'),
  directory: text('where it was typed'),
  program: optional(list(text(), 'with its arguments; missing when only MPI was measured')),
  case: optional(text('directory of which each run of the program had a fresh copy')),
  fields: optional(list(fields, 'what was written of the case')),
  ranks: number(),
  guests: number(),
  kinds: list(kind),
  baseline: words(Object.keys(KIND_NAMES) as Kind[], 'what the others are compared with'),
  repetitions: number('rounds that count'),
  warmup: number('rounds before them'),
  seed: optional(number('what the order of the kinds was drawn with')),
  notes: list(text()),
  environment,
  programs: list(record<ProgramFile>({ file: text(), sha256: text() }), 'files that were run'),
  plan: list(plannedRun, 'all runs in their order, done or not'),
  runs: list(run),
  summary: optional(summary),
})

/** The JSON schema of results.json. */
export function resultsSchema(): Schema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'results.json of leet bench',
    description: 'What was measured, run by run, where, and what was concluded',
    ...RESULTS_FILE.schema,
  }
}
