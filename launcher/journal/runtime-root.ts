// Where jobs keep what lives no longer than they do: a folder that belongs to the user alone, on the node itself.
import { lstatSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { LeetError } from '../../common/index.ts'

/**
 * The places where job directories may be, the preferred one first. XDG_RUNTIME_DIR counts only where it exists and is
 * the user's own: batch systems carry the variable from the login node to nodes that do not have the directory.
 */
export function runtimeRoots(env: NodeJS.ProcessEnv = process.env, uid: number = ownUid()): string[] {
  const roots = [`/tmp/leet-${uid}`]
  const base = env.XDG_RUNTIME_DIR
  if (base?.startsWith('/') && ownDirectory(base, uid) === undefined) roots.unshift(join(base, 'leet'))
  return roots
}

/** Makes `root` unless it is there; `LEET_E_RUNTIME_DIR` unless it is a directory of this user closed to all others. */
export function ensureRuntimeRoot(root: string, uid: number = ownUid()): void {
  try {
    mkdirSync(root, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new LeetError({
        code: 'LEET_E_RUNTIME_DIR',
        what: `cannot make the runtime directory ${root}`,
        why: (error as Error).message,
        hint: 'set XDG_RUNTIME_DIR to a directory of your own on this node',
        cause: error,
      })
    }
  }
  const why = ownDirectory(root, uid)
  if (why !== undefined) {
    throw new LeetError({
      code: 'LEET_E_RUNTIME_DIR',
      what: `refusing to use the runtime directory ${root}`,
      why,
      hint: 'set XDG_RUNTIME_DIR to a directory of your own with mode 0700, or remove this one',
    })
  }
}

/** Why `path` is not a directory of this user closed to all others; undefined when it is. */
export function ownDirectory(path: string, uid: number = ownUid()): string | undefined {
  // lstat and never stat: somebody else may put a symbolic link where /tmp/leet-UID is expected.
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return 'it does not exist'
  if (found.isSymbolicLink()) return 'it is a symbolic link'
  if (!found.isDirectory()) return 'it is not a directory'
  if (found.uid !== uid) return `it belongs to uid ${found.uid}`
  if ((found.mode & 0o077) !== 0) return 'others may read or write in it'
  return undefined
}

function ownUid(): number {
  return process.getuid?.() ?? 0
}
