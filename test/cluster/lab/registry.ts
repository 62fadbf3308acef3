// Which labs exist on this machine: one file per lab, written before anything is made, so that whatever a lost lab
// left can be found and removed. The folder can be written by root only.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { identify, isRunning, type ProcessIdentity } from '../../../common/index.ts'
import { removeCgroups } from './cgroups.ts'

/** What must be ended and removed for a lab to be gone. */
export interface LabRecord {
  readonly id: string
  /** The process that runs the lab. */
  readonly owner: ProcessIdentity
  /** The lab's directory, made by the lab. */
  readonly directory: string
  /** The site's first process: its end ends all hosts. Absent while it is being started. */
  readonly site?: ProcessIdentity
}

const REGISTRY = '/run/leet-lab'

/** Writes or replaces a lab's record. */
export function recordLab(record: LabRecord): void {
  mkdirSync(REGISTRY, { recursive: true, mode: 0o700 })
  const file = join(REGISTRY, `${record.id}.json`)
  writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** All recorded labs. */
export function recordedLabs(): LabRecord[] {
  let files: string[]
  try {
    files = readdirSync(REGISTRY)
  } catch {
    return []
  }
  return files
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(REGISTRY, file), 'utf8')) as LabRecord)
}

/** Ends every process of a lab and removes its files and its record. Synchronous, so that it works while exiting. */
export function removeLab(record: LabRecord): void {
  const { site } = record
  if (site && isRunning(site)) {
    process.kill(site.pid, 'SIGKILL')
    // The kernel ends all processes of a PID namespace before its first one is gone.
    const pause = new Int32Array(new SharedArrayBuffer(4))
    for (let tries = 0; tries < 1000 && identify(site.pid); tries++) Atomics.wait(pause, 0, 0, 5)
  }
  removeCgroups(record.id)
  rmSync(record.directory, { recursive: true, force: true })
  rmSync(join(REGISTRY, `${record.id}.json`), { force: true })
}
