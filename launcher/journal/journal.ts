// The journal of a job on one node. What a job makes is written down before it is made, so that whatever happens to the
// controller, the reaper knows what to look for.
//
// A job has one directory in the runtime root, `PID.STARTTIME.RANDOM` of its controller: one look at the names tells the
// reaper which jobs are over. In it are the journal and all files and sockets of the job.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { delimiter, join } from 'node:path'
import {
  commandMissing,
  Deadline,
  identify,
  LeetError,
  type ProcessIdentity,
  type WaitLimits,
  waitFor,
  withParentDeathSignal,
} from '../../common/index.ts'
import { formatRecord, type JournalRecord, type OpenResource, type Place } from './records.ts'
import { MARKER_VARIABLE, removeResource } from './removal.ts'
import { ensureRuntimeRoot, runtimeRoots } from './runtime-root.ts'

/** Name of the journal's file in a job directory. */
export const JOURNAL_FILE = 'journal'

/** What `Journal.open` needs. */
export interface JournalOptions {
  /** Public name of the job, for people. */
  readonly jobId: string
  /** Runtime root; the user's own by default. */
  readonly root?: string
}

/** A child started through the journal. */
export interface JournalledChild {
  readonly child: ChildProcess
  readonly pid: number
}

/** A process that a daemon is to start. */
export interface ExpectedProcess {
  readonly marker: string
  /** It runs. */
  made(identity: ProcessIdentity): void
  /** It has ended. */
  gone(): void
}

/** Options of `Journal.spawn`: those of Node's `spawn` that make sense for a foreground child, and a name. */
export interface JournalSpawnOptions extends Pick<SpawnOptions, 'stdio' | 'cwd' | 'env'> {
  /** For people: `QEMU of guest g0`. */
  readonly what: string
  /** Whether the program sees to it by itself that it does not outlive this process; then it is started two commands sooner. */
  readonly endsWithParent?: boolean
}

/** One job's journal, open for writing by its controller (or agent) alone. */
export class Journal {
  /** The job's directory, mode 0700; its path is short enough for UNIX sockets in it. */
  readonly directory: string
  readonly jobId: string
  readonly #root: string
  #file: number | undefined
  #nextId = 1
  #closing = false
  readonly #children = new Map<number, OwnChild>()
  readonly #expected = new Map<number, OpenResource>()

  private constructor(root: string, directory: string, jobId: string) {
    this.#root = root
    this.directory = directory
    this.jobId = jobId
    // 'ax': the directory is new, so is the journal.
    this.#file = openSync(join(directory, JOURNAL_FILE), 'ax', 0o600)
  }

  /** Makes the job's directory and journal. `LEET_E_RUNTIME_DIR` when there is no safe place for it. */
  static async open({ jobId, root = runtimeRoots()[0] as string }: JournalOptions): Promise<Journal> {
    const controller = identify(process.pid) as ProcessIdentity
    const journal = new Journal(root, makeJobDirectory(root, controller), jobId)
    journal.#write({ head: { version: 1, jobId, controller, place: thisPlace() } })
    return journal
  }

  /** Path of a file of the job. The name must be plain: no folder, no leading dot. */
  path(name: string): string {
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name)) throw new RangeError(`not a plain file name: ${name}`)
    return join(this.directory, name)
  }

  /**
   * Starts a foreground child that is killed when this process dies, and journals it. The intent is written first, with
   * a marker that the child's environment has too. `LEET_E_COMMAND_MISSING` when the command cannot be found.
   */
  spawn(argv: readonly [string, ...string[]], options: JournalSpawnOptions): JournalledChild {
    if (this.#closing) throw new LeetError({ code: 'LEET_E_CANCELLED', what: 'the job is ending' })
    const env = options.env ?? process.env
    const command = resolveCommand(argv[0], env)
    const marker = randomBytes(16).toString('hex')
    const id = this.#nextId++
    this.#write({ intend: id, intent: { kind: 'process', what: options.what, marker } })
    const words = [command, ...argv.slice(1)]
    const [file, ...args] = options.endsWithParent ? words : underThisParent(words)
    const child = spawn(file as string, args, {
      stdio: options.stdio,
      cwd: options.cwd,
      env: { ...env, [MARKER_VARIABLE]: marker },
    })
    // Failing to start is seen by the missing pid, failing to signal by the missing end.
    child.on('error', () => {})
    if (child.pid === undefined) {
      this.#write({ gone: id })
      throw new LeetError({
        code: 'LEET_E_SPAWN',
        what: `cannot start ${options.what}`,
        hint: 'the commands setpriv (util-linux) and sh must be on PATH, and process limits must allow one more',
      })
    }
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        this.#children.delete(id)
        this.#forget(id)
        resolve()
      })
    })
    this.#children.set(id, { child, ended, what: options.what })
    const identity = identify(child.pid)
    if (identity) this.#write({ made: id, as: { kind: 'process', ...identity } })
    return { child, pid: child.pid }
  }

  /**
   * Journals a process that a daemon starts for this job. The daemon must give it the marker as MARKER_VARIABLE; it is
   * ended, as a child would be, when the journal closes, or by the reaper.
   */
  expect(what: string): ExpectedProcess {
    if (this.#closing) throw new LeetError({ code: 'LEET_E_CANCELLED', what: 'the job is ending' })
    const id = this.#nextId++
    const intent = { kind: 'process', what, marker: randomBytes(16).toString('hex') } as const
    this.#write({ intend: id, intent })
    this.#expected.set(id, { id, intent })
    return {
      marker: intent.marker,
      made: (identity) => {
        const made = { kind: 'process', ...identity } as const
        this.#write({ made: id, as: made })
        this.#expected.set(id, { id, intent, made })
      },
      gone: () => {
        if (this.#expected.delete(id)) this.#forget(id)
      },
    }
  }

  /**
   * Journals a file, or a directory with all in it, that is about to be made outside of the job's directory. It is removed when
   * `gone` is called, when the journal closes, or by the reaper; of a directory the two last put `keep` aside, as `PATH.KEEP`,
   * once `RESULTS_MARK` is in it.
   */
  expectFile(path: string, what: string, keep?: string): { gone(): void } {
    if (this.#closing) throw new LeetError({ code: 'LEET_E_CANCELLED', what: 'the job is ending' })
    const id = this.#nextId++
    const intent = { kind: 'file', what, path, ...(keep === undefined ? {} : { keep }) } as const
    this.#write({ intend: id, intent })
    this.#expected.set(id, { id, intent })
    return {
      gone: () => {
        rmSync(path, { force: true, recursive: true })
        if (this.#expected.delete(id)) this.#forget(id)
      },
    }
  }

  /** Ends what is still there and removes the job's directory. Nothing can be started afterwards. May be called again. */
  async close(limits: WaitLimits = { deadline: Deadline.after(CLOSE_MS) }): Promise<void> {
    this.#closing = true
    const ended = await Promise.allSettled([...this.#children.values()].map((own) => endChild(own, limits)))
    const removed = await Promise.allSettled(
      [...this.#expected.values()].map((resource) => removeResource(resource, limits)),
    )
    // What is still there stays in the journal, for the reaper.
    const failed = [...ended, ...removed].find((one) => one.status === 'rejected')
    if (failed) throw failed.reason
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    await rm(this.directory, { recursive: true, force: true })
    removeIfEmpty(this.#root)
  }

  // A full file system is no reason to fail: the reaper finds that it is gone by itself.
  #forget(id: number): void {
    try {
      if (this.#file !== undefined) this.#write({ gone: id })
    } catch {}
  }

  #write(record: JournalRecord): void {
    if (this.#file === undefined) throw new Error('the journal is closed')
    // Not fsynced: what the journal names ends with the machine at the latest.
    writeSync(this.#file, formatRecord(record))
  }
}

interface OwnChild {
  readonly child: ChildProcess
  readonly ended: Promise<void>
  readonly what: string
}

// A child that has not been waited for keeps its pid: here, unlike in the reaper, nobody else can be hit.
async function endChild({ child, ended, what }: OwnChild, limits: WaitLimits): Promise<void> {
  child.kill('SIGKILL')
  await waitFor(ended, limits, {
    what: `the end of ${what} after SIGKILL (pid ${child.pid})`,
    hint: 'a process that SIGKILL does not end waits for a device or a dead file server',
  })
}

/** The pids of this journal's time and place. */
export function thisPlace(): Place {
  return {
    host: hostname(),
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
  }
}

/** Removes the runtime root when the last job has left it. */
export function removeIfEmpty(root: string): void {
  try {
    rmdirSync(root)
  } catch {
    // Another job is in it, or has removed it just now.
  }
}

const CLOSE_MS = 10_000

function makeJobDirectory(root: string, { pid, startTime }: ProcessIdentity): string {
  // Another job that ends now may remove the root between the two steps.
  for (let attempt = 1; ; attempt++) {
    ensureRuntimeRoot(root)
    try {
      return mkdtempSync(join(root, `${pid}.${startTime}.`))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 10) throw error
    }
  }
}

/**
 * The parent-death signal is armed by the child itself; a parent that died before that is not noticed. So the child
 * then looks who its parent is: whichever comes first, it does not outlive this process.
 */
function underThisParent(argv: readonly string[]): string[] {
  return withParentDeathSignal(['sh', '-c', '[ "$PPID" = "$0" ] && exec "$@"', String(process.pid), ...argv])
}

function resolveCommand(command: string, env: NodeJS.ProcessEnv): string {
  const folders = command.includes('/') ? [''] : (env.PATH ?? '/usr/bin:/bin').split(delimiter)
  for (const folder of folders) {
    const path = folder === '' ? command : join(folder, command)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  throw commandMissing(command)
}
