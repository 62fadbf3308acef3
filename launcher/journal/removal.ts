// How what a journal names is ended: only what matches everything that is known of it.
import { existsSync, readdirSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  environmentOf,
  identify,
  isRunning,
  type ProcessIdentity,
  poll,
  type WaitLimits,
} from '../../common/index.ts'
import { type FileIntent, type OpenResource, RESULTS_MARK } from './records.ts'

/** The variable that carries a resource's marker into the process. */
export const MARKER_VARIABLE = 'LEET_MARKER'

/**
 * Ends a resource and waits until it is gone. A process that was recorded is ended only if pid, start time and the
 * marker in its environment all match; where only the intent was written, whatever process of this user carries the
 * marker is meant. Returns what it did, one line each; `LEET_E_DEADLINE` when it is still there in the end.
 */
export async function removeResource(resource: OpenResource, limits: WaitLimits): Promise<string[]> {
  const { intent, made } = resource
  if (intent.kind === 'file') {
    const kept = await putAside(intent)
    await rm(intent.path, { force: true, recursive: true })
    return [kept === undefined ? `removed ${intent.what}` : `kept ${intent.what} as ${kept}`]
  }
  const matching = made
    ? [made].filter((process) => hasMarker(process.pid, intent.marker))
    : processesWithMarker(intent.marker)
  const running = matching.filter(isRunning)
  for (const { pid } of running) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      // Ended by itself in between, which is all that was wanted.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  await untilGone(running, intent.what, limits)
  return running.map(({ pid }) => `ended ${intent.what} (pid ${pid})`)
}

/** Moves what is to be kept out of a directory that will be removed; undefined when there is nothing. */
async function putAside({ path, keep }: FileIntent): Promise<string | undefined> {
  if (keep === undefined || !existsSync(join(path, RESULTS_MARK))) return undefined
  const kept = `${path}.${keep}`
  await rename(join(path, keep), kept)
  return kept
}

async function untilGone(
  processes: readonly ProcessIdentity[],
  what: string,
  limits: WaitLimits,
): Promise<void> {
  if (processes.length === 0) return
  await poll(() => (processes.some(isRunning) ? undefined : true), 2, limits, {
    what: `the end of ${what} after SIGKILL (pid ${processes.map(({ pid }) => pid).join(', ')})`,
    hint: 'a process that SIGKILL does not end waits for a device or a dead file server',
  })
}

/** Processes that carry the marker in their environment. */
export function processesWithMarker(marker: string): ProcessIdentity[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && hasMarker(pid, marker))
    .flatMap((pid) => identify(pid) ?? [])
}

// Only processes of this user can be asked for their environment (proc(5)); root could ask all, but a marker is 128
// random bits that nobody else has.
function hasMarker(pid: number, marker: string): boolean {
  return environmentOf(pid).includes(`${MARKER_VARIABLE}=${marker}`)
}
