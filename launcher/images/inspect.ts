// What a program is, before anything is started: found as execvp(3) would, read as the kernel and the loader would.
// Every start of leet-mpirun asks, for the host too, so only headers and a few strings are read.
import { accessSync, constants, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { isSystemError, LeetError, systemReason } from '../../common/index.ts'
import { isElf, MACHINE_X86_64, withFile } from './formats/index.ts'
import { hostLoaderSettings, LinkMap, type LoaderSettings, type MissingLibrary } from './loader.ts'
import { findMpi, type MpiFacts } from './mpi.ts'

/** An environment, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What is known of a program. */
export interface ProgramFacts {
  /** Absolute path under which ranks start it; symlinks are not followed. */
  readonly path: string
  readonly kind: 'dynamic' | 'static' | 'script'
  /** The MPI it uses; of a script, its interpreter's (most often none: `--mpi` tells). */
  readonly mpi: MpiFacts
  /** Libraries the loader would not find: the program cannot start on this host. */
  readonly missing: readonly MissingLibrary[]
  /** Files that the kernel and the loader open when it starts, itself among them. */
  readonly files: readonly string[]
  /** Of a script, the programs that its first line names. */
  readonly interpreters: readonly string[]
}

/** A program with its process as the loader would make it; a script's are those of its interpreter. */
export interface OpenedProgram {
  readonly path: string
  readonly kind: ProgramFacts['kind']
  readonly map: LinkMap
  /** Programs that a script's first line names: the interpreter, and for env(1) what it would start. */
  readonly interpreters: readonly OpenedProgram[]
}

/**
 * Finds `program` (a path, or a name on PATH) and says what it is. Not there, not executable or not a program for
 * this machine: `LEET_E_PROGRAM`. Takes a few milliseconds.
 */
export async function inspectProgram(
  program: string,
  env: Environment,
  directory: string = process.cwd(),
): Promise<ProgramFacts> {
  const path = findProgram(program, env, directory)
  return factsOf(openProgram(path, env, hostLoaderSettings(env, directory)))
}

/** The facts of an opened program. */
export function factsOf(opened: OpenedProgram): ProgramFacts {
  const { path, kind, map, interpreters } = opened
  return {
    path,
    kind,
    mpi: findMpi(map),
    missing: missingOf(opened),
    files: filesOf(opened),
    interpreters: interpreters.map((interpreter) => interpreter.path),
  }
}

/** Refuses a program that could not start on this host, hence in no guest either: `LEET_E_LIBRARY` names what is missing. */
export function refuseMissingLibraries({ path, missing }: Pick<ProgramFacts, 'path' | 'missing'>): void {
  const [first] = missing
  if (!first) return
  throw new LeetError({
    code: 'LEET_E_LIBRARY',
    where: path,
    what: `${missing.map(({ name }) => name).join(', ')} cannot be found`,
    why: `${first.neededBy} needs ${first.name}`,
    hint: 'set LD_LIBRARY_PATH as for a run on this host, or load the module that has it',
    exitCode: 127,
  })
}

function filesOf({ path, map, interpreters }: OpenedProgram): string[] {
  return [...new Set([path, ...map.objects.map((object) => object.path), ...interpreters.flatMap(filesOf)])]
}

/** Libraries that an opened program, or a script's interpreters, would not find. */
export function missingOf({ map, interpreters }: OpenedProgram): MissingLibrary[] {
  return [...map.missing, ...interpreters.filter((i) => i.map !== map).flatMap(missingOf)]
}

/** Absolute path of a program as execvp(3) finds it: with a slash it is a path, else PATH is searched. */
export function findProgram(program: string, env: Environment, directory: string): string {
  if (program === '') throw programError('an empty name', 'names no program')
  if (program.includes('/')) return checkExecutable(resolve(directory, program))
  let refusal: LeetError | undefined
  // An empty element of PATH is the current directory.
  for (const folder of (env.PATH ?? '/usr/bin:/bin').split(':')) {
    const path = join(resolve(directory, folder), program)
    try {
      return checkExecutable(path)
    } catch (error) {
      if (existsAsFile(path)) refusal ??= error as LeetError
    }
  }
  if (refusal) throw refusal
  throw programError(
    program,
    'is not on PATH',
    existsAsFile(resolve(directory, program)) ? `./${program}` : 'give its path, such as ./program',
  )
}

/** Whether PATH leads to a program. */
export function isOnPath(program: string, env: Environment): boolean {
  try {
    findProgram(program, env, '/')
    return true
  } catch {
    return false
  }
}

// It may be executed and not read; but its libraries are named in it.
function headOf(path: string): Buffer {
  try {
    return withFile(path, (source) => source.read(0, Math.min(256, source.size)))
  } catch (error) {
    if (!isSystemError(error)) throw error
    throw programError(path, `cannot be read: ${systemReason(error)}`, `chmod +r ${path}`)
  }
}

/** Reads a program at an absolute path; scripts are followed to their interpreter, at most as deep as the kernel does. */
export function openProgram(
  path: string,
  env: Environment,
  settings: LoaderSettings,
  depth = 0,
): OpenedProgram {
  const head = headOf(path)
  if (isElf(head)) {
    const map = new LinkMap(path, settings)
    if (map.program.elf.machine !== MACHINE_X86_64) {
      throw programError(path, 'is a program for another kind of processor than x86-64')
    }
    return {
      path,
      kind: map.program.elf.interpreter === undefined ? 'static' : 'dynamic',
      map,
      interpreters: [],
    }
  }
  if (head.toString('latin1', 0, 2) !== '#!') {
    throw programError(
      path,
      'is neither an ELF program nor a script',
      'a script begins with #! and its interpreter',
    )
  }
  if (depth >= MAX_SCRIPT_DEPTH)
    throw programError(path, 'is a script whose interpreters are scripts without end')
  const interpreters = scriptInterpreters(head, path, env).map((i) =>
    openProgram(i, env, settings, depth + 1),
  )
  const last = interpreters.at(-1) as OpenedProgram
  return { path, kind: 'script', map: last.map, interpreters }
}
/** BINPRM recursion limit of Linux (fs/exec.c). */
const MAX_SCRIPT_DEPTH = 4

/** Absolute paths of what the first line names. `head` is what the kernel reads of it (256 bytes). */
function scriptInterpreters(head: Buffer, path: string, env: Environment): string[] {
  const line = (head.toString('utf8', 2).split('\n')[0] as string).trim()
  const [interpreter, ...words] = line.split(/[ \t]+/)
  if (!interpreter?.startsWith('/'))
    throw programError(path, 'is a script without the absolute path of an interpreter')
  const first = checkExecutable(interpreter)
  if (basename(interpreter) !== 'env') return [first]
  const started = words.find((word) => !word.startsWith('-') && !word.includes('='))
  return started ? [first, findProgram(started, env, '/')] : [first]
}

function checkExecutable(path: string): string {
  let isFile: boolean
  try {
    isFile = statSync(path).isFile()
  } catch (error) {
    throw programError(path, 'cannot be found', 'check the path', error)
  }
  if (!isFile) throw programError(path, 'is a directory or a device, not a program')
  try {
    accessSync(path, constants.X_OK)
  } catch (error) {
    throw programError(path, 'is not executable', `chmod +x ${path}`, error)
  }
  return path
}

function existsAsFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    // PATH may lead through directories that are closed to this user.
    return false
  }
}

function programError(where: string, what: string, hint?: string, cause?: unknown): LeetError {
  // 127 and 126 are what shells use; mpirun's users know them.
  return new LeetError({ code: 'LEET_E_PROGRAM', where, what, hint, exitCode: 127, cause })
}
