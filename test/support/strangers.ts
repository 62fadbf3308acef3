// Lets the fuzzer of test/simulators loose while a job of `runLocalJob` runs.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { FuzzReport } from '../simulators/port-fuzzer.ts'

const FUZZER = fileURLToPath(new URL('../simulators/port-fuzzer.ts', import.meta.url))

/** A fuzzer that lives as long as the job's ranks. */
export interface Strangers {
  /** For `LocalJob.disturb`. */
  readonly disturb: (ports: readonly number[]) => Promise<() => Promise<void>>
  /** What it did, and for how many milliseconds; after the job. */
  readonly report: () => FuzzReport & { readonly took: number }
}

/**
 * Makes a fuzzer of the job's ports or, for comparison, of a port that is nobody's. With so many connections a second
 * both get the same; with 0 it is as fast as it gets answers.
 */
export function strangers(where: 'job' | 'elsewhere' = 'job', rate = 0): Strangers {
  let report: ReturnType<Strangers['report']> | undefined
  return {
    async disturb(ports) {
      const fuzzer = fork(FUZZER, [rate, ...(where === 'job' ? ports : [])].map(String))
      await once(fuzzer, 'message')
      const began = performance.now()
      return async () => {
        const took = performance.now() - began
        fuzzer.send('stop')
        report = { ...((await once(fuzzer, 'message')) as [FuzzReport])[0], took }
      }
    },
    report: () => report as ReturnType<Strangers['report']>,
  }
}
