// The serial lines of a session's guests, on whatever node: the keeper asks the guest's node, and passes on what it
// answers at a socket in the session's directory, which is its user's alone. A caller sends one line of JSON and gets one;
// from there on he reads what the guest writes, and what he writes is typed.
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { Deadline, LeetError, type Scope, type WaitLimits, waitFor } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/index.ts'
import { fromWire, toWire } from '../agents/messages.ts'
import { decodePiece, LINES_TOPIC, type LinePiece, type LineQuestion } from '../node/guest-lines.ts'
import type { JobPlan } from '../plan/plan.ts'

/** Name of the socket in the session's directory. */
const SOCKET = 'lines'
/** How long the node of a guest may take to answer; longer than it waits for the guest. */
const ANSWER_MS = 60_000

/** What a caller wants of a guest's line. */
export interface LineOrder {
  /** Its index. */
  readonly guest: number
  /** All that it wrote, or what it writes from now on. */
  readonly from: 'start' | 'end'
  /** Go on until the session ends, or only to what there is now. */
  readonly follow: boolean
}

/** Serves a session's lines in `directory` until `scope` ends; resolves when callers can connect. */
export async function openLines(
  directory: string,
  { guests }: Pick<JobPlan, 'guests'>,
  exchange: Exchange,
  scope: Scope,
): Promise<void> {
  const callers = new Set<Socket>()
  const server = createServer((socket) => {
    callers.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => callers.delete(socket))
    const ask = async (question: LineQuestion): Promise<LinePiece> => {
      const node = guests[question.guest]?.node ?? -1
      const limits = { deadline: Deadline.after(ANSWER_MS), signal: scope.signal }
      const answer = await exchange.ask(node, LINES_TOPIC, Buffer.from(JSON.stringify(question)), limits)
      return decodePiece(answer)
    }
    // What ends a caller, his own end among it, is nothing to the session.
    const order = waitFor(
      readLine(socket),
      { deadline: Deadline.after(ANSWER_MS), signal: scope.signal },
      { what: 'what a caller wants' },
    )
    order.then((line) => serve(socket, JSON.parse(line), ask)).catch(() => socket.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(join(directory, SOCKET), resolve)
  })
  scope.onEnd('the lines of its guests', () => {
    server.close()
    for (const caller of callers) caller.destroy()
  })
}

async function serve(
  socket: Socket,
  { guest, from, follow }: LineOrder,
  ask: (question: LineQuestion) => Promise<LinePiece>,
): Promise<void> {
  const answer = (word: object) => socket.write(`${JSON.stringify(word)}\n`)
  let end: number
  try {
    end = (await ask({ guest, want: 'end' })).next
  } catch (error) {
    answer({ error: toWire(error) })
    socket.end()
    return
  }
  answer({})
  void passKeys(socket, (keys) => ask({ guest, want: 'type', keys })).catch(() => socket.destroy())
  for (let at = from === 'start' ? 0 : end; follow || at < end; ) {
    const { next, bytes } = await ask({ guest, want: 'more', from: at })
    at = next
    if (bytes.length > 0 && !socket.write(bytes)) await drained(socket)
    if (socket.destroyed) return
  }
  socket.end()
}

// One piece after the other, so that they are typed in their order.
async function passKeys(socket: Socket, type: (keys: string) => Promise<unknown>): Promise<void> {
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) await type(bytes.toString('base64'))
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('drain', resolve)
    socket.once('close', resolve)
  })
}

/** Connects to the line of a guest; what its node cannot give is an error. */
export async function connectLine(directory: string, order: LineOrder, limits: WaitLimits): Promise<Socket> {
  const socket = connectSocket(join(directory, SOCKET))
  socket.write(`${JSON.stringify(order)}\n`)
  const { error } = JSON.parse(await waitFor(readLine(socket), limits, { what: 'an answer of the session' }))
  if (!error) return socket
  socket.destroy()
  throw fromWire(error)
}

/** The first line; what follows stays to be read. */
async function readLine(socket: Socket): Promise<string> {
  let text = Buffer.alloc(0)
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
    text = Buffer.concat([text, bytes])
    const at = text.indexOf('\n')
    if (at < 0) continue
    socket.unshift(text.subarray(at + 1))
    return text.toString('utf8', 0, at)
  }
  throw new LeetError({
    code: 'LEET_E_SESSION',
    what: 'the session has ended',
    hint: '`leet status` shows those that are up',
  })
}
