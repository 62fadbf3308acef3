// The search of ld.so(8), done on the host: which files a program would have mapped when its main() begins, and which
// more when a library dlopens a plug-in. Rules as in glibc's elf/dl-load.c; musl's simpler ones for programs linked with it.
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { type Elf, readElf, withFile } from './formats/index.ts'
import { type CachedLibrary, parseLdCache, searchLdCache, writeLdCache } from './ldcache.ts'

/** What the search depends on beside the objects themselves. */
export interface LoaderSettings {
  /** Directories of LD_LIBRARY_PATH, absolute, tokens unexpanded. */
  readonly libraryPath: readonly string[]
  /** Libraries of LD_PRELOAD. */
  readonly preload: readonly string[]
  /** Paths that ld.so.cache has for a name, in its order; the cache is read when first asked. */
  cached(name: string): readonly string[]
  /** Searched last. */
  readonly defaultDirectories: readonly string[]
}

/** A program or library as the loader would map it. */
export interface LoadedObject {
  /** The path under which it is opened; symlinks in it are not followed. */
  readonly path: string
  readonly elf: Elf
  /** What made the loader map it; the program itself has none. */
  readonly loader?: LoadedObject
}

/** A library that an object needs and the loader would not find. */
export interface MissingLibrary {
  readonly name: string
  /** Path of the object that needs it. */
  readonly neededBy: string
}

export const LD_CACHE = '/etc/ld.so.cache'
/** The system search path of glibc on Debian and on Red Hat's kin; absent ones cost one failed open. */
const DEFAULT_DIRECTORIES = [
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
]
const MUSL_DIRECTORIES = ['/lib', '/usr/local/lib', '/usr/lib']

/** The settings of this host for a program started in `directory` with environment `env`. */
export function hostLoaderSettings(
  env: Readonly<Record<string, string | undefined>>,
  directory: string,
): LoaderSettings {
  let search: ((name: string) => string[]) | undefined
  return {
    // Both colons and semicolons separate; an empty element is the current directory.
    libraryPath: env.LD_LIBRARY_PATH
      ? env.LD_LIBRARY_PATH.split(/[:;]/).map((path) => (isToken(path) ? path : resolve(directory, path)))
      : [],
    preload: (env.LD_PRELOAD ?? '').split(/[: ]/).filter(Boolean),
    cached: (name) => {
      search ??= searchLdCache(ldCacheBytes(), LD_CACHE)
      return search(name)
    },
    defaultDirectories: DEFAULT_DIRECTORIES,
  }
}

/** The libraries of this host's loader cache, in its order. */
export function readLdCache(): readonly CachedLibrary[] {
  return parseLdCache(ldCacheBytes(), LD_CACHE)
}

function ldCacheBytes(): Uint8Array {
  try {
    return readFileSync(LD_CACHE)
  } catch {
    return writeLdCache([]) // a system without a cache is searched by directories alone
  }
}

/** One program's process: what is mapped in it, and what could not be found. */
export class LinkMap {
  readonly program: LoadedObject
  readonly objects: LoadedObject[] = []
  readonly missing: MissingLibrary[] = []
  /** Directories that were searched by name, there or not: a new file in one may change what is found. */
  readonly searched = new Set<string>()
  private readonly settings: LoaderSettings
  private readonly byName = new Map<string, LoadedObject>()
  private readonly byFile = new Map<string, LoadedObject>()

  /** Maps `program` (an absolute path) and all it needs. What is not an ELF object is `LEET_E_ELF`. */
  constructor(program: string, settings: LoaderSettings) {
    const elf = withFile(program, (source) => readElf(source, program))
    const musl = elf.interpreter !== undefined && basename(elf.interpreter).startsWith('ld-musl-')
    this.settings = musl ? { ...settings, cached: () => [], defaultDirectories: MUSL_DIRECTORIES } : settings
    this.program = { path: program, elf }
    this.add(this.program)
    if (!elf.dynamic || elf.interpreter === undefined) return
    // The loader is itself a library of the process; musl's is the C library under all its names.
    const interpreter = this.open(elf.interpreter, this.program)
    if (!interpreter) {
      this.missing.push({ name: elf.interpreter, neededBy: program })
      return
    }
    this.add(interpreter)
    if (musl) for (const name of ['libc.so', 'libc.musl-x86_64.so.1']) this.byName.set(name, interpreter)
    for (const name of settings.preload) this.need(name, this.program, false)
    this.needAll(0)
  }

  /**
   * Maps a plug-in as `dlopen(path)` called from `caller` would, with all it needs. When a library of it cannot be
   * found nothing is kept and that library's name is returned: the plug-in could not be used on this host either.
   */
  openPlugin(path: string, caller: LoadedObject): MissingLibrary | undefined {
    const first = this.objects.length
    const missingBefore = this.missing.length
    const object = this.open(path, caller)
    if (!object) return { name: path, neededBy: caller.path }
    if (!this.add(object)) return undefined
    this.needAll(first)
    const lost = this.missing[missingBefore]
    if (!lost) return undefined
    this.missing.length = missingBefore
    for (const dropped of this.objects.splice(first)) {
      for (const map of [this.byName, this.byFile]) {
        for (const [key, value] of map) if (value === dropped) map.delete(key)
      }
    }
    return lost
  }

  /** Breadth first, as the loader does: the first library to claim a name is the one that all others get. */
  private needAll(first: number): void {
    for (let i = first; i < this.objects.length; i++) {
      const object = this.objects[i] as LoadedObject
      for (const name of object.elf.needed) this.need(name, object, true)
    }
  }

  private need(name: string, by: LoadedObject, required: boolean): void {
    if (this.byName.has(name)) return
    const found = this.find(name, by)
    if (found) {
      this.add(found)
      this.byName.set(name, this.byFile.get(fileKey(found.path)) as LoadedObject)
    } else if (required) this.missing.push({ name, neededBy: by.path })
  }

  /** False when that very file is mapped already. */
  private add(object: LoadedObject): boolean {
    const key = fileKey(object.path)
    if (this.byFile.has(key)) return false
    this.byFile.set(key, object)
    this.objects.push(object)
    const name = object.elf.soname ?? basename(object.path)
    if (!this.byName.has(name)) this.byName.set(name, object)
    return true
  }

  private find(name: string, by: LoadedObject): LoadedObject | undefined {
    if (name.includes('/'))
      return this.open(resolve(dirname(this.program.path), expand(name, by)[0] ?? ''), by)
    for (const directory of this.directories(by)) {
      this.searched.add(directory)
      const found = this.open(join(directory, name), by)
      if (found) return found
    }
    if (by.elf.noDefaultDirectories) return undefined
    for (const path of this.settings.cached(name)) {
      const found = this.open(path, by)
      if (found) return found
    }
    for (const directory of this.settings.defaultDirectories) {
      this.searched.add(directory)
      const found = this.open(join(directory, name), by)
      if (found) return found
    }
    return undefined
  }

  /**
   * In their order: DT_RPATH of the object, of what loaded it and of the program, unless the object has DT_RUNPATH; then
   * LD_LIBRARY_PATH; then DT_RUNPATH of the object.
   */
  private directories(by: LoadedObject): string[] {
    const directories: string[] = []
    if (by.elf.runpath.length === 0) {
      let chainEndsAtProgram = false
      for (let at: LoadedObject | undefined = by; at; at = at.loader) {
        if (at.elf.runpath.length === 0) directories.push(...at.elf.rpath.flatMap((p) => expand(p, at)))
        chainEndsAtProgram = at === this.program
      }
      if (!chainEndsAtProgram && this.program.elf.runpath.length === 0) {
        directories.push(...this.program.elf.rpath.flatMap((p) => expand(p, this.program)))
      }
    }
    directories.push(...this.settings.libraryPath.flatMap((p) => expand(p, this.program)))
    directories.push(...by.elf.runpath.flatMap((p) => expand(p, by)))
    return directories
  }

  /** The object at `path` when there is one for the program's machine: others are passed over, as ld.so does. */
  private open(path: string, loader: LoadedObject): LoadedObject | undefined {
    if (!existsSync(path)) return undefined // most tries end here; an exception would cost more than all the rest
    try {
      const elf = withFile(path, (source) => readElf(source, path))
      return elf.machine === this.program.elf.machine ? { path, elf, loader } : undefined
    } catch {
      return undefined
    }
  }
}

const TOKEN = /\$(?:(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])|\{(ORIGIN|LIB|PLATFORM)\})/g

function isToken(path: string): boolean {
  return path.startsWith('$')
}

/** A search path element with its tokens put in: none when empty, several where $LIB is not the same everywhere. */
function expand(path: string, object: LoadedObject): string[] {
  if (path === '') return []
  // $ORIGIN of a program is where its file really is, of a library where it was found.
  const origin = () => dirname(object.loader ? object.path : realpathSync(object.path))
  const libraryNames = path.includes('LIB') ? ['lib/x86_64-linux-gnu', 'lib64', 'lib'] : ['lib']
  return libraryNames.map((library) =>
    path.replace(TOKEN, (_, bare?: string, braced?: string) => {
      const token = bare ?? braced
      return token === 'ORIGIN' ? origin() : token === 'LIB' ? library : 'x86_64'
    }),
  )
}

function fileKey(path: string): string {
  const { dev, ino } = statSync(path)
  return `${dev}:${ino}`
}
