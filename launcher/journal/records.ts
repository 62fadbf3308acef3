// The journal's lines: JSON, one record a line, only ever appended. Reading never throws: a controller that was killed
// leaves half a line, and what stands in the file is only believed where it has the right shape.
import { isAbsolute } from 'node:path'
import type { ProcessIdentity } from '../../common/index.ts'

/** Who wrote the journal. Pids mean something only within one boot of one host and one pid namespace. */
export interface JournalHead {
  readonly version: 1
  readonly jobId: string
  readonly controller: ProcessIdentity
  readonly place: Place
}

/** The boot and pid namespace in which the pids of a journal are to be understood. */
export interface Place {
  readonly host: string
  /** /proc/sys/kernel/random/boot_id */
  readonly boot: string
  /** The link /proc/self/ns/pid, such as `pid:[4026531836]`. */
  readonly pidNamespace: string
}

/**
 * What is about to be made. Files and sockets inside the job's directory are not among them: they go with it. Each further kind has its own marker or name here and its own way of being removed in `removal.ts`.
 */
type Intent = ProcessIntent | FileIntent

interface ProcessIntent {
  readonly kind: 'process'
  /** For people: `QEMU of guest g0`. */
  readonly what: string
  /** The environment of the process has `LEET_MARKER=marker`. */
  readonly marker: string
}

/** A file that must lie elsewhere, since other nodes read it; its name has that of the job's directory in it. */
export interface FileIntent {
  readonly kind: 'file'
  readonly what: string
  /** Absolute. */
  readonly path: string
  /** Of a directory: what in it is put aside instead of removed, once `RESULTS_MARK` is there, too. */
  readonly keep?: string
}

/** A file of a directory that says that what may be kept of it has somebody's results. */
export const RESULTS_MARK = 'has-results'

/** What identifies the thing that was made. */
type Made = { readonly kind: 'process' } & ProcessIdentity

/** One line of a journal. */
export type JournalRecord =
  | { readonly head: JournalHead }
  | { readonly intend: number; readonly intent: Intent }
  | { readonly made: number; readonly as: Made }
  | { readonly gone: number }

/** Something that, as far as the journal knows, still exists. */
export interface OpenResource {
  readonly id: number
  readonly intent: Intent
  readonly made?: Made
}

/** A journal as read back. */
export interface JournalContent {
  readonly head?: JournalHead
  /** In the order in which they were made. */
  readonly open: readonly OpenResource[]
  /** Lines that are not records: one (cut short) is normal after a kill. */
  readonly unreadable: number
}

/** One record as a line, with its newline. */
export function formatRecord(record: JournalRecord): string {
  return `${JSON.stringify(record)}\n`
}

/** Reads a journal. Never throws; lines of another shape are counted and left out. */
export function parseJournal(text: string): JournalContent {
  let head: JournalHead | undefined
  let unreadable = 0
  const open = new Map<number, OpenResource>()
  for (const line of text.split('\n')) {
    if (line === '') continue
    const record = parseRecord(line)
    if (record === undefined) unreadable++
    else if ('head' in record) head ??= record.head
    else if ('intend' in record) open.set(record.intend, { id: record.intend, intent: record.intent })
    else if ('gone' in record) open.delete(record.gone)
    else {
      const entry = open.get(record.made)
      if (entry?.intent.kind === record.as.kind) open.set(record.made, { ...entry, made: record.as })
      else unreadable++
    }
  }
  return { head, open: [...open.values()], unreadable }
}

function parseRecord(line: string): JournalRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (!isObject(value)) return undefined
  if (isHead(value.head)) return { head: value.head }
  if (isCount(value.intend) && isIntent(value.intent)) return { intend: value.intend, intent: value.intent }
  if (isCount(value.made) && isMade(value.as)) return { made: value.made, as: value.as }
  if (isCount(value.gone)) return { gone: value.gone }
  return undefined
}

function isHead(value: unknown): value is JournalHead {
  return (
    isObject(value) &&
    value.version === 1 &&
    typeof value.jobId === 'string' &&
    isIdentity(value.controller) &&
    isObject(value.place) &&
    typeof value.place.host === 'string' &&
    typeof value.place.boot === 'string' &&
    typeof value.place.pidNamespace === 'string'
  )
}

function isIntent(value: unknown): value is Intent {
  return (
    isObject(value) &&
    typeof value.what === 'string' &&
    ((value.kind === 'process' && typeof value.marker === 'string' && MARKER.test(value.marker)) ||
      (value.kind === 'file' &&
        typeof value.path === 'string' &&
        isAbsolute(value.path) &&
        isPart(value.keep)))
  )
}

function isPart(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && /^[\w][\w.-]*$/.test(value))
}

function isMade(value: unknown): value is Made {
  return isObject(value) && value.kind === 'process' && isIdentity(value)
}

/** A marker: 128 random bits in hexadecimal. */
const MARKER = /^[0-9a-f]{32}$/

function isIdentity(value: unknown): value is ProcessIdentity {
  // Pid 1 is nobody's child and 0 and negative numbers mean groups to kill(2).
  return isObject(value) && isCount(value.pid) && value.pid > 1 && isCount(value.startTime)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
