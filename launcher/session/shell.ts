// The shell with which a session ends: the nearest one above the command that made it, whatever stands between
// (time(1), a wrapper of the site).
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { LeetError, type ProcessIdentity } from '../../common/index.ts'

const SHELLS = ['sh', 'ash', 'bash', 'busybox', 'csh', 'dash', 'fish', 'ksh', 'mksh', 'tcsh', 'zsh', 'pwsh']

/** The first shell among `ancestors`, or else the nearest of them. */
export function shellAmong(
  ancestors: readonly ProcessIdentity[],
  nameOf: (pid: number) => string = programName,
): ProcessIdentity {
  const found = ancestors.find(({ pid }) => SHELLS.includes(nameOf(pid))) ?? ancestors[0]
  if (found) return found
  throw new LeetError({
    code: 'LEET_E_SESSION',
    what: 'a session ends with the shell that called `leet up`, and there is none',
    exitCode: 2,
  })
}

// A login shell has a dash before its name.
function programName(pid: number): string {
  try {
    const [name = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return basename(name).replace(/^-/, '')
  } catch {
    return ''
  }
}
