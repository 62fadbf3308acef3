// The threads of a QEMU's vCPUs, put on their processors.
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'

/** The thread of each vCPU, by its number, in the answer to QMP's `query-cpus-fast` (qapi/machine.json, CpuInfoFast). */
export function vcpuThreads(answer: unknown): number[] {
  const threads: number[] = []
  for (const cpu of Array.isArray(answer) ? answer : []) {
    const { 'cpu-index': index, 'thread-id': thread } = cpu as Record<string, unknown>
    if (typeof index === 'number' && typeof thread === 'number') threads[index] = thread
  }
  return threads
}

/** Pins each vCPU to its processor; `answer` is that of `query-cpus-fast`. */
export async function pinVcpus(
  processors: readonly number[],
  answer: unknown,
  limits: WaitLimits,
): Promise<void> {
  const threads = vcpuThreads(answer)
  await Promise.all(
    processors.map(async (processor, index) => {
      const { status, stderr } = await runCommand(
        ['taskset', '-p', '-c', String(processor), String(threads[index])],
        limits,
      )
      if (status === 0) return
      throw new LeetError({
        code: 'LEET_E_PLACEMENT',
        what: `vCPU ${index} cannot be put on processor ${processor}`,
        why: stderr.trim(),
        hint: '--guest-pin no',
      })
    }),
  )
}
