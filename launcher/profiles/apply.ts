// What profiles add to a job: files for the image and variables for the ranks, as they are on this host.
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Deadline, type Log, runCommand, usageError, type WaitLimits } from '../../common/index.ts'
import type { ProgramFacts } from '../images/inspect.ts'
import { readLdCache } from '../images/loader.ts'
import { allProfiles, findProfile } from './find.ts'
import { expand, type Profile, recognises } from './profile.ts'

/** What profiles add. */
export interface Additions {
  /** Absolute paths for the image. */
  readonly files: readonly string[]
  /** `NAME=VALUE` for ranks, weaker than what the user has. */
  readonly variables: readonly string[]
}

/** What `profileAdditions` is told. */
export interface ProfileContext {
  /** Words of --profile: names, paths, `auto` or `none`. */
  readonly words: readonly string[]
  readonly programs: readonly ProgramFacts[]
  readonly env: NodeJS.ProcessEnv
  readonly directory: string
  readonly log: Log
}

const ASK_MS = 30_000

/** Files and variables of the profiles that were named, or that recognise the programs. */
export async function profileAdditions(context: ProfileContext): Promise<Additions> {
  const all = await Promise.all(
    context.programs.map(async (program) => {
      const profiles = await chosen(context, program)
      return Promise.all(profiles.map((profile) => additionsOf(profile, program, context)))
    }),
  )
  const found = all.flat()
  return {
    files: [...new Set(found.flatMap(({ files }) => files))],
    variables: [...new Set(found.flatMap(({ variables }) => variables))],
  }
}

async function chosen({ words, env, directory }: ProfileContext, program: ProgramFacts): Promise<Profile[]> {
  if (words.includes('none')) {
    if (words.length > 1) throw usageError('with "none" there is no other profile', undefined, '--profile')
    return []
  }
  const names = words.filter((word) => word !== 'auto')
  const named = await Promise.all(names.map((word) => findProfile(word, env, directory)))
  if (words.length > named.length || words.length === 0) {
    const files = program.files.map((path) => basename(path))
    named.push(...(await allProfiles(env)).filter((profile) => recognises(profile, files)))
  }
  return named
}

async function additionsOf(
  profile: Profile,
  program: ProgramFacts,
  context: ProfileContext,
): Promise<Additions> {
  const { env, log, directory } = context
  log.detail(`profile ${profile.name}: ${profile.about}`)
  const defaults = Object.entries(profile.environment).filter(([name]) => env[name] === undefined)
  const values = { ...Object.fromEntries(defaults), ...env, PROGRAM: program.interpreters[0] ?? program.path }
  const told = await answers(profile, values, { deadline: Deadline.after(ASK_MS) }, directory)
  const libraries = [...profile.libraries, ...told.filter((line) => /^lib[^/]*\.so[\d.]*$/.test(line))]
  const wanted = [
    ...profile.files.map((file) => expand(file, values)),
    ...libraries.map((library) => findLibrary(library, profile, program, env)),
    ...told.filter((line) => line.startsWith('/')),
  ]
  const files = wanted.filter((path) => path !== undefined && existsSync(path)) as string[]
  return { files, variables: defaults.map(([name, value]) => `${name}=${value}`) }
}

// Where the loader would look first, else beside the library by which the program was recognised, else in its cache.
function findLibrary(
  name: string,
  { recognise }: Profile,
  program: ProgramFacts,
  env: NodeJS.ProcessEnv,
): string | undefined {
  const known = program.files.find((path) => recognise.libraries.includes(basename(path)))
  const folders = [
    ...(env.LD_LIBRARY_PATH ?? '').split(':'),
    ...(known === undefined ? [] : [dirname(known)]),
  ]
  return (
    folders
      .filter((folder) => folder.startsWith('/'))
      .map((folder) => join(folder, name))
      .find((path) => existsSync(path)) ?? readLdCache().find((library) => library.name === name)?.path
  )
}

async function answers(
  { ask, name }: Profile,
  values: Readonly<Record<string, string | undefined>>,
  limits: WaitLimits,
  cwd: string,
): Promise<string[]> {
  const argv = ask.map((word) => expand(word, values) ?? '')
  const [command, ...args] = argv
  if (!command) return []
  const { status, stdout, stderr } = await runCommand([command, ...args], { ...limits, cwd })
  if (status !== 0) {
    throw usageError(
      `asked ${command}, which answered: ${stderr.trim().split('\n').at(-1)}`,
      undefined,
      `profile ${name}`,
    )
  }
  return stdout.split('\n')
}
