// Test projects by what they need: unit and protocol run in seconds; guest, cluster and browser need real parts.
import { defineConfig } from 'vitest/config'

const project = (name: string, testTimeout: number, fileParallelism = false) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism,
  },
})

export default defineConfig({
  test: {
    projects: [
      project('unit', 60_000, true),
      project('protocol', 180_000),
      project('guest', 600_000),
      project('cluster', 600_000),
      project('browser', 120_000),
    ],
  },
})
