// Who is let in at a port for links: one that speaks up in time, counted in turns of the listener's own loop.
import { describe, expect, it } from 'vitest'
import { silentLog } from '../../../common/index.ts'
import { connect } from '../../../launcher/agents/connect.ts'
import { newJobKey } from '../../../launcher/agents/invitation.ts'
import { Link } from '../../../launcher/agents/link.ts'
import { listenForLinks } from '../../../launcher/agents/listen.ts'
import type { Message } from '../../../launcher/agents/messages.ts'
import { scopePerTest } from '../../support/scope.ts'
import { limits } from './hub.ts'

const TURN_MS = 10
const SILENCE_MS = 60_000
const FIRST: Message = { kind: 'signalled', signal: 'SIGTERM' }

const unheard = () => {}

describe('a port for links', () => {
  const scope = scopePerTest()
  const admitted = Promise.withResolvers<Message>()

  /** Opens a port and connects to it; `closed` resolves with what the connecting end hears of its end. */
  const open = async () => {
    const key = newJobKey()
    const listener = await listenForLinks({
      scope: scope(),
      key,
      silenceMs: SILENCE_MS,
      log: silentLog,
      turnMs: TURN_MS,
      admit: (link, first) => {
        link.listen({ message: unheard, closed() {} })
        admitted.resolve(first)
      },
    })
    const to = { addresses: ['127.0.0.1'], port: listener.port, key }
    const { socket, connection } = await connect(to, limits(), 'the port')
    const closed = Promise.withResolvers<string>()
    const link = new Link(socket, connection, SILENCE_MS, { message: unheard, closed: closed.resolve })
    return { link, closed: closed.promise }
  }

  it('does not let one stay that says nothing', async () => {
    expect(await (await open()).closed).toMatch(/the connection broke/)
  })

  it('takes what came while its process was held up, however long that was', async () => {
    const { link } = await open()
    link.send(FIRST)
    // Nothing of this process runs for many turns.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50 * TURN_MS)
    expect(await admitted.promise).toEqual(FIRST)
  })
})
