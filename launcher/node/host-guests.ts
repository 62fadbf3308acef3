// The bare host in the place of a guest: the baseline to which guests are compared.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { openLocalChannel } from '../../mpi-bridge/index.ts'
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
                ...{ where: plan.name, scope, listener },
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
