// What an agent needs to find its controller and to prove that it belongs to the job: addresses, port, and the job's key.
// It is handed over in the environment where the scheduler forwards that without argv, else in a file of mode 0600.
import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { LeetError } from '../../common/index.ts'
import { MOST_ADDRESSES } from '../networks/own-addresses.ts'

/** How an agent reaches the controller of its job. `key` is a secret. */
export interface Invitation {
  /** Numeric addresses of the controller's node, the likeliest first. */
  readonly addresses: readonly string[]
  readonly port: number
  /** 32 random bytes that only this job's processes have. */
  readonly key: Uint8Array
}

/** Environment variable that holds an invitation. */
export const INVITATION_VARIABLE = 'LEET_AGENT'
/** Environment variable that names a file that holds one. */
export const INVITATION_FILE_VARIABLE = 'LEET_AGENT_FILE'

const KEY_BYTES = 32
const MOST_BYTES = 4096

/** A new job key. */
export function newJobKey(): Uint8Array {
  return randomBytes(KEY_BYTES)
}

/** An invitation as one word of printable ASCII. It contains the key. */
export function encodeInvitation({ addresses, port, key }: Invitation): string {
  return [addresses.join(','), port, Buffer.from(key).toString('base64url')].join('/')
}

/** Reads `encodeInvitation`'s word; `LEET_E_INVITATION` says what is wrong with it, never what is in it. */
export function decodeInvitation(text: string): Invitation {
  const [addresses = '', port = '', key = '', ...rest] =
    text.length > MOST_BYTES ? [] : text.trim().split('/')
  const invitation: Invitation = {
    addresses: addresses.split(','),
    port: /^\d{1,5}$/.test(port) ? Number(port) : 0,
    key: /^[\w-]*$/.test(key) ? Buffer.from(key, 'base64url') : Buffer.alloc(0),
  }
  if (rest.length > 0) throw unreadable('it has too many parts')
  if (invitation.addresses.length > MOST_ADDRESSES || invitation.addresses.some((one) => isIP(one) === 0)) {
    throw unreadable('its addresses are not numeric')
  }
  if (invitation.port < 1 || invitation.port > 65535) throw unreadable('its port is not a number')
  if (invitation.key.length !== KEY_BYTES) throw unreadable(`its key does not have ${KEY_BYTES} bytes`)
  return invitation
}

/** Writes an invitation to a new file that its user alone can read. Remove it once all agents have connected. */
export function writeInvitation(path: string, invitation: Invitation): void {
  writeFileSync(path, `${encodeInvitation(invitation)}\n`, { flag: 'wx', mode: 0o600 })
}

/**
 * The invitation of this process, from its environment; the variables are removed, so that no child inherits the key.
 * `LEET_E_INVITATION` when there is none or it is not to be trusted.
 */
export function takeInvitation(env: NodeJS.ProcessEnv): Invitation {
  const { [INVITATION_VARIABLE]: word, [INVITATION_FILE_VARIABLE]: file } = env
  delete env[INVITATION_VARIABLE]
  delete env[INVITATION_FILE_VARIABLE]
  if (word) return decodeInvitation(word)
  if (file) return decodeInvitation(readSecret(file))
  throw new LeetError({
    code: 'LEET_E_INVITATION',
    what: 'this agent was not started by leet-mpirun',
    why: `neither ${INVITATION_VARIABLE} nor ${INVITATION_FILE_VARIABLE} is set`,
    hint: 'agents are started by leet-mpirun, through the scheduler; does it forward the environment?',
  })
}

function readSecret(path: string): string {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    throw unreadable(
      `${path}: ${(error as NodeJS.ErrnoException).code}`,
      'set XDG_CACHE_HOME to a directory that all nodes share',
    )
  }
  try {
    const found = fstatSync(file)
    if (!found.isFile() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0) {
      throw unreadable(`${path} is not a file that belongs to this user alone`)
    }
    if (found.size > MOST_BYTES) throw unreadable(`${path} is too large`)
    return readFileSync(file, 'latin1')
  } finally {
    closeSync(file)
  }
}

function unreadable(why: string, hint?: string): LeetError {
  return new LeetError({ code: 'LEET_E_INVITATION', what: "the job's invitation cannot be used", why, hint })
}
