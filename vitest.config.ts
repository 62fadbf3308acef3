// Test projects by what they need: unit and protocol run in seconds; guest, cluster and browser need real parts. Tests
// that take minutes are tagged `long`: `npm run test:long`.
import { defineConfig } from 'vitest/config'
import { LONG, RECORD, recorder } from './test/support/record.ts'

const project = (name: string, testTimeout: number, fileParallelism = false) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    tags: [{ name: LONG, description: 'takes minutes: not part of npm test', timeout: 600_000 }],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism,
  },
})

// test/run.ts wants to know what a run was at, even of one that it must end.
const record = process.env[RECORD]

export default defineConfig({
  test: {
    reporters: record === undefined ? ['default'] : ['default', recorder(record)],
    projects: [
      project('unit', 60_000, true),
      project('protocol', 180_000),
      project('guest', 300_000),
      project('cluster', 300_000),
      project('browser', 120_000),
    ],
  },
})
