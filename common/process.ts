// Child processes: started in the foreground under a parent-death signal, identified by pid and start time.
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { abortReason, type WaitLimits } from './deadline.ts'
import { LeetError } from './errors.ts'
import { setTimer } from './timer.ts'

/** A process beyond doubt: pids are used again, a pid together with its start time is not. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since boot, field 22 of /proc/PID/stat (proc(5)). */
  readonly startTime: number
}

/** The identity of a running process, or undefined when there is none (or only a zombie). */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid)
  if (!fields || fields[0] === 'Z' || fields[0] === 'X') return undefined
  return { pid, startTime: Number(fields[19]) }
}

/** Fields of /proc/PID/stat from the third, the state, on; undefined when there is no such process. A thread is PID/task/TID. */
function statFields(pid: number | string): string[] | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The command name may hold spaces and parentheses: fields are counted after its last ')'.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** The parent of this process, its parent, and so on; without the first process of the machine. */
export function ancestors(): ProcessIdentity[] {
  const found: ProcessIdentity[] = []
  for (let pid = process.ppid; pid > 1; ) {
    const identity = identify(pid)
    if (!identity) break
    found.push(identity)
    pid = Number(statFields(pid)?.[1] ?? 0)
  }
  return found
}

/** Whether that very process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime
}

/** The environment of a process as `NAME=VALUE` strings; empty when it cannot be read. */
export function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean)
  } catch {
    return []
  }
}

/** Memory of a process, in bytes. */
export interface ResidentMemory {
  readonly now: number
  /** At most so far. */
  readonly peak: number
  /** Now, with its share only of what others have, too; undefined where that must not be read. */
  readonly proportional?: number
}

/** The memory that a process has (VmRSS, VmHWM and Pss of proc(5)); undefined when it is gone. */
export function residentMemory(pid: number): ResidentMemory | undefined {
  const [status, rollup] = ['status', 'smaps_rollup'].map((name) => readProc(pid, name))
  const bytes = (text: string | undefined, name: string) =>
    Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(text ?? '')?.[1]) * 1024
  const [now, peak, proportional] = [bytes(status, 'VmRSS'), bytes(status, 'VmHWM'), bytes(rollup, 'Pss')]
  if (Number.isNaN(now + peak)) return undefined
  return { now, peak, ...(Number.isNaN(proportional) ? {} : { proportional }) }
}

function readProc(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return undefined
  }
}

/** Clock ticks in /proc are hundredths of a second (USER_HZ of all architectures that Node.js runs on). */
const TICK_MS = 10

/**
 * Processor time that a process has used, its guest's under KVM included (utime and stime of proc(5)), and whether one of its
 * threads is in state R, running or ready to, or D, waiting for a disk. undefined when it is gone.
 */
export function processorUse(pid: number): { readonly ms: number; readonly active: boolean } | undefined {
  const fields = statFields(pid)
  if (!fields) return undefined
  const ms = (Number(fields[11]) + Number(fields[12])) * TICK_MS
  return { ms, active: threadsOf(pid).some((thread) => /^[RD]/.test(statFields(thread)?.[0] ?? '')) }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => `${pid}/task/${thread}`)
  } catch {
    return []
  }
}

/** `argv` so wrapped that the process is killed when its parent dies (util-linux setpriv, PR_SET_PDEATHSIG). */
export function withParentDeathSignal(argv: readonly string[]): string[] {
  return ['setpriv', '--pdeathsig', 'KILL', '--', ...argv]
}

/** How a child ended. */
export type ChildEnd =
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }

/** Resolves when the child has ended and its streams are closed; rejects when it could not be started. */
export function endOf(child: ChildProcess): Promise<ChildEnd> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) =>
      resolve(signal ? { kind: 'signal', signal } : { kind: 'exit', status: status ?? 0 }),
    )
  })
}

/** What a finished command printed, each stream cut at 1 MiB. */
export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Options of `runCommand`. */
export interface RunOptions extends WaitLimits {
  readonly input?: string | Uint8Array
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

const OUTPUT_LIMIT = 1 << 20

/** Keeps the first MiB of what a short command says; call the result for what came so far. */
export function gatherText(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = []
  let size = 0
  stream.on('data', (chunk: Buffer) => {
    if (size < OUTPUT_LIMIT) chunks.push(chunk)
    size += chunk.length
  })
  return () => Buffer.concat(chunks).subarray(0, OUTPUT_LIMIT).toString('utf8')
}

/**
 * Runs a short command to its end. A missing command is `LEET_E_COMMAND_MISSING`, an expired deadline
 * `LEET_E_DEADLINE`; a non-zero status is returned, not thrown.
 */
export async function runCommand(
  argv: readonly [string, ...string[]],
  options: RunOptions,
): Promise<CommandResult> {
  if (options.signal?.aborted) throw abortReason(options.signal)
  const [command, ...args] = argv
  const child = spawn(command, args, { env: options.env, cwd: options.cwd, stdio: 'pipe' })
  const stdout = gatherText(child.stdout)
  const stderr = gatherText(child.stderr)
  // A command that does not read its input is not an error of ours.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input)
  let failure: LeetError | undefined
  const kill = (error: LeetError | Error) => {
    failure ??=
      error instanceof LeetError ? error : new LeetError({ code: 'LEET_E_CANCELLED', what: error.message })
    child.kill('SIGKILL')
    // A process that it started may hold them, and is not waited for.
    child.stdout.destroy()
    child.stderr.destroy()
  }
  const onAbort = () => kill(abortReason(options.signal as AbortSignal))
  options.signal?.addEventListener('abort', onAbort, { once: true })
  const left = options.deadline.remaining()
  const timer = setTimer(left, () =>
    kill(
      new LeetError({
        code: 'LEET_E_DEADLINE',
        what: `\`${argv.join(' ')}\` did not end within ${(left / 1000).toFixed(1)} s`,
      }),
    ),
  )
  try {
    const end = await endOf(child)
    if (failure) throw failure
    return { status: end.kind === 'exit' ? end.status : 128, stdout: stdout(), stderr: stderr() }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw commandMissing(command, error)
    }
    throw error
  } finally {
    timer.cancel()
    options.signal?.removeEventListener('abort', onAbort)
  }
}

/** What is said of a command that PATH does not lead to. */
export function commandMissing(command: string, cause?: unknown): LeetError {
  return new LeetError({
    code: 'LEET_E_COMMAND_MISSING',
    what: `the command ${command} is not on PATH`,
    hint: `install the package that has ${command}`,
    cause,
  })
}
