// Which guest numbers of a node are taken, when several jobs, also of several users, have guests on the same bridge: a
// lease is the name of the address, held as long as the process lives.
import { LeetError, type Scope } from '../../common/index.ts'
import { lockName } from '../journal/name-lock.ts'
import { guestAddress, type Subnet } from './addresses.ts'

/**
 * Takes the `count` lowest free guest numbers of a node until `scope` ends: for `guestAddress`, ascending.
 * `LEET_E_ADDRESSES` when there are not as many.
 */
export async function leaseGuests(
  subnet: Subnet,
  node: number,
  count: number,
  scope: Scope,
): Promise<readonly number[]> {
  const taken: number[] = []
  let others = 0
  try {
    for (let guest = 0; taken.length < count; guest++) {
      const address = guestAddress(subnet, node, guest)
      const lock = await lockName(`guest/${address}`)
      if (lock) {
        scope.onEnd(`the lease of ${address}`, lock.release)
        taken.push(guest)
      } else others++
    }
  } catch (error) {
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
  return taken
}
