// Test projects by what they need: unit and protocol run in seconds; guest, cluster and browser need real parts. Files
// named `*.long.test.ts` are the long tests of their folder: `npm run test:long`.
import { defineConfig } from 'vitest/config'
import { RECORD, recorder } from './test/support/record.ts'

const project = (name: string, testTimeout: number, fileParallelism = false) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    exclude: ['**/*.long.test.ts'],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism,
  },
})

const long = (folder: string, testTimeout: number) => {
  const { test } = project(folder, testTimeout)
  return {
    test: { ...test, name: `${folder}-long`, include: [`test/${folder}/**/*.long.test.ts`], exclude: [] },
  }
}

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
      long('guest', 600_000),
      long('cluster', 600_000),
    ],
  },
})
