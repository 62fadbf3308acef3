// The typed values that PMIx messages carry (`pmix_value_t` and what nests in it), read and written in any format.
// Type codes as in pmix_common.h of OpenPMIx 4.2.2; encodings of each as observed (README.md beside this file).
import { malformed, type Reader, type Writer } from './wire.ts'

/** Codes of the types that PMIx names; the word is the one of `PMIX_…`. */
export const Type = {
  UNDEF: 0,
  BOOL: 1,
  BYTE: 2,
  STRING: 3,
  SIZE: 4,
  PID: 5,
  INT: 6,
  INT8: 7,
  INT16: 8,
  INT32: 9,
  INT64: 10,
  UINT: 11,
  UINT8: 12,
  UINT16: 13,
  UINT32: 14,
  UINT64: 15,
  FLOAT: 16,
  DOUBLE: 17,
  TIMEVAL: 18,
  TIME: 19,
  STATUS: 20,
  VALUE: 21,
  PROC: 22,
  APP: 23,
  INFO: 24,
  PDATA: 25,
  BUFFER: 26,
  BYTE_OBJECT: 27,
  KVAL: 28,
  PERSIST: 30,
  POINTER: 31,
  SCOPE: 32,
  DATA_RANGE: 33,
  COMMAND: 34,
  INFO_DIRECTIVES: 35,
  DATA_TYPE: 36,
  PROC_STATE: 37,
  DATA_ARRAY: 39,
  PROC_RANK: 40,
  QUERY: 41,
  COMPRESSED_STRING: 42,
  ALLOC_DIRECTIVE: 43,
  IOF_CHANNEL: 45,
  ENVAR: 46,
  JOB_STATE: 50,
  LINK_STATE: 51,
  DEVTYPE: 57,
  LOCTYPE: 58,
  COMPRESSED_BYTE_OBJECT: 59,
  PROC_NSPACE: 60,
} as const

/** All ranks of a namespace. */
export const RANK_WILDCARD = 0xfffffffe

/** A process: its job's id and its rank there, or one of the special ranks. */
export interface Proc {
  readonly nspace: string
  readonly rank: number
}

/** A value with the code of its type; `data` has the shape that `readData` gives for that type. */
export interface Value {
  readonly type: number
  readonly data: Data
}

/** A key and its value (`pmix_kval_t`). */
export interface KeyValue extends Value {
  readonly key: string
}

/** A key, its value and whether the receiver must understand it (`pmix_info_t`). */
export interface Info extends KeyValue {
  readonly flags: number
}

/** What was found and who published it (`pmix_pdata_t`). */
export interface Published extends KeyValue {
  readonly proc: Proc
}

interface DataArray {
  readonly elements: number
  readonly items: readonly Data[]
}

interface EnvironmentVariable {
  readonly name: string
  readonly value: string | null
  readonly separator: number
}

/** One command of PMIx_Spawn (`pmix_app_t`). Strings are latin1, as everywhere in this folder. */
export interface App {
  readonly command: string | null
  readonly argv: readonly string[]
  readonly env: readonly string[]
  readonly cwd: string | null
  readonly maxprocs: number
  readonly info: readonly Info[]
}

interface Query {
  readonly keys: readonly string[]
  readonly qualifiers: readonly Info[]
}

interface TaggedBytes {
  readonly tag: number
  readonly bytes: Uint8Array
}

interface Timeval {
  readonly seconds: bigint
  readonly microseconds: bigint
}

/** What a value may hold. Null is a C null string or the nothing of UNDEF. */
export type Data =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | TaggedBytes
  | Timeval
  | Value
  | KeyValue
  | Info
  | Published
  | Proc
  | DataArray
  | EnvironmentVariable
  | App
  | Query

/** Arrays in arrays, values in values: more than this is an attack on the stack. */
const MAX_DEPTH = 16

/** A type whose encoding is not known here: what follows it in the message cannot be read. */
export class UnknownTypeError extends Error {
  readonly type: number
  constructor(type: number) {
    super(`PMIx data type ${type}`)
    this.type = type
  }
}

/** Reads one value of a type, without count or description. */
export function readData(reader: Reader, type: number, depth = 0): Data {
  if (depth > MAX_DEPTH) throw malformed('values nested too deep')
  switch (type) {
    case Type.UNDEF:
      return null
    case Type.BOOL:
      return reader.u8() !== 0
    case Type.BYTE:
    case Type.INT8:
    case Type.UINT8:
    case Type.PERSIST:
    case Type.POINTER:
    case Type.SCOPE:
    case Type.DATA_RANGE:
    case Type.COMMAND:
    case Type.PROC_STATE:
    case Type.ALLOC_DIRECTIVE:
    case Type.JOB_STATE:
    case Type.LINK_STATE:
      return reader.u8()
    case Type.INT16:
      return reader.i16()
    case Type.UINT16:
    case Type.DATA_TYPE:
    case Type.IOF_CHANNEL:
    case Type.LOCTYPE:
      return reader.u16()
    case Type.INT32:
    case Type.STATUS:
      return reader.i32()
    case Type.UINT32:
    case Type.PROC_RANK:
    case Type.INFO_DIRECTIVES:
      return reader.u32()
    case Type.INT64:
      return reader.i64()
    case Type.UINT64:
    case Type.TIME:
    case Type.DEVTYPE:
      return reader.u64()
    case Type.SIZE:
      return reader.wideSize()
    case Type.INT:
      return reader.int()
    case Type.UINT:
      return reader.unsignedInt()
    case Type.PID:
      if (reader.u16() !== Type.UINT32) throw malformed('width of a process id')
      return reader.u32()
    case Type.STRING:
    case Type.PROC_NSPACE:
    case Type.FLOAT:
    case Type.DOUBLE:
      return reader.string()
    case Type.TIMEVAL:
      return { seconds: reader.i64(), microseconds: reader.i64() }
    case Type.PROC:
      return readProc(reader)
    case Type.VALUE:
      return readValue(reader, depth)
    case Type.KVAL:
      return readKeyValue(reader, depth)
    case Type.INFO:
      return readInfo(reader, depth)
    case Type.PDATA:
      return { proc: readProc(reader), ...readKeyValue(reader, depth) }
    case Type.BYTE_OBJECT:
    case Type.COMPRESSED_STRING:
    case Type.COMPRESSED_BYTE_OBJECT:
      return reader.sized()
    case Type.BUFFER:
      return { tag: reader.u8(), bytes: reader.sized() }
    case Type.DATA_ARRAY:
      return readArray(reader, depth)
    case Type.ENVAR:
      return { name: requiredString(reader), value: reader.string(), separator: reader.u8() }
    case Type.APP:
      return readApp(reader, depth)
    case Type.QUERY:
      return {
        keys: strings(reader, reader.i32()),
        qualifiers: infos(reader, depth),
      }
    default:
      throw new UnknownTypeError(type)
  }
}

/** Reads the key and value of a KVAL. */
export function readKeyValue(reader: Reader, depth = 0): KeyValue {
  const key = requiredString(reader)
  return { key, ...readValue(reader, depth) }
}

/** Reads an INFO. */
export function readInfo(reader: Reader, depth = 0): Info {
  const key = requiredString(reader)
  const flags = reader.u32()
  return { key, flags, ...readValue(reader, depth) }
}

/** Reads a PROC. */
export function readProc(reader: Reader): Proc {
  return { nspace: requiredString(reader), rank: reader.u32() }
}

/** Reads an APP. */
export function readApp(reader: Reader, depth = 0): App {
  return {
    command: reader.string(),
    argv: strings(reader, reader.int()),
    env: strings(reader, reader.i32()),
    cwd: reader.string(),
    maxprocs: reader.int(),
    info: infos(reader, depth),
  }
}

function readValue(reader: Reader, depth: number): Value {
  const type = reader.u16()
  return { type, data: readData(reader, type, depth + 1) }
}

function readArray(reader: Reader, depth: number): DataArray {
  const elements = reader.u16()
  const size = reader.size()
  if (elements === Type.UNDEF && size > 0) throw malformed('an array of nothing')
  const items: Data[] = new Array(reader.counted(size))
  for (let index = 0; index < size; index++) items[index] = readData(reader, elements, depth + 1)
  return { elements, items }
}

function infos(reader: Reader, depth: number): Info[] {
  const count = reader.counted(reader.size())
  return Array.from({ length: count }, () => readInfo(reader, depth + 1))
}

function strings(reader: Reader, count: number): string[] {
  return Array.from({ length: reader.counted(count) }, () => requiredString(reader))
}

function requiredString(reader: Reader): string {
  const text = reader.string()
  if (text === null) throw malformed('a null string where a name is due')
  return text
}

/**
 * Writes one value of a type, without count or description; `data` has the shape that `readData` gives for it.
 * A type unknown here is an UnknownTypeError.
 */
export function writeData(writer: Writer, type: number, data: Data): void {
  switch (type) {
    case Type.UNDEF:
      return
    case Type.BOOL:
      writer.u8(data === true ? 1 : 0)
      return
    case Type.BYTE:
    case Type.INT8:
    case Type.UINT8:
    case Type.PERSIST:
    case Type.POINTER:
    case Type.SCOPE:
    case Type.DATA_RANGE:
    case Type.COMMAND:
    case Type.PROC_STATE:
    case Type.ALLOC_DIRECTIVE:
    case Type.JOB_STATE:
    case Type.LINK_STATE:
      writer.u8(data as number)
      return
    case Type.INT16:
      writer.i16(data as number)
      return
    case Type.UINT16:
    case Type.DATA_TYPE:
    case Type.IOF_CHANNEL:
    case Type.LOCTYPE:
      writer.u16(data as number)
      return
    case Type.INT32:
    case Type.STATUS:
      writer.i32(data as number)
      return
    case Type.UINT32:
    case Type.PROC_RANK:
    case Type.INFO_DIRECTIVES:
      writer.u32(data as number)
      return
    case Type.INT64:
      writer.i64(data as bigint)
      return
    case Type.UINT64:
    case Type.TIME:
    case Type.DEVTYPE:
      writer.u64(data as bigint)
      return
    case Type.SIZE:
      writer.wideSize(data as bigint)
      return
    case Type.INT:
      writer.int(data as number)
      return
    case Type.UINT:
      writer.unsignedInt(data as number)
      return
    case Type.PID:
      writer.u16(Type.UINT32).u32(data as number)
      return
    case Type.STRING:
    case Type.PROC_NSPACE:
    case Type.FLOAT:
    case Type.DOUBLE:
      writer.string(data as string | null)
      return
    case Type.TIMEVAL: {
      const time = data as Timeval
      writer.i64(time.seconds).i64(time.microseconds)
      return
    }
    case Type.PROC:
      writeProc(writer, data as Proc)
      return
    case Type.VALUE:
      writeValue(writer, data as Value)
      return
    case Type.KVAL:
      writeKeyValue(writer, data as KeyValue)
      return
    case Type.INFO:
      writeInfo(writer, data as Info)
      return
    case Type.PDATA:
      writePublished(writer, data as Published)
      return
    case Type.BYTE_OBJECT:
    case Type.COMPRESSED_STRING:
    case Type.COMPRESSED_BYTE_OBJECT:
      writer.sized(data as Uint8Array)
      return
    case Type.BUFFER: {
      const buffer = data as TaggedBytes
      writer.u8(buffer.tag).sized(buffer.bytes)
      return
    }
    case Type.DATA_ARRAY: {
      const { elements, items } = data as DataArray
      writer.u16(elements).size(items.length)
      for (const item of items) writeData(writer, elements, item)
      return
    }
    case Type.ENVAR: {
      const variable = data as EnvironmentVariable
      writer.string(variable.name).string(variable.value).u8(variable.separator)
      return
    }
    case Type.APP:
      writeApp(writer, data as App)
      return
    case Type.QUERY: {
      const query = data as Query
      writer.i32(query.keys.length)
      for (const key of query.keys) writer.string(key)
      writeInfos(writer, query.qualifiers)
      return
    }
    default:
      throw new UnknownTypeError(type)
  }
}

/** Writes the key and value of a KVAL. */
export function writeKeyValue(writer: Writer, pair: KeyValue): void {
  writer.string(pair.key)
  writeValue(writer, pair)
}

/** Writes an INFO. */
export function writeInfo(writer: Writer, info: Info): void {
  writer.string(info.key).u32(info.flags)
  writeValue(writer, info)
}

/** Writes a PROC. */
export function writeProc(writer: Writer, proc: Proc): void {
  writer.string(proc.nspace).u32(proc.rank)
}

/** Writes a PDATA. */
export function writePublished(writer: Writer, published: Published): void {
  writeProc(writer, published.proc)
  writeKeyValue(writer, published)
}

function writeValue(writer: Writer, value: Value): void {
  writer.u16(value.type)
  writeData(writer, value.type, value.data)
}

function writeApp(writer: Writer, app: App): void {
  writer.string(app.command).int(app.argv.length)
  for (const argument of app.argv) writer.string(argument)
  writer.i32(app.env.length)
  for (const variable of app.env) writer.string(variable)
  writer.string(app.cwd).int(app.maxprocs)
  writeInfos(writer, app.info)
}

function writeInfos(writer: Writer, items: readonly Info[]): void {
  writer.size(items.length)
  for (const info of items) writeInfo(writer, info)
}

/** The value as a directive: true unless it says false. An UNDEF value means true (PMIX_INFO_TRUE). */
export function isTrue(value: Value): boolean {
  return value.type === Type.UNDEF || value.data === true
}

/** The value as a whole number, if it is one that a number can hold. */
export function wholeNumber(value: Value): number | undefined {
  if (typeof value.data === 'number') return value.data
  if (typeof value.data !== 'bigint') return undefined
  const number = Number(value.data)
  return Number.isSafeInteger(number) ? number : undefined
}

/** The value as a string (latin1), if it is one. */
export function text(value: Value): string | undefined {
  return value.type === Type.STRING && typeof value.data === 'string' ? value.data : undefined
}

/** The processes a value names: one, or an array of them. */
export function procsOf(value: Value): Proc[] {
  if (value.type === Type.PROC) return [value.data as Proc]
  if (value.type !== Type.DATA_ARRAY) return []
  const array = value.data as DataArray
  return array.elements === Type.PROC ? (array.items as Proc[]) : []
}
