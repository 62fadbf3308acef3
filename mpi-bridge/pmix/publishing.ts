// Publish, lookup and unpublish: PMIx's words for the session's name service. A string is kept as its bytes, so that
// names mean the same to PMI-1 and PMI-2; any other value begins with a NUL, which no C string does.
import type { FoundName, NameParty, NamePersistence, NameRange, NameService, Publication } from '../names.ts'
import { Attribute, Persistence, Range, RESERVED_PREFIX, Status } from './constants.ts'
import { timeoutOf } from './directives.ts'
import { type Request, replyWith } from './requests.ts'
import type { Session } from './session.ts'
import {
  type Info,
  isTrue,
  readData,
  Type,
  text,
  type Value,
  wholeNumber,
  writeData,
  writePublished,
} from './values.ts'
import { formatOf, Reader, Writer } from './wire.ts'

const kept = formatOf(true, false)

/** Publishes all data keys of the request. */
export async function publish(
  names: NameService,
  session: Session,
  request: Extract<Request, { command: 'publish' }>,
): Promise<number> {
  const range = rangeOf(request.infos) ?? 'session'
  const persistence = persistenceOf(request.infos)
  const publications = request.infos
    .filter((info) => !info.key.startsWith(RESERVED_PREFIX))
    .map((info): Publication => ({ key: info.key, value: keep(info), range, persistence }))
  switch (await names.publish(partyOf(session), publications)) {
    case 'ok':
      return Status.SUCCESS
    case 'duplicate':
      return Status.DUPLICATE_KEY
    case 'full':
      return Status.OUT_OF_RESOURCE
  }
}

/** Looks the keys up, waiting if the request says so; gives the reply. */
export async function lookup(
  names: NameService,
  session: Session,
  request: Extract<Request, { command: 'lookup' | 'unpublish' }>,
): Promise<number | Writer> {
  const { keys, directives } = request
  const { status, found } = await names.lookup(partyOf(session), {
    keys,
    range: rangeOf(directives),
    wait: keysToWaitFor(keys.length, directives),
    timeoutMs: timeoutOf(directives),
  })
  if (status === 'timeout') return Status.TIMEOUT
  if (status === 'full') return Status.RESOURCE_BUSY
  if (found.length === 0) return Status.NOT_FOUND
  const reply = replyWith(session.format, Status.SUCCESS)
  reply.pack(Type.SIZE).size(found.length).pack(Type.PDATA, found.length)
  for (const name of found) {
    writePublished(reply, { proc: { nspace: name.job, rank: name.rank }, key: name.key, ...restore(name) })
  }
  return reply
}

/** Takes names back. */
export async function unpublish(
  names: NameService,
  session: Session,
  request: Extract<Request, { command: 'lookup' | 'unpublish' }>,
): Promise<number> {
  const { keys, directives } = request
  await names.unpublish(partyOf(session), keys, rangeOf(directives))
  return Status.SUCCESS
}

function partyOf(session: Session): NameParty {
  return { job: session.proc.nspace, rank: session.proc.rank, guest: session.guest }
}

function rangeOf(infos: readonly Info[]): NameRange | undefined {
  const range = infos.find((info) => info.key === Attribute.RANGE)
  if (!range) return undefined
  switch (range.data) {
    case Range.PROC_LOCAL:
      return 'process'
    case Range.LOCAL:
      return 'guest'
    case Range.NAMESPACE:
      return 'job'
    default:
      return 'session'
  }
}

function persistenceOf(infos: readonly Info[]): NamePersistence {
  switch (infos.find((info) => info.key === Attribute.PERSISTENCE)?.data) {
    case Persistence.FIRST_READ:
      return 'first-read'
    case Persistence.PROC:
      return 'process'
    // Names that are to go with their job among them: the server is not told when a spawned job is over.
    default:
      return 'session'
  }
}

/** `pmix.wait` is a count, or true for all keys; 0 as a count means all, too. */
function keysToWaitFor(keys: number, directives: readonly Info[]): number {
  const wait = directives.find((each) => each.key === Attribute.WAIT)
  if (!wait) return 0
  const count = wholeNumber(wait)
  if (count === undefined) return isTrue(wait) ? keys : 0
  return count > 0 ? count : keys
}

function keep(value: Value): Uint8Array {
  const string = text(value)
  if (string !== undefined && !string.startsWith('\0')) return Buffer.from(string, 'latin1')
  const writer = new Writer(kept).u8(0).u16(value.type)
  writeData(writer, value.type, value.data)
  return writer.result()
}

function restore({ value }: FoundName): Value {
  const reader = new Reader(kept, value)
  if (value.length === 0 || reader.u8() !== 0) {
    return { type: Type.STRING, data: Buffer.from(value).toString('latin1') }
  }
  const type = reader.u16()
  return { type, data: readData(reader, type) }
}
