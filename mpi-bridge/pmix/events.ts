// Events: what one process tells others that asked to hear it. PMIx standard 4.1, chapter "Event notification"; src/event of
// OpenPMIx 4.2.2.
import { Attribute, Command, DEFAULT_HANDLER, Range, Status } from './constants.ts'
import {
  type Info,
  isTrue,
  type Proc,
  procsOf,
  RANK_WILDCARD,
  readInfo,
  readProc,
  Type,
  writeInfo,
  writeProc,
} from './values.ts'
import { type Format, formatOf, Reader, Writer } from './wire.ts'

/** Something that happened. */
export interface PmixEvent {
  readonly status: number
  readonly source: Proc
  /** Guest of the source. */
  readonly guest: number
  readonly range: number
  readonly infos: readonly Info[]
}

/** A connected client as events see it. */
export interface Listener {
  readonly proc: Proc
  readonly guest: number
  readonly format: Format
  sendEvent(payload: Uint8Array): void
}

interface Registration {
  readonly codes: Set<number>
  /** Processes whose events it wants; undefined: anybody's. */
  readonly affected: Map<number, readonly Proc[]>
}

/** Codes that one client may register. */
const MAX_CODES = 1024
/** Events kept for clients that register later. */
const MAX_KEPT = 128
/** Bytes of such events, about. */
const MAX_KEPT_BYTES = 2 ** 20

interface Kept {
  readonly event: PmixEvent
  readonly bytes: number
  readonly told: WeakSet<Listener>
}

/** Who hears what, on one agent. */
export class Events {
  private readonly registrations = new Map<Listener, Registration>()
  private kept: Kept[] = []

  /** A client wants to hear of these codes, or with no code of all that it has no other handler for. Gives a status. */
  register(listener: Listener, codes: readonly number[], directives: readonly Info[]): number {
    const registration = this.registrations.get(listener) ?? { codes: new Set(), affected: new Map() }
    const wanted = codes.length > 0 ? codes : [DEFAULT_HANDLER]
    if (registration.codes.size + wanted.length > MAX_CODES) return Status.OUT_OF_RESOURCE
    const affected = affectedProcs(directives)
    for (const code of wanted) {
      registration.codes.add(code)
      if (affected.length > 0) registration.affected.set(code, affected)
      else registration.affected.delete(code)
    }
    this.registrations.set(listener, registration)
    return Status.SUCCESS
  }

  /** Tells a client what happened before it registered these codes. Default handlers hear nothing of the past. */
  replay(listener: Listener, codes: readonly number[]): void {
    for (const { event, told } of this.kept) {
      if (codes.includes(event.status) && !told.has(listener) && this.concerns(listener, event)) {
        told.add(listener)
        listener.sendEvent(encodeEvent(event, listener.format))
      }
    }
  }

  deregister(listener: Listener, codes: readonly number[]): void {
    const registration = this.registrations.get(listener)
    for (const code of codes) {
      registration?.codes.delete(code)
      registration?.affected.delete(code)
    }
  }

  /** The client has gone. */
  remove(listener: Listener): void {
    this.registrations.delete(listener)
  }

  /** Tells all clients of this agent whom the event concerns, and keeps it for those to come. */
  deliver(event: PmixEvent): void {
    const told = new WeakSet<Listener>()
    const encoded = new Map<Format, Uint8Array>()
    for (const listener of this.registrations.keys()) {
      if (!this.concerns(listener, event)) continue
      let payload = encoded.get(listener.format)
      if (!payload) {
        payload = encodeEvent(event, listener.format)
        encoded.set(listener.format, payload)
      }
      told.add(listener)
      listener.sendEvent(payload)
    }
    if (event.infos.some((info) => info.key === Attribute.DO_NOT_CACHE && isTrue(info))) return
    this.kept.push({ event, told, bytes: encodeEvent(event, formatOf(true, false)).length })
    let bytes = this.kept.reduce((sum, each) => sum + each.bytes, 0)
    while (this.kept.length > MAX_KEPT || bytes > MAX_KEPT_BYTES) bytes -= this.kept.shift()?.bytes ?? bytes
  }

  /** Has the clients in a guest end, as far as they have a handler for the end of others; gives how many were told. */
  end(guest: number): number {
    let told = 0
    for (const listener of this.registrations.keys()) {
      const event = endingEvent(listener.proc.nspace, guest)
      if (!this.concerns(listener, event)) continue
      listener.sendEvent(encodeEvent(event, listener.format))
      told++
    }
    return told
  }

  private concerns(listener: Listener, event: PmixEvent): boolean {
    const registration = this.registrations.get(listener)
    if (!registration || sameProc(listener.proc, event.source) || !inRange(listener, event)) return false
    const { codes, affected } = registration
    const nonDefault = event.infos.some((info) => info.key === Attribute.NON_DEFAULT && isTrue(info))
    const code = codes.has(event.status) ? event.status : DEFAULT_HANDLER
    if (!codes.has(code) || (code === DEFAULT_HANDLER && nonDefault)) return false
    const wanted = affected.get(code)
    const happened = affectedProcs(event.infos)
    if (!wanted || happened.length === 0) return true
    return wanted.some((one) => happened.some((other) => covers(one, other) || covers(other, one)))
  }
}

/**
 * The event that ends a rank by its MPI library's own hand, as if all of its job had failed. Any error does for the default
 * handler of Open MPI 4.1; Open MPI 5.0 asks for this one.
 */
function endingEvent(nspace: string, guest: number): PmixEvent {
  const all: Proc = { nspace, rank: RANK_WILDCARD }
  const affected: Info = { key: Attribute.AFFECTED_PROC, flags: 0, type: Type.PROC, data: all }
  return { status: Status.PROC_ABORTED, source: all, guest, range: Range.LOCAL, infos: [affected] }
}

/** The message with tag 0 that tells a client of an event. */
function encodeEvent(event: PmixEvent, format: Format): Buffer {
  const writer = new Writer(format).pack(Type.COMMAND).u8(Command.NOTIFY)
  writer.pack(Type.STATUS).i32(event.status)
  writeProc(writer.pack(Type.PROC), event.source)
  writer.pack(Type.SIZE).size(event.infos.length)
  if (event.infos.length > 0) {
    writer.pack(Type.INFO, event.infos.length)
    for (const info of event.infos) writeInfo(writer, info)
  }
  return writer.result()
}

/** An event as agents tell each other of it. */
export function packEvent(event: PmixEvent): Buffer {
  const writer = new Writer(formatOf(true, false)).i32(event.status)
  writeProc(writer, event.source)
  writer.u32(event.guest).u8(event.range).size(event.infos.length)
  for (const info of event.infos) writeInfo(writer, info)
  return writer.result()
}

/** Reads `packEvent`. */
export function unpackEvent(message: Uint8Array): PmixEvent {
  const reader = new Reader(formatOf(true, false), message)
  const status = reader.i32()
  const source = readProc(reader)
  const guest = reader.u32()
  const range = reader.u8()
  const infos: Info[] = []
  for (let count = reader.counted(reader.size()); count > 0; count--) infos.push(readInfo(reader))
  return { status, source, guest, range, infos }
}

function inRange(listener: Listener, event: PmixEvent): boolean {
  switch (event.range) {
    case Range.RM:
    case Range.PROC_LOCAL:
      return false
    case Range.LOCAL:
      return listener.guest === event.guest
    case Range.NAMESPACE:
      return listener.proc.nspace === event.source.nspace
    case Range.CUSTOM:
      return event.infos.some(
        (info) =>
          info.key === Attribute.CUSTOM_RANGE && procsOf(info).some((proc) => covers(proc, listener.proc)),
      )
    default:
      return true
  }
}

function affectedProcs(infos: readonly Info[]): Proc[] {
  return infos.flatMap((info) =>
    info.key === Attribute.AFFECTED_PROC || info.key === Attribute.AFFECTED_PROCS ? procsOf(info) : [],
  )
}

function sameProc(a: Proc, b: Proc): boolean {
  return a.rank === b.rank && a.nspace === b.nspace
}

function covers(pattern: Proc, proc: Proc): boolean {
  return pattern.nspace === proc.nspace && (pattern.rank === RANK_WILDCARD || pattern.rank === proc.rank)
}
