// The frames between the bridge and leet-starter (README.md, protocol 1): pure encoding and decoding. What comes from
// a guest is not trusted: a frame is bounded, and anything that is not one is an error.
import { LeetError } from '../../common/index.ts'
import type { RankEnd, RankStart } from '../channels/channel.ts'

/** The version that both sides must speak. */
export const STARTER_PROTOCOL = 1

/** Bytes of input that the starter holds for one rank: what may be under way without being taken. */
export const INPUT_WINDOW = 64 * 1024

/** Ranks of one channel are numbered below this. */
export const RANKS_MAX = 1 << 20

const HEADER = 9
const NOBODY = 0xffff_ffff
/** Of a frame to the starter. */
const SENT_MAX = 16 << 20
/** Of the payload of a frame from the starter: one read of 64 KiB. */
const RECEIVED_MAX = 64 * 1024

const START = 1
const INPUT = 2
const INPUT_END = 3
const SIGNAL = 4
const SHUTDOWN = 5
const READY = 16
const BEGAN = 17
const STDOUT = 18
const STDERR = 19
const EXITED = 20
const FAILED = 21
const INPUT_TAKEN = 22
const INPUT_CLOSED = 23
const REFUSED = 24

const WITH_STDIN = 1
const WITH_TERMINAL = 2
const WITH_USER = 4
const WITH_COARSE_TIMERS = 8

/** Where the start of a rank failed; the starter's numbers count from 1 in this order. */
export const START_STAGES = [
  'specification',
  'streams',
  'process',
  'user',
  'cpus',
  'directory',
  'search',
  'program',
  'interpreter',
] as const
export type StartStage = (typeof START_STAGES)[number]

/** A frame from the starter. */
export type StarterFrame =
  | { readonly kind: 'ready'; readonly protocol: number; readonly pid: number }
  | { readonly kind: 'began'; readonly rank: number; readonly pid: number }
  | {
      readonly kind: 'output'
      readonly rank: number
      readonly stream: 'stdout' | 'stderr'
      /** A view of the bytes that were pushed, not a copy. */
      readonly data: Uint8Array
    }
  | { readonly kind: 'exited'; readonly rank: number; readonly end: RankEnd }
  | { readonly kind: 'failed'; readonly rank: number; readonly errno: number; readonly stage: StartStage }
  | { readonly kind: 'input-taken'; readonly rank: number; readonly bytes: number }
  | { readonly kind: 'input-closed'; readonly rank: number }
  | { readonly kind: 'refused'; readonly why: string }

function frame(type: number, rank: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER + size)
  bytes.writeUInt32BE(size, 0)
  bytes[4] = type
  bytes.writeUInt32BE(rank, 5)
  return bytes
}

/** Asks the starter to start a rank. A specification that no execve(2) could take is `LEET_E_RANK_START`. */
export function encodeStart(start: RankStart): Buffer {
  const { rank, argv, env, user, cpus = [] } = start
  const groups = user?.groups ?? []
  checkNumbers(start)
  if (!argv[0]) throw refusal(rank, 'no program is named')
  // One string, encoded once: a job of many ranks and large environments is on its way to its first instruction.
  let strings = ''
  const add = (text: string) => {
    if (text.includes('\0'))
      throw refusal(rank, 'a NUL byte in an argument, the environment or the directory')
    strings += `${text}\0`
  }
  add(start.cwd)
  for (const argument of argv) add(argument)
  const names = Object.keys(env)
  for (const name of names) {
    if (name === '' || name.includes('='))
      throw refusal(rank, `"${name}" is no name of an environment variable`)
    add(`${name}=${env[name]}`)
  }
  const fixed = 1 + 4 * (6 + groups.length + cpus.length)
  const size = fixed + Buffer.byteLength(strings)
  if (size > SENT_MAX) throw refusal(rank, `arguments and environment take ${size} bytes`)
  const bytes = frame(START, rank, size)
  const flags =
    (start.stdin ? WITH_STDIN : 0) |
    (start.terminal ? WITH_TERMINAL : 0) |
    (user ? WITH_USER : 0) |
    (start.coarseTimers ? WITH_COARSE_TIMERS : 0)
  let at = bytes.writeUInt8(flags, HEADER)
  const counts = [argv.length, names.length, groups.length, cpus.length, user?.uid ?? 0, user?.gid ?? 0]
  for (const value of [...counts, ...groups, ...cpus]) at = bytes.writeUInt32BE(value, at)
  bytes.write(strings, at)
  return bytes
}

function checkNumbers({ rank, user, cpus = [] }: RankStart): void {
  const isBelow = (value: number, most: number) => Number.isInteger(value) && value >= 0 && value < most
  if (!isBelow(rank, RANKS_MAX)) throw refusal(rank, 'no such rank number')
  const ids = user ? [user.uid, user.gid, ...user.groups] : []
  if (!ids.every((id) => isBelow(id, NOBODY))) throw refusal(rank, 'no such user or group number')
  // The starter's set holds eight times as many CPUs as the C library's (CPU_SETSIZE).
  if (!cpus.every((cpu) => isBelow(cpu, 8192))) throw refusal(rank, 'no such CPU number')
}

function refusal(rank: number, why: string): LeetError {
  return new LeetError({ code: 'LEET_E_RANK_START', what: `rank ${rank} cannot be started`, why })
}

/** The head of a frame with `size` bytes of input for a rank; the bytes follow it. */
export function encodeInputHead(rank: number, size: number): Buffer {
  return frame(INPUT, rank, size).subarray(0, HEADER)
}

/** End of file on the standard input of a rank. */
export function encodeInputEnd(rank: number): Buffer {
  return frame(INPUT_END, rank, 0)
}

/** A signal, by number, for the process group of a rank or of all. */
export function encodeSignal(rank: number | 'all', signal: number): Buffer {
  const bytes = frame(SIGNAL, rank === 'all' ? NOBODY : rank, 1)
  bytes[HEADER] = signal
  return bytes
}

/** Ends the starter: all ranks are killed after `graceMs` at the latest, everything that they left behind with them. */
export function encodeShutdown(signal: number, graceMs: number): Buffer {
  const bytes = frame(SHUTDOWN, NOBODY, 5)
  bytes[HEADER] = signal
  bytes.writeUInt32BE(graceMs, HEADER + 1)
  return bytes
}

/** Cuts a stream of bytes from the starter into frames. Holds at most one frame, of at most 64 KiB. */
export class FrameDecoder {
  #chunks: Uint8Array[] = []
  #size = 0
  #wanted = HEADER

  /** Hands over the frames that `chunk` completes, in order. Throws `LEET_E_STARTER_PROTOCOL` at what is no frame. */
  push(chunk: Uint8Array, take: (frame: StarterFrame) => void): void {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    while (this.#size >= this.#wanted) {
      const bytes = this.#joined()
      let at = 0
      while (bytes.length - at >= HEADER) {
        const size = bytes.readUInt32BE(at)
        if (size > RECEIVED_MAX) throw violation(`a frame of ${size} bytes`)
        if (bytes.length - at < HEADER + size) break
        const payload = bytes.subarray(at + HEADER, at + HEADER + size)
        const decoded = decode(bytes[at + 4] as number, bytes.readUInt32BE(at + 5), payload)
        at += HEADER + size
        this.#keep(bytes.subarray(at))
        take(decoded)
      }
      this.#wanted = this.#size >= HEADER ? HEADER + bytes.readUInt32BE(at) : HEADER
    }
  }

  #joined(): Buffer {
    const [first, ...others] = this.#chunks
    if (first && others.length === 0) return Buffer.from(first.buffer, first.byteOffset, first.byteLength)
    const bytes = Buffer.concat(this.#chunks)
    this.#chunks = [bytes]
    return bytes
  }

  #keep(rest: Uint8Array): void {
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#size = rest.length
  }
}

function decode(type: number, rank: number, payload: Buffer): StarterFrame {
  const sized = (size: number) => {
    if (payload.length !== size) throw violation(`a frame of type ${type} with ${payload.length} bytes`)
  }
  if (type !== READY && type !== REFUSED && rank >= RANKS_MAX) throw violation(`rank ${rank}`)
  switch (type) {
    case READY:
      sized(8)
      return { kind: 'ready', protocol: payload.readUInt32BE(0), pid: payload.readUInt32BE(4) }
    case BEGAN:
      sized(4)
      return { kind: 'began', rank, pid: payload.readUInt32BE(0) }
    case STDOUT:
    case STDERR:
      return { kind: 'output', rank, stream: type === STDOUT ? 'stdout' : 'stderr', data: payload }
    case EXITED:
      sized(3)
      return { kind: 'exited', rank, end: decodeEnd(payload) }
    case FAILED: {
      sized(5)
      const stage = START_STAGES[(payload[4] as number) - 1]
      if (stage === undefined) throw violation(`start stage ${payload[4]}`)
      return { kind: 'failed', rank, errno: payload.readUInt32BE(0), stage }
    }
    case INPUT_TAKEN:
      sized(4)
      return { kind: 'input-taken', rank, bytes: payload.readUInt32BE(0) }
    case INPUT_CLOSED:
      sized(0)
      return { kind: 'input-closed', rank }
    case REFUSED:
      return { kind: 'refused', why: printable(payload) }
    default:
      throw violation(`a frame of type ${type}`)
  }
}

function decodeEnd(payload: Buffer): RankEnd {
  const [kind, value, core] = payload as unknown as [number, number, number]
  if (kind === 0) return { kind: 'exit', status: value }
  if (kind !== 1 || value < 1 || value > 64 || core > 1) throw violation('an end that is none')
  return { kind: 'signal', signal: value, core: core === 1 }
}

/** Text of a guest for a message to the user: no control characters, not long. */
function printable(bytes: Buffer): string {
  return bytes
    .subarray(0, 200)
    .toString('latin1')
    .replaceAll(/[^ -~]/g, '?')
}

function violation(what: string): LeetError {
  return new LeetError({
    code: 'LEET_E_STARTER_PROTOCOL',
    what: `the starter broke its protocol: ${what}`,
    hint: 'an image made by another version of leet must be composed anew',
  })
}
