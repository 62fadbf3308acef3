// Where leet.yaml may be, and whose it must be.
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { EXIT_USAGE, LeetError } from '../../common/index.ts'
import type { OptionSpec } from '../../mpi-bridge/index.ts'
import type { ConfigFile } from './sources.ts'

const NAME = 'leet.yaml'

/** The files that count for a command in `directory`, from strong to weak: the directory's, the user's, the site's. */
export function configPaths(environment: NodeJS.ProcessEnv, directory: string): string[] {
  const xdg = environment.XDG_CONFIG_HOME
  const user = xdg?.startsWith('/') ? xdg : join(environment.HOME || homedir(), '.config')
  return [...new Set([join(directory, NAME), join(user, 'leet', NAME), join('/etc/leet', NAME)])]
}

/** Reads those of the files that are there. Loads nothing when there is none. */
export async function loadConfigs(
  paths: readonly string[],
  table: readonly OptionSpec[],
): Promise<ConfigFile[]> {
  const texts = paths.flatMap((path) => {
    const text = readOwn(path)
    return text === undefined ? [] : [{ path, text }]
  })
  if (texts.length === 0) return []
  const { parseConfig } = await import('./file.ts')
  return Promise.all(texts.map(({ path, text }) => parseConfig(text, path, table)))
}

/** Longest file that is read, in bytes. */
const LONGEST = 64 << 10

/**
 * The text of a file of this user or of root; undefined when there is none. What somebody else may write is refused: it
 * names files, kernels and servers, and the working directory may be /tmp.
 */
export function readOwn(path: string): string | undefined {
  let file: number
  try {
    // Opening a pipe must not wait for its writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw refusal(path, 'cannot be read', { why: code, cause })
  }
  try {
    const found = fstatSync(file)
    if (!found.isFile()) throw refusal(path, 'is not a file')
    if (found.size > LONGEST) throw refusal(path, `is longer than ${LONGEST} bytes`)
    const others = ![0, process.getuid?.()].includes(found.uid)
    if (others || (found.mode & 0o002) !== 0) {
      throw refusal(path, 'is not used', {
        why: others ? `it belongs to uid ${found.uid}` : 'everybody may write to it',
        hint: 'a copy of your own, or a start from another directory with -wdir',
      })
    }
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function refusal(
  path: string,
  what: string,
  more: { readonly why?: string | undefined; readonly hint?: string; readonly cause?: unknown } = {},
): LeetError {
  return new LeetError({ code: 'LEET_E_CONFIG', where: path, what, exitCode: EXIT_USAGE, ...more })
}
