// The typed values that PMIx messages carry (`pmix_value_t` and what nests in it), read and written in any format.
// Type codes as in pmix_common.h of OpenPMIx 4.2.2; encodings of each as observed (README.md beside this file).
import { malformed, type Reader, type Writer } from './wire.ts'

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

/** How the values of a type travel. `depth` counts the values that they are in. */
interface Encoding<T extends Data = Data> {
  read(reader: Reader, depth: number): T
  write(writer: Writer, data: T): void
}

const nothing: Encoding<null> = { read: () => null, write() {} }
const boolean: Encoding<boolean> = {
  read: (reader) => reader.u8() !== 0,
  write: (writer, data) => writer.u8(data === true ? 1 : 0),
}
const u8: Encoding<number> = { read: (reader) => reader.u8(), write: (writer, data) => writer.u8(data) }
const i16: Encoding<number> = { read: (reader) => reader.i16(), write: (writer, data) => writer.i16(data) }
const u16: Encoding<number> = { read: (reader) => reader.u16(), write: (writer, data) => writer.u16(data) }
const i32: Encoding<number> = { read: (reader) => reader.i32(), write: (writer, data) => writer.i32(data) }
const u32: Encoding<number> = { read: (reader) => reader.u32(), write: (writer, data) => writer.u32(data) }
const i64: Encoding<bigint> = { read: (reader) => reader.i64(), write: (writer, data) => writer.i64(data) }
const u64: Encoding<bigint> = { read: (reader) => reader.u64(), write: (writer, data) => writer.u64(data) }
const size: Encoding<bigint> = {
  read: (reader) => reader.wideSize(),
  write: (writer, data) => writer.wideSize(data),
}
const int: Encoding<number> = { read: (reader) => reader.int(), write: (writer, data) => writer.int(data) }
const unsignedInt: Encoding<number> = {
  read: (reader) => reader.unsignedInt(),
  write: (writer, data) => writer.unsignedInt(data),
}
/** A number with the code of its own type before it. */
const pid: Encoding<number> = {
  read(reader) {
    if (reader.u16() !== Type.UINT32) throw malformed('width of a process id')
    return reader.u32()
  },
  write: (writer, data) => writer.u16(Type.UINT32).u32(data),
}
const string: Encoding<string | null> = {
  read: (reader) => reader.string(),
  write: (writer, data) => writer.string(data),
}
const timeval: Encoding<Timeval> = {
  read: (reader) => ({ seconds: reader.i64(), microseconds: reader.i64() }),
  write: (writer, { seconds, microseconds }) => writer.i64(seconds).i64(microseconds),
}
const bytes: Encoding<Uint8Array> = {
  read: (reader) => reader.sized(),
  write: (writer, data) => writer.sized(data),
}
const taggedBytes: Encoding<TaggedBytes> = {
  read: (reader) => ({ tag: reader.u8(), bytes: reader.sized() }),
  write: (writer, data) => writer.u8(data.tag).sized(data.bytes),
}
const environmentVariable: Encoding<EnvironmentVariable> = {
  read: (reader) => ({ name: requiredString(reader), value: reader.string(), separator: reader.u8() }),
  write: (writer, { name, value, separator }) => writer.string(name).string(value).u8(separator),
}
const proc: Encoding<Proc> = { read: readProc, write: writeProc }
const value: Encoding<Value> = { read: readValue, write: writeValue }
const keyValue: Encoding<KeyValue> = { read: readKeyValue, write: writeKeyValue }
const info: Encoding<Info> = { read: readInfo, write: writeInfo }
const published: Encoding<Published> = {
  read: (reader, depth) => ({ proc: readProc(reader), ...readKeyValue(reader, depth) }),
  write: writePublished,
}
const app: Encoding<App> = { read: readApp, write: writeApp }
const query: Encoding<Query> = {
  read: (reader, depth) => ({ keys: strings(reader, reader.i32()), qualifiers: infos(reader, depth) }),
  write(writer, { keys, qualifiers }) {
    writer.i32(keys.length)
    for (const key of keys) writer.string(key)
    writeInfos(writer, qualifiers)
  },
}
const array: Encoding<DataArray> = {
  read: readArray,
  write(writer, { elements, items }) {
    writer.u16(elements).size(items.length)
    for (const item of items) writeData(writer, elements, item)
  },
}

/** The types that PMIx names by the word of `PMIX_…`: the code of each, and how its values travel. */
const TYPES = {
  UNDEF: [0, nothing],
  BOOL: [1, boolean],
  BYTE: [2, u8],
  STRING: [3, string],
  SIZE: [4, size],
  PID: [5, pid],
  INT: [6, int],
  INT8: [7, u8],
  INT16: [8, i16],
  INT32: [9, i32],
  INT64: [10, i64],
  UINT: [11, unsignedInt],
  UINT8: [12, u8],
  UINT16: [13, u16],
  UINT32: [14, u32],
  UINT64: [15, u64],
  // Numbers with a fraction travel as text.
  FLOAT: [16, string],
  DOUBLE: [17, string],
  TIMEVAL: [18, timeval],
  TIME: [19, u64],
  STATUS: [20, i32],
  VALUE: [21, value],
  PROC: [22, proc],
  APP: [23, app],
  INFO: [24, info],
  PDATA: [25, published],
  BUFFER: [26, taggedBytes],
  BYTE_OBJECT: [27, bytes],
  KVAL: [28, keyValue],
  PERSIST: [30, u8],
  POINTER: [31, u8],
  SCOPE: [32, u8],
  DATA_RANGE: [33, u8],
  COMMAND: [34, u8],
  INFO_DIRECTIVES: [35, u32],
  DATA_TYPE: [36, u16],
  PROC_STATE: [37, u8],
  DATA_ARRAY: [39, array],
  PROC_RANK: [40, u32],
  QUERY: [41, query],
  COMPRESSED_STRING: [42, bytes],
  ALLOC_DIRECTIVE: [43, u8],
  IOF_CHANNEL: [45, u16],
  ENVAR: [46, environmentVariable],
  JOB_STATE: [50, u8],
  LINK_STATE: [51, u8],
  DEVTYPE: [57, u64],
  LOCTYPE: [58, u16],
  COMPRESSED_BYTE_OBJECT: [59, bytes],
  PROC_NSPACE: [60, string],
} as const satisfies Readonly<Record<string, readonly [code: number, Encoding]>>

/** The code of each type. */
export const Type = Object.fromEntries(
  Object.entries(TYPES).map(([name, [code]]) => [name, code] as const),
) as { readonly [Name in keyof typeof TYPES]: (typeof TYPES)[Name][0] }

const ENCODINGS: ReadonlyMap<number, Encoding> = new Map<number, Encoding>(Object.values(TYPES))

function encodingOf(type: number): Encoding {
  const encoding = ENCODINGS.get(type)
  if (!encoding) throw new UnknownTypeError(type)
  return encoding
}

/** Reads one value of a type, without count or description. */
export function readData(reader: Reader, type: number, depth = 0): Data {
  if (depth > MAX_DEPTH) throw malformed('values nested too deep')
  return encodingOf(type).read(reader, depth)
}

/**
 * Writes one value of a type, without count or description; `data` has the shape that `readData` gives for it.
 * A type unknown here is an UnknownTypeError.
 */
export function writeData(writer: Writer, type: number, data: Data): void {
  encodingOf(type).write(writer, data)
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
