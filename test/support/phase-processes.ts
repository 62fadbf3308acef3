// The processes of a test phase, found by a mark in their environment and by descent: told of when the phase hangs, and
// ended with it. Namespaces of the cluster lab end with the process that holds them.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  Deadline,
  environmentOf,
  identify,
  isRunning,
  type ProcessIdentity,
  poll,
} from '../../common/index.ts'

/** The variable that marks the processes of a phase. */
export const PHASE_MARK = 'LEET_TEST_PHASE'

const END_MS = 30_000

/** All processes that carry the mark, and all that descend from them, whatever their environment. */
export function phaseProcesses(mark: string): ProcessIdentity[] {
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
  const parents = new Map(pids.map((pid) => [pid, parentOf(pid)]))
  const marked = new Set(pids.filter((pid) => environmentOf(pid).includes(`${PHASE_MARK}=${mark}`)))
  const descends = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (marked.has(pid) || descends(parents.get(pid)))
  return pids.filter(descends).flatMap((pid) => identify(pid) ?? [])
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
  } catch {
    return undefined
  }
}

/** The processes, with what each waits for, and the sockets of every network namespace that they are in. */
export function describeProcesses(processes: readonly ProcessIdentity[]): string {
  const list = processes.map(({ pid }) => pid).join(',')
  if (list === '') return 'no process of it runs\n'
  const lines = [tell(['ps', '-o', 'pid,ppid,stat,wchan:20,etime,time,args', '-p', list])]
  const seen = new Set<string>()
  for (const { pid } of processes) {
    const net = networkOf(pid)
    if (net === undefined || seen.has(net)) continue
    seen.add(net)
    lines.push(
      `sockets of ${net}, as of process ${pid}`,
      tell(['nsenter', '-t', `${pid}`, '-n', 'ss', '-tuanp']),
    )
  }
  return lines.join('\n')
}

function networkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

/** The command line of a process; its pid when it is gone. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return `${pid}`
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself meanwhile.
  }
}

function tell([command, ...args]: [string, ...string[]]): string {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: END_MS,
    })
  } catch (error) {
    return `${command}: ${(error as Error).message}`
  }
}

/** Ends what is left of a phase, and removes labs without an owner. Resolves with the command lines of what it ended. */
export async function endProcesses(mark: string): Promise<string[]> {
  const ended: string[] = []
  const none = () => {
    const left = phaseProcesses(mark)
    for (const { pid } of left) {
      ended.push(commandOf(pid))
      kill(pid)
    }
    return left.some(isRunning) ? undefined : true
  }
  await poll(
    none,
    200,
    { deadline: Deadline.after(END_MS) },
    { what: 'the processes of a test phase to end' },
  )
  const clean = fileURLToPath(new URL('../cluster/lab/clean.ts', import.meta.url))
  execFileSync(process.execPath, [clean], { stdio: 'inherit' })
  return [...new Set(ended)]
}
