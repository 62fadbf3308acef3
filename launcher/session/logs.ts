// The log of a session, a file that grows, and the consoles of its guests, shown line by line and clean.
import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { Deadline, isRunning, poll } from '../../common/index.ts'
import { LineDecoder } from '../machines/console.ts'
import { answering } from './door.ts'
import type { Session } from './find.ts'
import { connectLine } from './lines.ts'
import { guestOf, LOG_FILE } from './record.ts'

/** How often it is looked whether the log has grown, in milliseconds. */
const LOOK_MS = 100
const PIECE = 64 * 1024

/** Prints the session's log, or a guest's console; with `follow` until the session has ended. */
export async function showLog(session: Session, guest: string | undefined, follow: boolean): Promise<void> {
  const decoder = new LineDecoder()
  const show = (bytes: Uint8Array) => {
    for (const line of decoder.push(bytes)) process.stdout.write(`${line}\n`)
  }
  if (guest === undefined) await readLog(session, follow, show)
  else {
    const order = { guest: guestOf(session.record, guest), from: 'start', follow } as const
    for await (const bytes of await connectLine(session.directory, order, answering())) show(bytes)
  }
  if (decoder.partial !== '') process.stdout.write(`${decoder.partial}\n`)
}

async function readLog(
  { directory, holder }: Session,
  follow: boolean,
  show: (bytes: Uint8Array) => void,
): Promise<void> {
  const bytes = Buffer.alloc(PIECE)
  const file = openSync(join(directory, LOG_FILE), 'r')
  const showMore = () => {
    for (let size = readSync(file, bytes); size > 0; size = readSync(file, bytes)) {
      show(bytes.subarray(0, size))
    }
  }
  const over = () => {
    const ended = !follow || !isRunning(holder)
    showMore()
    return ended ? true : undefined
  }
  try {
    await poll(over, LOOK_MS, { deadline: Deadline.never }, { what: 'the session to end' })
  } finally {
    closeSync(file)
  }
}
