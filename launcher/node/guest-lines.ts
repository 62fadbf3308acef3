// The serial lines of a session's guests, as their node answers for them: what a guest has written, piece by piece as it
// is asked for, so that nobody has more under way than he can take; and what is typed.
import { LeetError } from '../../common/index.ts'
import type { Exchange } from '../../mpi-bridge/index.ts'
import type { Machine } from '../machines/machine.ts'

/** Of the questions. */
export const LINES_TOPIC = 'guest-lines'

/** A guest's serial line. */
export type GuestLine = Pick<Machine, 'console' | 'type'>

/** A question to the node of a guest: where its console ends now, what it has from a position on, or to type. */
export type LineQuestion =
  | { readonly guest: number; readonly want: 'end' }
  /** Answered when there is something, or with nothing after a while. */
  | { readonly guest: number; readonly want: 'more'; readonly from: number }
  /** Base64. */
  | { readonly guest: number; readonly want: 'type'; readonly keys: string }

/** A piece of what a guest wrote, and the position that follows it. */
export interface LinePiece {
  readonly next: number
  readonly bytes: Uint8Array
}

/** How long an answer waits for the guest to write, in milliseconds. */
const PATIENCE_MS = 10_000
const POSITION_BYTES = 8

/** Answers for the guests of this node. `lineOf` gives the line of a guest, by its index. */
export function serveLines(exchange: Exchange, lineOf: (guest: number) => GuestLine | undefined): void {
  exchange.answer(LINES_TOPIC, async (request) => {
    const question: LineQuestion = JSON.parse(Buffer.from(request).toString('utf8'))
    const line = lineOf(question.guest)
    if (!line) {
      throw new LeetError({
        code: 'LEET_E_SESSION',
        what: 'the guest has no serial line',
        why: 'it is not up, or no more',
        hint: '`leet status` shows how the guests are',
      })
    }
    const { console } = line
    switch (question.want) {
      case 'end':
        return encodePiece({ next: console.length, bytes: new Uint8Array() })
      case 'more':
        if (question.from >= console.length) await more(line)
        return encodePiece(console.read(question.from))
      case 'type':
        line.type(Buffer.from(question.keys, 'base64'))
        return encodePiece({ next: console.length, bytes: new Uint8Array() })
    }
  })
}

function more({ console }: GuestLine): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      unwatch()
      resolve()
    }
    const timer = setTimeout(done, PATIENCE_MS)
    timer.unref()
    const unwatch = console.watch(done)
  })
}

function encodePiece({ next, bytes }: LinePiece): Uint8Array {
  const head = Buffer.alloc(POSITION_BYTES)
  head.writeBigUInt64BE(BigInt(next))
  return Buffer.concat([head, bytes])
}

/** An answer of `serveLines`. */
export function decodePiece(answer: Uint8Array): LinePiece {
  const next = Number(Buffer.from(answer.buffer, answer.byteOffset, POSITION_BYTES).readBigUInt64BE())
  return { next, bytes: answer.subarray(POSITION_BYTES) }
}
