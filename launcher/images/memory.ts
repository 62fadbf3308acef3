// What an image was made of, so that the next job with the same programs finds it in a few milliseconds: every file and
// directory that had a part in the outcome, by what lstat(2) says of it. When any of them has changed, or one that was
// not there has appeared, the image is composed as if it were new; most often it comes out the same.
import { createHash } from 'node:crypto'
import { lstatSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { stampOf } from './formats/index.ts'
import type { ImageProgram, LinuxImageRequest } from './image.ts'
import type { MpiFacts } from './mpi.ts'

/** What is kept of one compose. */
export interface Remembered {
  /** By absolute path; `none` of what was not there. */
  readonly stamps: Readonly<Record<string, string>>
  /** The image's names in the store. */
  readonly image: string
  readonly programs: readonly ImageProgram[]
  readonly mpi: MpiFacts
}

/** Environment variables that have a part in what is found. */
const VARIABLES =
  /^(PATH|LD_LIBRARY_PATH|LD_PRELOAD|(OPAL|PMIX)_(PREFIX|LIBDIR|PKGLIBDIR)|UCX_MODULE_DIR|FI_PROVIDER_PATH)$/

/** A name for requests that ask for the same. */
export function requestKey(request: LinuxImageRequest): string {
  const env = Object.entries(request.env)
    .filter(([name]) => VARIABLES.test(name))
    .sort()
  const { programs, files, directory, starter, kernel, shared } = request
  return createHash('sha256')
    .update(JSON.stringify([programs, files, directory, starter.path, kernel, shared, env]))
    .digest('hex')
}

/** The stamps of these paths as they are now. Of a symbolic link both its own and that of what it leads to. */
export function stampsOf(paths: Iterable<string>): Record<string, string> {
  const stamps: Record<string, string> = {}
  for (const path of paths) if (isAbsolute(path)) stamps[path] = stampNow(path)
  return stamps
}

/** Reads what was written by `JSON.stringify`; undefined when it is no such thing or something has changed since. */
export function stillTrue(text: string | undefined): Remembered | undefined {
  if (text === undefined) return undefined
  let remembered: Remembered
  try {
    remembered = JSON.parse(text) as Remembered
  } catch {
    return undefined
  }
  const { stamps } = remembered
  if (typeof stamps !== 'object' || stamps === null) return undefined
  return Object.entries(stamps).every(([path, stamp]) => stampNow(path) === stamp) ? remembered : undefined
}

function stampNow(path: string): string {
  try {
    const own = lstatSync(path)
    if (!own.isSymbolicLink()) return stampWithMode(own)
    const target = statSync(path, { throwIfNoEntry: false })
    return `${readlinkSync(path)} ${target ? stampWithMode(target) : 'none'}`
  } catch {
    return 'none' // not there, or not to be seen by this user
  }
}

function stampWithMode(stats: Stats): string {
  return `${stampOf(stats)}:${stats.mode}`
}
