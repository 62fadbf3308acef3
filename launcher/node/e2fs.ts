// The programs of e2fsprogs that make, mend and read disks of guests without a guest and without root.
import { type CommandResult, LeetError, runCommand, type WaitLimits } from '../../common/index.ts'
import { findProgram } from '../images/inspect.ts'

/** What disks of working directories need. */
export const E2FS_PROGRAMS = ['mke2fs', 'debugfs', 'e2fsck'] as const
/** One of them. */
export type E2fsProgram = (typeof E2FS_PROGRAMS)[number]

/** Where administrators' programs are that a user's PATH may not have. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']

/** The path of a program; undefined where it is not installed. */
export function findE2fs(name: E2fsProgram): string | undefined {
  const { PATH } = process.env
  const folders = [...(PATH ? [PATH] : []), ...SYSTEM_FOLDERS]
  try {
    return findProgram(name, { PATH: folders.join(':') }, '/')
  } catch {
    return undefined
  }
}

/** Runs one of them, in `cwd`; `LEET_E_STAGING` where it is not installed. What it fails at is in the result. */
export async function e2fs(
  [name, ...args]: readonly [E2fsProgram, ...string[]],
  limits: WaitLimits,
  cwd?: string,
): Promise<CommandResult> {
  const program = findE2fs(name)
  if (program === undefined) {
    throw new LeetError({
      code: 'LEET_E_STAGING',
      where: name,
      what: 'is not on PATH: the working directory cannot be given to OSv guests as a disk',
      hint: E2FS_HINT,
    })
  }
  return runCommand([program, ...args], { ...limits, ...(cwd === undefined ? {} : { cwd }) })
}

/** What to do where they are not installed. */
export const E2FS_HINT = 'apt-get install e2fsprogs (Debian), on every node'
