// The command of a node agent, which leet-mpirun starts through the scheduler: `leet-agent JOB NODE NODE-VARIABLE`.
import { lineLog } from '../../common/index.ts'
import { agentMain } from '../agents/main.ts'
import { Journal } from '../journal/journal.ts'
import { reap } from '../journal/reaper.ts'
import { createLocalWorker } from '../node/local-worker.ts'
import { version } from '../plan/version.ts'

/** Works for the controller until it ends this agent or is gone; resolves to the exit status. */
export async function leetAgent([
  jobId = 'unknown',
  node = '',
  nodeVariable = '',
]: readonly string[]): Promise<number> {
  // Who started this agent may be gone before it; what it then says is lost, but it must still clean up.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  const names = [node, process.env[nodeVariable] ?? ''].filter(Boolean)
  const log = lineLog((text) => process.stderr.write(text), `${names[0] ?? 'agent'}: `, false)
  // The controller does the same on its node: what killed jobs of this user left is removed by the next one.
  await reap({ log })
  const journal = await Journal.open({ jobId })
  try {
    return await agentMain(process.env, {
      version: version(),
      names,
      log,
      makeWorker: (context) => createLocalWorker({ ...context, journal, log }),
    })
  } finally {
    await journal.close()
  }
}
