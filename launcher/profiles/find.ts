// Where profiles are: those that come with LEET, the site's and the user's.
import { readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { usageError } from '../../common/index.ts'
import { nearest } from '../../mpi-bridge/index.ts'
import { readOwn } from '../config/load.ts'
import { type Profile, parseProfile } from './profile.ts'

const SUFFIX = '.yaml'

/** Directories of profiles, from strong to weak. */
function profileDirectories(env: NodeJS.ProcessEnv): string[] {
  const xdg = env.XDG_CONFIG_HOME
  const user = xdg?.startsWith('/') ? xdg : join(env.HOME || homedir(), '.config')
  return [join(user, 'leet/profiles'), '/etc/leet/profiles', fileURLToPath(new URL('.', import.meta.url))]
}

/** The profile with a name, or in a file when `word` has a slash; a usage error when there is none. */
export function findProfile(word: string, env: NodeJS.ProcessEnv, directory: string): Profile {
  if (word.includes('/')) return readProfile(resolve(directory, word))
  const known = profilesByName(env)
  const path = known.get(word)
  if (path !== undefined) return readProfile(path)
  const names = [...known.keys()]
  throw usageError(
    `there is no profile "${word}"`,
    nearest(word, names) ?? `one of ${names.join(', ')}, auto, none, or the path of a file`,
    '--profile',
  )
}

/** Every profile that is found by name. */
export function allProfiles(env: NodeJS.ProcessEnv): Profile[] {
  return [...profilesByName(env).values()].map(readProfile)
}

function profilesByName(env: NodeJS.ProcessEnv): Map<string, string> {
  const weakFirst = profileDirectories(env).toReversed()
  return new Map(
    weakFirst.flatMap((folder) =>
      namesIn(folder).map((name) => [name.slice(0, -SUFFIX.length), join(folder, name)] as const),
    ),
  )
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(SUFFIX))
  } catch {
    return []
  }
}

function readProfile(path: string): Profile {
  const text = readOwn(path)
  if (text === undefined) throw usageError(`${path} cannot be found`, undefined, '--profile')
  return parseProfile(text, basename(path, SUFFIX), path)
}
