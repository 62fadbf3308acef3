// Which guest numbers of a node are taken, when several jobs, also of several users, have guests on the same bridge: a
// lease is the name of the address, held as long as the process lives.
import { LeetError } from '../../common/index.ts'
import { lockName, type NameLock } from '../journal/name-lock.ts'
import { guestAddress, type Subnet } from './addresses.ts'

/** Guest numbers that belong to this process until it ends or gives them back. */
export interface GuestLease {
  /** For `guestAddress`, ascending. */
  readonly guests: readonly number[]
  release(): void
}

/** Takes the `count` lowest free guest numbers of a node; `LEET_E_ADDRESSES` when there are not as many. */
export async function leaseGuests(subnet: Subnet, node: number, count: number): Promise<GuestLease> {
  const taken: { guest: number; lock: NameLock }[] = []
  const release = () => {
    for (const { lock } of taken) lock.release()
  }
  let others = 0
  try {
    for (let guest = 0; taken.length < count; guest++) {
      const lock = await lockName(`guest/${guestAddress(subnet, node, guest)}`)
      if (lock) taken.push({ guest, lock })
      else others++
    }
  } catch (error) {
    release()
    if (!(error instanceof LeetError) || others === 0) throw error
    const { code, what, hint } = error.details
    throw new LeetError({
      code,
      what,
      hint,
      why: `other jobs on this node have ${others} of them`,
      cause: error,
    })
  }
  return { guests: taken.map(({ guest }) => guest), release }
}
