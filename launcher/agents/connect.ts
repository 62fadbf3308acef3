// Makes a link to whoever listens with the job's key at one of several addresses.
import type { TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import { LeetError, messageOf, pause, type WaitLimits, waitFor } from '../../common/index.ts'
import { clientTls } from '../networks/tls.ts'
import type { Invitation } from './invitation.ts'
import { MOST_MESSAGE } from './link.ts'

/** An open WebSocket and the connection below it, for a Link. */
export interface Connected {
  readonly socket: WebSocket
  readonly connection: TLSSocket
}

/** The next address is tried when the one before has not answered for so long, in milliseconds. */
const STAGGER_MS = 300

/**
 * Tries the addresses in their order, each a moment after the one before, and takes the first that has the key.
 * `whom` says in errors who was to be reached.
 */
export async function connect(
  { addresses, port, key }: Invitation,
  limits: WaitLimits,
  whom: string,
): Promise<Connected> {
  const [ws, tls] = await Promise.all([import('ws'), import('node:tls')])
  const done = new AbortController()
  const attempt = async (address: string, position: number) => {
    if (position > 0) await pause(position * STAGGER_MS, done.signal)
    return new Promise<Connected>((resolve, reject) => {
      const connection = tls.connect({ host: address, port, ...clientTls(key) })
      const socket = new ws.WebSocket('wss://leet/', {
        createConnection: () => connection,
        perMessageDeflate: false,
        maxPayload: MOST_MESSAGE,
      })
      const abandon = () => socket.terminate()
      done.signal.addEventListener('abort', abandon, { once: true })
      socket.on('error', (error) => reject(new Error(`${address}: ${error.message}`)))
      socket.once('open', () => {
        // Of two that open at once one is too many.
        if (done.signal.aborted) return
        done.signal.removeEventListener('abort', abandon)
        done.abort()
        resolve({ socket, connection })
      })
    })
  }
  try {
    const first = Promise.any(addresses.map(attempt))
    return await waitFor(first, limits, { what: `${whom} to answer` })
  } catch (error) {
    const reasons = error instanceof AggregateError ? error.errors.map(messageOf) : [messageOf(error)]
    throw new LeetError({
      code: 'LEET_E_UNREACHABLE',
      what: `${whom} cannot be reached at port ${port}`,
      why: reasons.join('; '),
      hint: 'the nodes must reach each other; a firewall between them needs a hole',
      cause: error,
    })
  } finally {
    done.abort()
  }
}
