// Which guest numbers of a node are taken, when several jobs, also of several users, have guests on the same bridge. A
// lease is a listening socket in Linux's abstract namespace (unix(7)), named after the address: the kernel knows it in
// the whole network namespace, gives it to one process only, and takes it back when that process ends, however it ends.
import { createServer, type Server } from 'node:net'
import { LeetError } from '../../common/index.ts'
import { guestAddress, type Subnet } from './addresses.ts'

/** Guest numbers that belong to this process until it ends or gives them back. */
export interface GuestLease {
  /** For `guestAddress`, ascending. */
  readonly guests: readonly number[]
  release(): void
}

/** Takes the `count` lowest free guest numbers of a node; `LEET_E_ADDRESSES` when there are not as many. */
export async function leaseGuests(subnet: Subnet, node: number, count: number): Promise<GuestLease> {
  const taken: { guest: number; lock: Server }[] = []
  const release = () => {
    for (const { lock } of taken) lock.close()
  }
  let others = 0
  try {
    for (let guest = 0; taken.length < count; guest++) {
      const lock = await lockName(guestAddress(subnet, node, guest))
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

function lockName(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    // Whoever connects learns that the address is in use, which is no secret.
    const server = createServer((socket) => socket.destroy())
    server.unref()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(`\0leet-guest/${address}`, () => resolve(server))
  })
}
