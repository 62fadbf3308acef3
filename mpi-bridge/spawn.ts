// MPI_Comm_spawn: what a rank asks of the launcher, and what it is told. The words travel as JSON between parts of one job; every field is checked where it arrives.
import { LeetError, type WaitLimits } from '../common/index.ts'
import { CONTROLLER, type Exchange } from './exchange.ts'
import type { Preput } from './job.ts'

/** One command of MPI_Comm_spawn_multiple. */
export interface SpawnCommand {
  /** Program and its arguments. */
  readonly argv: readonly string[]
  /** Number of ranks to start. */
  readonly maxprocs: number
  readonly cwd?: string
  /** Variables to add to the new ranks' environment, as they are. */
  readonly env: Readonly<Record<string, string>>
  /** The MPI_Info of the command: `host`, `hosts`, `hostfile`, `wdir`, `path`, … in the MPI library's spelling. */
  readonly info: Readonly<Record<string, string>>
}

/** What rank `rank` of `job` asks for. */
export interface SpawnRequest {
  readonly job: string
  readonly rank: number
  readonly commands: readonly SpawnCommand[]
  /** Goes into the key-value space of the new job before its ranks start. */
  readonly preput: readonly Preput[]
}

/** The new job's name and one status for each rank that was asked for, 0 for a rank that was started. */
export interface SpawnResult {
  readonly job: string
  readonly errcodes: readonly number[]
}

/** Topic of spawn questions to the controller. */
const SPAWN_TOPIC = 'spawn'
/** Asks the controller to start more ranks. */
export async function askSpawn(
  exchange: Exchange,
  request: SpawnRequest,
  limits: WaitLimits,
): Promise<SpawnResult> {
  const answer = await exchange.ask(CONTROLLER, SPAWN_TOPIC, encode(request), limits)
  const fields = object(decode(answer), 'spawn result')
  return { job: text(fields.job, 'job'), errcodes: list(fields.errcodes, 'errcodes', whole) }
}

/** Registers who starts ranks: the launcher, on the controller. A rejection reaches the rank as a failed spawn. */
export function answerSpawn(
  exchange: Exchange,
  start: (request: SpawnRequest) => Promise<SpawnResult>,
): void {
  exchange.answer(SPAWN_TOPIC, async (message) => encode(await start(spawnRequest(decode(message)))))
}

function spawnRequest(value: unknown): SpawnRequest {
  const fields = object(value, 'spawn request')
  return {
    job: text(fields.job, 'job'),
    rank: whole(fields.rank, 'rank'),
    commands: list(fields.commands, 'commands', spawnCommand),
    preput: list(fields.preput, 'preput', preputPair),
  }
}

function spawnCommand(value: unknown): SpawnCommand {
  const fields = object(value, 'spawn command')
  return {
    argv: list(fields.argv, 'argv', text),
    maxprocs: whole(fields.maxprocs, 'maxprocs'),
    ...(fields.cwd === undefined ? {} : { cwd: text(fields.cwd, 'cwd') }),
    env: texts(fields.env, 'env'),
    info: texts(fields.info, 'info'),
  }
}

function preputPair(value: unknown): Preput {
  const fields = object(value, 'preput')
  return { key: text(fields.key, 'key'), value: text(fields.value, 'value') }
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), 'utf8')
}

function decode(message: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('utf8'))
  } catch (cause) {
    throw malformed('JSON', cause)
  }
}

function malformed(what: string, cause?: unknown): LeetError {
  return new LeetError({
    code: 'LEET_E_MESSAGE',
    what: `a message between parts of the job is malformed (${what})`,
    hint: 'the same version of LEET must be installed on all nodes',
    cause,
  })
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(what)
  return value as Record<string, unknown>
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw malformed(what)
  return value
}

function whole(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value)) throw malformed(what)
  return value as number
}

function list<T>(value: unknown, what: string, item: (value: unknown, what: string) => T): T[] {
  if (!Array.isArray(value)) throw malformed(what)
  return value.map((each) => item(each, what))
}

function texts(value: unknown, what: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(object(value, what)).map(([key, each]) => [key, text(each, what)] as const),
  )
}
