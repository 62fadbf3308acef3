// The way into a guest of a session for a command of its user: over SSH, by the forwarded port on the guest's own node,
// or by the guest's address on the bridge that joins the nodes; in a mesh, which the nodes are not part of, through a guest
// of this node.
import { Deadline, LeetError } from '../../common/index.ts'
import { mpiSettings, type SshOptions } from '../../mpi-bridge/index.ts'
import { surroundingsOf } from '../plan/network.ts'
import type { GuestPlan } from '../plan/plan.ts'
import { guestOf, type SessionGuest, type SessionRecord } from './record.ts'

/** How long a guest that is up may take to answer, in milliseconds. */
const ANSWER_MS = 30_000

/** A guest of a session, found by what the user calls it. */
export interface GuestDoor {
  readonly guest: GuestPlan
  readonly target: SshOptions
  /** Variables that its MPI programs need, whoever starts them. */
  readonly mpi: Readonly<Record<string, string>>
}

/** The door of a guest; `LEET_E_SESSION` when there is no such guest, or it is gone. */
export function doorOf(record: SessionRecord, word: string): GuestDoor {
  const { plan, access, here } = record
  const index = guestOf(record, word)
  const guest = plan.guests[index] as GuestPlan
  const { port, address, lost } = record.guests[index] as SessionGuest
  if (lost !== undefined) {
    throw new LeetError({ code: 'LEET_E_SESSION', what: 'the guest is gone', where: guest.name, why: lost })
  }
  if (access.kind === 'osv') {
    throw new LeetError({
      code: 'LEET_E_SESSION',
      what: 'there is no way into an OSv guest: it has neither a shell nor processes',
      where: guest.name,
      hint: 'leet-mpirun runs programs in it, `leet logs` shows its console',
    })
  }
  const keys = {
    username: 'root',
    privateKey: access.clientKey.privateKey,
    hostKey: access.hostKey.publicKey,
  }
  const addresses = record.guests.map((one) => one.address)
  const flavours = new Set(plan.programs.map(({ mpi }) => mpi))
  const settings = [...flavours].flatMap((mpi) =>
    mpiSettings(mpi, surroundingsOf(plan, addresses, index, false)),
  )
  return {
    guest,
    target: {
      ...keys,
      where: guest.name,
      ...(guest.node === here
        ? { host: '127.0.0.1', port }
        : {
            host: address,
            port: 22,
            ...(plan.network.mode === 'mesh' ? { through: wayIn(record, keys) } : {}),
          }),
    },
    mpi: Object.fromEntries(settings.map(({ name, value }) => [name, value])),
  }
}

/** A guest of this node that is up. */
function wayIn(
  { plan, here, guests }: SessionRecord,
  keys: Pick<SshOptions, 'username' | 'privateKey' | 'hostKey'>,
): SshOptions {
  const found = plan.guests.find(({ node, index }) => node === here && guests[index]?.lost === undefined)
  if (found) {
    return { ...keys, where: found.name, host: '127.0.0.1', port: (guests[found.index] as SessionGuest).port }
  }
  throw new LeetError({
    code: 'LEET_E_SESSION',
    what: 'guests of other nodes are reached through a guest of this node, which has none',
    hint: '--network bridge=NAME at `leet up`, or the command from a node of the job',
  })
}

/** Limits for reaching a guest that is up. */
export const answering = () => ({ deadline: Deadline.after(ANSWER_MS) })
