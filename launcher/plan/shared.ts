// Which directories of the node a guest must see at the same path, so that a program finds its case where it always was.
import { usageError } from '../../common/index.ts'
import type { JobPlan } from './plan.ts'

/** The working directories of all programs, none inside another; ascending. */
export function sharedDirectories({ programs }: Pick<JobPlan, 'programs'>): string[] {
  const wanted = [...new Set(programs.map((program) => program.workDir))].sort()
  return wanted.filter((path) => !wanted.some((other) => other !== path && isInside(path, other)))
}

/** Whether a path of the node is seen by the guests. */
export function isShared(plan: Pick<JobPlan, 'programs'>, path: string): boolean {
  return sharedDirectories(plan).some((folder) => path === folder || isInside(path, folder))
}

/** Refuses a working directory that would hide the guest's own system. */
export function checkWorkDirectory(path: string): void {
  if (!OWN_OF_GUEST.some((own) => path === own || (own !== '/' && isInside(path, own)))) return
  throw usageError(
    `${path} cannot be the working directory in a guest, which has its own`,
    'run in a directory of yours, or name one with -wdir',
    '-wdir',
  )
}

const OWN_OF_GUEST = [
  '/',
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/leet',
  '/lib',
  '/lib64',
  '/proc',
  '/run/leet',
  '/sbin',
  '/sys',
  '/usr',
]

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}
