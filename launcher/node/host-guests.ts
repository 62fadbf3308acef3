// The bare host in the place of a guest: the baseline to which guests are compared.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { openLocalChannel, type RankListener } from '../../mpi-bridge/index.ts'
import type { Journal } from '../journal/journal.ts'
import type { GuestPlan } from '../plan/plan.ts'
import type { NodeGuests } from './node-guests.ts'
import { nodeProcessors } from './processors.ts'

/** The node itself as one "guest" that is always ready. */
export function hostGuests(plan: GuestPlan, journal: Journal): NodeGuests {
  return {
    async boot(scope) {
      return [
        {
          index: plan.index,
          scope,
          serviceHost: '127.0.0.1',
          serviceAddress: '127.0.0.1',
          switchesUser: false,
          processors: () => nodeProcessors(),
          lost: new Promise(() => {}),
          openChannel: (listener, limits) =>
            openLocalChannel(
              {
                ...{ where: plan.name, scope, listener: endingGroups(listener) },
                spawn: (argv) =>
                  journal.spawn(argv, { what: 'the starter of ranks', stdio: 'pipe', endsWithParent: true })
                    .child as ChildProcessWithoutNullStreams,
              },
              limits,
            ),
        },
      ]
    },
  }
}

// A starter that is killed takes its ranks with it, but not what they have started: it is in their process groups.
function endingGroups(listener: RankListener): RankListener {
  const groups = new Map<number, number>()
  return (event) => {
    if (event.kind === 'began') groups.set(event.rank, event.pid)
    else if (event.kind === 'ended' || event.kind === 'failed') groups.delete(event.rank)
    else if (event.kind === 'lost') {
      for (const group of groups.values()) endGroup(group)
    }
    listener(event)
  }
}

function endGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // Nobody is left in it, or nobody of this user's.
  }
}
