// Linux guests that a session keeps, for one of its jobs: the job has a connection of its own to each, with which all
// that it started there ends, and never ends the guest.
import { LeetError, type Log } from '../../common/index.ts'
import type { GuestPlan } from '../plan/plan.ts'
import { explainingMissing } from './cloud-words.ts'
import type { NodeGuest, NodeGuests } from './node-guests.ts'
import { openGuestChannel } from './ssh-guests.ts'
import type { HeldGuest, LinuxAccess } from './worker.ts'

/** What `heldGuests` is told. */
export interface HeldGuestsContext {
  /** The guests of this node that the job uses. */
  readonly guests: readonly GuestPlan[]
  readonly held: Readonly<Record<string, HeldGuest>>
  /** What leads into the guests of the session. */
  readonly access: LinuxAccess
  /** They booted a distribution's own image. */
  readonly ownImage: boolean
  readonly log: Log
}

/** The guests of a session on this node; they are ready. */
export function heldGuests({ guests, held, access, ownImage, log }: HeldGuestsContext): NodeGuests {
  return {
    boot(scope, onState) {
      return scope.each(
        guests,
        ({ name }) => name,
        async (guest, own): Promise<NodeGuest> => {
          const known = held[guest.name]
          if (!known) {
            throw new LeetError({
              code: 'LEET_E_SESSION',
              what: 'it is not of the session',
              where: guest.name,
            })
          }
          onState(guest.index, 'ready')
          return {
            index: guest.index,
            scope: own,
            serviceHost: '127.0.0.1',
            serviceAddress: known.serviceAddress,
            switchesUser: true,
            // The session knows why a guest of its own is gone; here the channel breaks.
            lost: new Promise(() => {}),
            channelExplains: true,
            openChannel: (listener, limits) => {
              const told = ownImage ? explainingMissing(listener, guest.name, log) : listener
              return openGuestChannel(guest, { port: known.port, access, scope: own, listener: told }, limits)
            },
          }
        },
      )
    },
  }
}
