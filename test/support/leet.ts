// Runs the installed commands as a user would, and looks for what they left behind.
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The folder of LEET's commands. */
export const BIN = new URL('../../launcher/bin/', import.meta.url).pathname

/** How a command ended and what it printed. */
export interface CommandOutcome {
  /** Exit status; 128+N when signal N ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs. */
export interface RunningCommand {
  readonly child: ChildProcess
  readonly ended: Promise<CommandOutcome>
  /** Resolves when stdout or stderr first matches; rejects when the command ends before. */
  saw(pattern: RegExp): Promise<void>
}

/** Options of `startLeet`. */
export interface LeetOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string
}

/** Starts `leet-mpirun` (or another command of LEET) with a runtime directory of its own when `env` names one. */
export function startLeet(
  argv: readonly string[],
  options: LeetOptions = {},
  command = 'leet-mpirun',
): RunningCommand {
  const child = spawn(join(BIN, command), argv, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  return watchCommand(child)
}

/** Follows a command that was started with pipes for its output. */
export function watchCommand(child: ChildProcessWithoutNullStreams): RunningCommand {
  const said = { stdout: '', stderr: '' }
  const watchers = new Set<() => void>()
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8')
    child[stream].on('data', (text: string) => {
      said[stream] += text
      for (const watcher of watchers) watcher()
    })
  }
  const ended = new Promise<CommandOutcome>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => {
      resolve({ status: signal ? 128 + signalNumber(signal) : (status ?? -1), ...said })
    })
  })
  return {
    child,
    ended,
    saw(pattern) {
      return new Promise((resolve, reject) => {
        const watcher = () => {
          if (!pattern.test(said.stdout) && !pattern.test(said.stderr)) return
          watchers.delete(watcher)
          resolve()
        }
        watchers.add(watcher)
        watcher()
        ended.then(() => reject(new Error(`ended without ${pattern}: ${JSON.stringify(said)}`)), reject)
      })
    },
  }
}

/** Runs leet-mpirun to its end. */
export function leetMpirun(argv: readonly string[], options: LeetOptions = {}): Promise<CommandOutcome> {
  return startLeet(argv, options).ended
}

/** What a command said, less the one line by which a job tells once that guests are emulated here. */
export function butForEmulation(text: string): string {
  return text.replace(/^leet: guests (?:on \d+ of \d+ nodes )?are emulated \(TCG\), .*\n/m, '')
}

/** A place of a test's own: working directory, runtime directory, and a look at what is still there. */
export interface Playground {
  readonly directory: string
  readonly env: NodeJS.ProcessEnv
  /** Processes whose environment names this playground's runtime directory, this one aside. */
  processes(): number[]
  /** Names in LEET's part of the runtime directory. */
  files(): string[]
  remove(): void
}

/** Makes a playground under the system's temporary directory. */
export function playground(): Playground {
  const directory = mkdtempSync(join(tmpdir(), 'leet-play-'))
  const runtime = mkdtempSync(join(tmpdir(), 'lrt-'))
  return {
    directory,
    env: { XDG_RUNTIME_DIR: runtime },
    processes: () => processesWith(`XDG_RUNTIME_DIR=${runtime}`),
    files: () => {
      try {
        return readdirSync(join(runtime, 'leet'))
      } catch {
        return []
      }
    },
    remove() {
      rmSync(directory, { recursive: true, force: true })
      rmSync(runtime, { recursive: true, force: true })
    },
  }
}

function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(variable)
      } catch {
        return false
      }
    })
}

function signalNumber(signal: NodeJS.Signals): number {
  return { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal as string] ?? 0
}
