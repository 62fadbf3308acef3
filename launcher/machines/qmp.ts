// The QEMU Machine Protocol (QEMU's docs/interop/qmp-spec): JSON objects, one a line, over any duplex stream. QEMU is
// told to be hostile: a guest may have taken it over, so what it says is bounded and checked.
import type { Duplex } from 'node:stream'
import { LeetError, type WaitLimits, waitFor } from '../../common/index.ts'

/** What QEMU says. */
export type QmpMessage =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'return'; readonly id: unknown; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: unknown; readonly description: string }
  | QmpEvent

/** Something that happened in the machine, such as `SHUTDOWN`. */
export interface QmpEvent {
  readonly kind: 'event'
  readonly name: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Longest line taken from QEMU, in bytes. */
export const QMP_LINE_LIMIT = 1 << 20

/** Turns a stream of bytes into messages. Holds at most one line; `LEET_E_QMP` for what is not QMP. */
export class QmpDecoder {
  #chunks: Buffer[] = []
  #length = 0

  /** Messages completed by these bytes, in order. */
  push(bytes: Uint8Array): QmpMessage[] {
    const messages: QmpMessage[] = []
    let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
      const line = Buffer.concat([...this.#chunks, this.#bounded(rest.subarray(0, end))])
      this.#chunks = []
      this.#length = 0
      rest = rest.subarray(end + 1)
      const text = line.toString('utf8').trim()
      if (text !== '') messages.push(parseMessage(text))
    }
    if (rest.length > 0) this.#chunks.push(Buffer.from(this.#bounded(rest)))
    return messages
  }

  #bounded(part: Buffer): Buffer {
    this.#length += part.length
    if (this.#length > QMP_LINE_LIMIT) throw protocolError('a line is longer than 1 MiB')
    return part
  }
}

const NEWLINE = 0x0a

function parseMessage(text: string): QmpMessage {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw protocolError(`${JSON.stringify(text.slice(0, 80))} is not JSON`)
  }
  if (isObject(value)) {
    if (isObject(value.QMP)) return { kind: 'greeting' }
    if (typeof value.event === 'string') {
      return { kind: 'event', name: value.event, data: isObject(value.data) ? value.data : {} }
    }
    if (isObject(value.error)) {
      const { desc } = value.error
      return { kind: 'error', id: value.id, description: typeof desc === 'string' ? desc : 'unknown error' }
    }
    if ('return' in value) return { kind: 'return', id: value.id, value: value.return }
  }
  throw protocolError(`${JSON.stringify(text.slice(0, 80))} is no message`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function protocolError(why: string): LeetError {
  return new LeetError({ code: 'LEET_E_QMP', what: 'QEMU does not speak QMP as expected', why })
}

interface Pending {
  resolve(value: unknown): void
  reject(error: LeetError): void
}

/** One QMP connection. Commands may overlap. */
export class QmpClient {
  readonly #stream: Duplex
  readonly #onEvent: (event: QmpEvent) => void
  readonly #decoder = new QmpDecoder()
  readonly #pending = new Map<number, Pending>()
  readonly #greeted: Promise<void>
  #greet: Pending | undefined
  #nextId = 1
  #failure: LeetError | undefined

  /** Takes the stream over. `onEvent` sees every event, from the first on. */
  constructor(stream: Duplex, onEvent: (event: QmpEvent) => void) {
    this.#stream = stream
    this.#onEvent = onEvent
    this.#greeted = new Promise<void>((resolve, reject) => {
      this.#greet = { resolve: () => resolve(), reject }
    })
    this.#greeted.catch(() => {})
    stream.on('data', (bytes: Buffer) => this.#receive(bytes))
    // QEMU that exits with bytes unread resets the connection; the exit itself is what gets reported.
    stream.on('error', () => {})
    stream.on('close', () => this.#fail(connectionClosed()))
  }

  /** Waits for the greeting and agrees on capabilities; to be called once, before `execute`. */
  async start(limits: WaitLimits): Promise<void> {
    await waitFor(this.#greeted, limits, { what: 'the greeting of QEMU' })
    await this.execute('qmp_capabilities', {}, limits)
  }

  /** What QEMU returns. `LEET_E_QMP` when it answers with an error or the connection ends, `LEET_E_DEADLINE`. */
  execute(command: string, args: Readonly<Record<string, unknown>>, limits: WaitLimits): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure)
    const id = this.#nextId++
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, {
        resolve,
        reject: (error) =>
          reject(
            new LeetError({
              code: 'LEET_E_QMP',
              what: `QEMU did not do ${command}`,
              why: error.message,
              cause: error,
            }),
          ),
      })
    })
    this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    return waitFor(answer, limits, { what: `the answer of QEMU to ${command}` }).finally(() =>
      this.#pending.delete(id),
    )
  }

  #receive(bytes: Buffer): void {
    try {
      for (const message of this.#decoder.push(bytes)) this.#take(message)
    } catch (error) {
      this.#fail(error as LeetError)
      this.#stream.destroy()
    }
  }

  #take(message: QmpMessage): void {
    if (message.kind === 'event') this.#onEvent(message)
    else if (message.kind === 'greeting') this.#greet?.resolve(undefined)
    else {
      const pending = typeof message.id === 'number' ? this.#pending.get(message.id) : undefined
      if (message.kind === 'return') pending?.resolve(message.value)
      else pending?.reject(new LeetError({ code: 'LEET_E_QMP', what: message.description }))
    }
  }

  #fail(error: LeetError): void {
    this.#failure ??= error
    this.#greet?.reject(this.#failure)
    for (const pending of this.#pending.values()) pending.reject(this.#failure)
  }
}

function connectionClosed(): LeetError {
  return new LeetError({ code: 'LEET_E_QMP', what: 'QEMU has closed the QMP connection' })
}
