// Where profiles are: those that come with LEET, the site's and the user's.
import { readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { usageError } from '../../common/index.ts'
import { nearest } from '../../mpi-bridge/index.ts'
import { readOwn } from '../config/load.ts'
import { type Profile, SUFFIX } from './profile.ts'
import { shippedProfiles } from './shipped.ts'

/** Directories of profiles beside LEET's own, from weak to strong. */
function profileDirectories(env: NodeJS.ProcessEnv): string[] {
  const xdg = env.XDG_CONFIG_HOME
  const user = xdg?.startsWith('/') ? xdg : join(env.HOME || homedir(), '.config')
  return ['/etc/leet/profiles', join(user, 'leet/profiles')]
}

/** The profile with a name, or in a file when `word` has a slash; a usage error when there is none. */
export async function findProfile(word: string, env: NodeJS.ProcessEnv, directory: string): Promise<Profile> {
  if (word.includes('/')) return readProfile(resolve(directory, word))
  const known = profilesByName(env)
  const read = known.get(word)
  if (read) return read()
  const names = [...known.keys()]
  throw usageError(
    `there is no profile "${word}"`,
    nearest(word, names) ?? `one of ${names.join(', ')}, auto, none, or the path of a file`,
    '--profile',
  )
}

/** Every profile that is found by name. */
export function allProfiles(env: NodeJS.ProcessEnv): Promise<Profile[]> {
  return Promise.all([...profilesByName(env).values()].map((read) => read()))
}

function profilesByName(env: NodeJS.ProcessEnv): Map<string, () => Promise<Profile>> {
  const shipped = shippedProfiles().map((profile) => [profile.name, async () => profile] as const)
  const others = profileDirectories(env).flatMap((folder) =>
    namesIn(folder).map((name) => [basename(name, SUFFIX), () => readProfile(join(folder, name))] as const),
  )
  return new Map([...shipped, ...others])
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(SUFFIX))
  } catch {
    return []
  }
}

async function readProfile(path: string): Promise<Profile> {
  const text = readOwn(path)
  if (text === undefined) throw usageError(`${path} cannot be found`, undefined, '--profile')
  const { parseProfile } = await import('./parse.ts')
  return parseProfile(text, basename(path, SUFFIX), path)
}
