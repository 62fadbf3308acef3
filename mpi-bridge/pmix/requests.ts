// What clients ask: one pure function from a message's bytes to a typed request, and the replies' common form.
// Packs of each command as observed with Open MPI 4.1.4 and 5.0.8; src/client of OpenPMIx 4.2.2.
import { Command } from './constants.ts'
import { type App, type Info, type Proc, readApp, readInfo, readProc, Type } from './values.ts'
import { type Format, formatOf, malformed, Reader, Writer } from './wire.ts'

/** A piece of committed data: packs of KVALs as the client wrote them. A view of the message. */
interface CommittedPart {
  readonly scope: number
  readonly format: Format
  readonly bytes: Buffer
}

/** A request of a client. */
export type Request =
  | { readonly command: 'jobInfo' | 'finalize' }
  | {
      readonly command: 'abort'
      readonly status: number
      readonly message: string
      readonly procs: readonly Proc[]
    }
  | { readonly command: 'commit'; readonly parts: readonly CommittedPart[] }
  | { readonly command: Collective; readonly procs: readonly Proc[]; readonly directives: readonly Info[] }
  | {
      readonly command: 'get'
      readonly proc: Proc
      readonly directives: readonly Info[]
      /** Undefined: all there is. */
      readonly key: string | undefined
    }
  | { readonly command: 'publish'; readonly infos: readonly Info[] }
  | {
      readonly command: 'lookup' | 'unpublish'
      readonly keys: readonly string[]
      readonly directives: readonly Info[]
    }
  | { readonly command: 'spawn'; readonly directives: readonly Info[]; readonly apps: readonly App[] }
  | {
      readonly command: 'notify'
      readonly event: number
      readonly range: number
      readonly infos: readonly Info[]
    }
  | {
      readonly command: 'registerEvents'
      /** None: the default handler. */
      readonly codes: readonly number[]
      readonly directives: readonly Info[]
    }
  | { readonly command: 'deregisterEvents'; readonly codes: readonly number[] }
  | { readonly command: 'log'; readonly data: readonly Info[] }
  /** A command that this server does not have. */
  | { readonly command: 'other'; readonly code: number }

/** Requests that are answered when all processes they name have made them. */
export type Collective = 'fence' | 'connect' | 'disconnect'

/**
 * Reads a request. Throws `LEET_E_PMIX_MESSAGE` when it is malformed, UnknownTypeError when it carries a value of a
 * type that cannot be read.
 */
export function decodeRequest(payload: Buffer, format: Format): Request {
  const reader = new Reader(format, payload)
  const code = commandOf(reader)
  switch (code) {
    case Command.JOB_INFO:
      return { command: 'jobInfo' }
    case Command.FINALIZE:
      return { command: 'finalize' }
    case Command.ABORT:
      return {
        command: 'abort',
        status: status(reader),
        message: string(reader) ?? '',
        procs: many(reader, Type.PROC, readProc),
      }
    case Command.COMMIT:
      return { command: 'commit', parts: committed(reader) }
    case Command.FENCE:
      return collective('fence', reader)
    case Command.CONNECT:
      return collective('connect', reader)
    case Command.DISCONNECT:
      return collective('disconnect', reader)
    case Command.GET: {
      const nspace = string(reader) ?? ''
      reader.packOf(Type.PROC_RANK)
      const rank = reader.u32()
      const directives = many(reader, Type.INFO, readInfo)
      // Older clients leave the key out when they want everything.
      const key = reader.remaining > 0 ? (string(reader) ?? undefined) : undefined
      return { command: 'get', proc: { nspace, rank }, directives, key }
    }
    case Command.PUBLISH:
      userId(reader)
      return { command: 'publish', infos: many(reader, Type.INFO, readInfo) }
    case Command.LOOKUP:
      return keyed('lookup', reader)
    case Command.UNPUBLISH:
      return keyed('unpublish', reader)
    case Command.SPAWN:
      return {
        command: 'spawn',
        directives: many(reader, Type.INFO, readInfo),
        apps: many(reader, Type.APP, readApp),
      }
    case Command.NOTIFY: {
      const event = status(reader)
      reader.packOf(Type.DATA_RANGE)
      return { command: 'notify', event, range: reader.u8(), infos: many(reader, Type.INFO, readInfo) }
    }
    case Command.REGISTER_EVENTS:
      return {
        command: 'registerEvents',
        codes: many(reader, Type.STATUS, (each) => each.i32()),
        directives: many(reader, Type.INFO, readInfo),
      }
    case Command.DEREGISTER_EVENTS: {
      const codes: number[] = []
      while (reader.remaining > 0) codes.push(status(reader))
      return { command: 'deregisterEvents', codes }
    }
    case Command.LOG:
      reader.packOf(Type.TIME)
      reader.u64()
      return { command: 'log', data: many(reader, Type.INFO, readInfo) }
    default:
      return { command: 'other', code }
  }
}

/** Whether the message, readable or not, wants a reply: all do but one. */
export function wantsReply(payload: Buffer, format: Format): boolean {
  try {
    return commandOf(new Reader(format, payload)) !== Command.DEREGISTER_EVENTS
  } catch {
    return true
  }
}

/** Begins a reply with its status. */
export function replyWith(format: Format, status: number, expectedBytes?: number): Writer {
  return new Writer(format, expectedBytes).pack(Type.STATUS).i32(status)
}

/** Adds a pack of one byte object. */
export function addByteObject(reply: Writer, ...parts: readonly Uint8Array[]): Writer {
  let length = 0
  for (const part of parts) length += part.length
  reply.pack(Type.BYTE_OBJECT).size(length)
  for (const part of parts) reply.raw(part)
  return reply
}

function commandOf(reader: Reader): number {
  reader.packOf(Type.COMMAND)
  return reader.u8()
}

function status(reader: Reader): number {
  reader.packOf(Type.STATUS)
  return reader.i32()
}

function string(reader: Reader): string | null {
  reader.packOf(Type.STRING)
  return reader.string()
}

function userId(reader: Reader): void {
  reader.packOf(Type.UINT32)
  reader.u32()
}

/** A count and, unless it is 0, a pack of as many values. */
function many<T>(reader: Reader, type: number, read: (reader: Reader) => T): T[] {
  reader.packOf(Type.SIZE)
  const count = reader.size()
  if (count === 0) return []
  reader.packOf(type, count)
  // Not `Array.from`: readers of values take a depth as their second argument.
  const items: T[] = []
  for (let index = 0; index < count; index++) items.push(read(reader))
  return items
}

function collective(command: Collective, reader: Reader): Request {
  const procs = many(reader, Type.PROC, readProc)
  return { command, procs, directives: many(reader, Type.INFO, readInfo) }
}

function keyed(command: 'lookup' | 'unpublish', reader: Reader): Request {
  userId(reader)
  reader.packOf(Type.SIZE)
  const count = reader.counted(reader.size())
  const keys: string[] = []
  for (let index = 0; index < count; index++) {
    const key = string(reader)
    if (key === null) throw malformed('a null key')
    keys.push(key)
  }
  return { command, keys, directives: many(reader, Type.INFO, readInfo) }
}

function committed(reader: Reader): CommittedPart[] {
  const parts: CommittedPart[] = []
  while (reader.remaining > 0) {
    reader.packOf(Type.SCOPE)
    const scope = reader.u8()
    reader.packOf(Type.BUFFER)
    const type = reader.u8()
    if (type !== 1 && type !== 2) throw malformed('kind of a committed buffer')
    parts.push({ scope, format: formatOf(reader.format.flex, type === 2), bytes: reader.sized() })
  }
  return parts
}
