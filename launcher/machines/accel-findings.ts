// What trials of KVM found, remembered in the cache: that it works until the node boots again, that it does not for
// minutes only, since it may have been true of a bad moment alone.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { thisPlace } from '../journal/journal.ts'

/** What a trial found. */
export type Finding = { readonly works: true } | { readonly works: false; readonly why: string }

/** Whose finding, and where it is kept: in the folder `accelerator` of LEET's cache directory. */
export interface FindingPlace {
  readonly qemu: string
  readonly cacheDirectory: string
}

/** For how long it is believed that KVM does not work, in milliseconds. */
export const FAILURE_KEPT_MS = 10 * 60 * 1000

/** What the last trial on this node found, if that still holds at `now`, in milliseconds since the epoch. */
export function recallFinding(place: FindingPlace, now: number): Finding | undefined {
  try {
    const { qemu, at, finding } = JSON.parse(readFileSync(fileOf(place), 'utf8'))
    // From the future: a clock was set, and how old the finding is nobody knows.
    if (qemu !== place.qemu || typeof at !== 'number' || at > now) return undefined
    if (finding.works === true) return { works: true }
    return now - at < FAILURE_KEPT_MS ? { works: false, why: String(finding.why) } : undefined
  } catch {
    return undefined
  }
}

/** Remembers what was found at `now`. Rejects when the cache cannot be written. */
export async function rememberFinding(place: FindingPlace, finding: Finding, now: number): Promise<void> {
  mkdirSync(folderOf(place), { recursive: true, mode: 0o700 })
  const file = fileOf(place)
  const fresh = `${file}.${process.pid}`
  writeFileSync(fresh, `${JSON.stringify({ qemu: place.qemu, at: now, finding })}\n`, { mode: 0o600 })
  renameSync(fresh, file)
  await forgetOld(folderOf(place), now)
}

function folderOf({ cacheDirectory }: FindingPlace): string {
  return join(cacheDirectory, 'accelerator')
}

// By boot id: the cache may lie in a home directory that many nodes share, and a boot id is one boot of one node.
function fileOf(place: FindingPlace): string {
  return join(folderOf(place), `${thisPlace().boot}.json`)
}

/** Of other boots and nodes. */
const FILE_KEPT_MS = 30 * 24 * 3600 * 1000

async function forgetOld(folder: string, now: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    if (now - (await stat(file)).mtimeMs > FILE_KEPT_MS) await rm(file, { force: true })
  }
}
