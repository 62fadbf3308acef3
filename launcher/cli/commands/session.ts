// What the commands about a session have in common: which session they mean.
import { ancestors } from '../../../common/index.ts'
import type { Session } from '../../session/find.ts'

/** The session of that name; without one that of this job, or else the only one. */
export async function thisSession(name: string | undefined): Promise<Session> {
  const { listSessions, theSession } = await import('../../session/find.ts')
  const { findAllocation } = await import('../../plan/facts.ts')
  const { jobId } = await findAllocation({}, process.env)
  const word = name ?? process.env.LEET_SESSION
  return theSession(listSessions(), word, { batchJob: jobId, ancestors: ancestors() })
}
