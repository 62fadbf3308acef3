// The serial lines of a session's guests as their node answers for them and the keeper passes them on.
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, LeetError, poll, silentLog } from '../../../common/index.ts'
import { GuestConsole } from '../../../launcher/machines/console.ts'
import { serveLines } from '../../../launcher/node/guest-lines.ts'
import type { JobPlan } from '../../../launcher/plan/plan.ts'
import { connectLine, type LineOrder, openLines } from '../../../launcher/session/lines.ts'
import { createLocalExchange } from '../../../mpi-bridge/index.ts'
import { scopePerTest } from '../../support/scope.ts'

const limits = () => ({ deadline: Deadline.after(10_000) })
const plan = { guests: [{ node: 0 }, { node: 0 }] } as unknown as JobPlan

let directory: string
let guest: PassThrough
let typed: string
const scope = scopePerTest()
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'leet-lines-'))
  guest = new PassThrough()
  typed = ''
  const console = new GuestConsole(guest, { file: join(directory, 'console'), log: silentLog })
  const exchange = createLocalExchange(() => {})
  serveLines(exchange, (index) =>
    index === 0
      ? {
          console,
          type: (bytes) => {
            typed += Buffer.from(bytes)
          },
        }
      : undefined,
  )
  await openLines(directory, plan, exchange, scope())
})
afterEach(async () => {
  await scope().end()
  rmSync(directory, { recursive: true })
})

const connect = (order: Omit<LineOrder, 'guest'>): Promise<Socket> =>
  connectLine(directory, { guest: 0, ...order }, limits())
const saw = async (socket: Socket, wanted: string) => {
  let seen = ''
  socket.on('data', (bytes) => {
    seen += bytes
  })
  await poll(() => seen === wanted || undefined, 5, limits(), { what: wanted })
}
const says = async (words: string) => {
  await new Promise<void>((resolve) => guest.write(words, () => resolve()))
}

it('shows all that was written, and ends', async () => {
  const whole = 'much\n'.repeat(100_000)
  await says(whole)
  expect(await text(await connect({ from: 'start', follow: false }))).toBe(whole)
})

it('follows from the start or from now on, until the session ends', async () => {
  await says('before\n')
  const [all, later] = await Promise.all([
    connect({ from: 'start', follow: true }),
    connect({ from: 'end', follow: true }),
  ])
  const both = Promise.all([saw(all, 'before\nafter\n'), saw(later, 'after\n')])
  await says('after\n')
  await both
  const ended = new Promise((resolve) => later.once('close', resolve))
  await scope().end()
  await ended
})

it('types what it is sent, in order', async () => {
  const socket = await connect({ from: 'end', follow: true })
  for (const key of 'echo hello\r') socket.write(key)
  await poll(() => typed === 'echo hello\r' || undefined, 5, limits(), { what: 'what was typed' })
  socket.destroy()
})

it('says why there is none', async () => {
  const refused = connectLine(directory, { guest: 1, from: 'end', follow: true }, limits())
  await expect(refused).rejects.toThrow(LeetError)
  await expect(refused).rejects.toThrow(/no serial line/)
})
