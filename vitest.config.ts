// Test projects by what they need: unit and protocol run in seconds; guest, cluster and browser need real parts. Tests
// that take minutes are tagged `long`: `npm run test:long`.
import { defineConfig } from 'vitest/config'
import { LONG, RECORD, recorder } from './test/support/record.ts'

// Tests with guests use all processors by themselves; of the others, which wait as much as they work, two files run at a time.
const ONE_BY_ONE = { fileParallelism: false }
const SIDE_BY_SIDE = { fileParallelism: true, maxWorkers: 2 }

const project = (name: string, testTimeout: number, how: object = ONE_BY_ONE) => ({
  test: {
    name,
    ...how,
    include: [`test/${name}/**/*.test.ts`],
    tags: [{ name: LONG, description: 'takes minutes: not part of npm test', timeout: 600_000 }],
    testTimeout,
    hookTimeout: testTimeout,
  },
})

// test/run.ts wants to know what a run was at, even of one that it must end.
const record = process.env[RECORD]

export default defineConfig({
  test: {
    reporters: record === undefined ? ['default'] : ['default', recorder(record)],
    projects: [
      // They leave nothing behind in their process, of which a new one for each file would be half their time.
      project('unit', 60_000, { ...SIDE_BY_SIDE, isolate: false }),
      project('protocol', 180_000, SIDE_BY_SIDE),
      project('guest', 300_000),
      project('cluster', 300_000),
      project('browser', 120_000),
    ],
  },
})
