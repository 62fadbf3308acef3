// What libraries load by name at run time and no ELF header tells: MPI components, PMIx and fabric plug-ins, name
// services, and the texts and settings that go with them. Directories are read out of the libraries themselves (the
// paths their build compiled in) and looked for beside them, so that any installation prefix works.
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { withFile } from './formats/index.ts'
import type { Environment } from './inspect.ts'
import type { LinkMap, LoadedObject } from './loader.ts'

/** What the libraries of a process would load by name. */
export interface Plugins {
  /** Files and directories that are read but not linked: help texts, settings. */
  readonly data: readonly string[]
  /** Plug-ins that need a library which this host lacks: unusable here, so left out. */
  readonly leftOut: readonly { readonly path: string; readonly why: string }[]
  /** Directories that were looked into, there or not. */
  readonly searched: readonly string[]
}

/** One library that loads plug-ins. */
interface PluginRule {
  readonly library: RegExp
  find(library: LoadedObject, env: Environment, folders: Folders): Found
}

interface Found {
  readonly plugins: readonly string[]
  readonly data: readonly string[]
}

const RULES: readonly PluginRule[] = [
  {
    // Open MPI 2 to 5: opal/mca/installdirs keeps ${libdir}/openmpi, ${datadir}/openmpi and the like as texts.
    library: /^libopen-pal\.so/,
    find: (library, env, folders) =>
      projectPlugins(library, 'OPAL', env, folders, /^mca_.*\.so$/, /mca-params.*\.conf$|^openmpi-/),
  },
  {
    // OpenPMIx 3 to 6, the same scheme under its own name.
    library: /^libpmix\.so/,
    find: (library, env, folders) =>
      projectPlugins(library, 'PMIX', env, folders, /^(pmix_)?mca_.*\.so$/, /mca-params.*\.conf$/),
  },
  {
    // UCX: ${libdir}/ucx, or UCX_MODULE_DIR; modules are opened as libNAME.so.VERSION.
    library: /^libucs\.so/,
    find: (library, env, folders) => ({
      plugins: folders.files([env.UCX_MODULE_DIR, ...besideOrInside(library, 'ucx')], /^libu\w+\.so\.\d+$/),
      data: folders.files(['/etc/ucx'], /\.conf$/),
    }),
  },
  {
    // libfabric: ${libdir}/libfabric, or FI_PROVIDER_PATH.
    library: /^libfabric\.so/,
    find: (library, env, folders) => ({
      plugins: folders.files(
        [...(env.FI_PROVIDER_PATH ?? '').split(':'), ...besideOrInside(library, 'libfabric')],
        /-fi\.so$/,
      ),
      data: [],
    }),
  },
  {
    // glibc: name services by name (before 2.34; since then files and dns are inside), unwinding for pthread_exit.
    library: /^libc\.so\.6$/,
    find: (library, _, folders) => ({
      plugins: folders.files([dirname(library.path)], /^lib(nss_(files|dns)\.so\.2|gcc_s\.so\.1)$/),
      data: [],
    }),
  },
]
// Not looked for: hwloc's plug-ins and the drivers of libibverbs. They only look for devices that these guests do not
// have (GPUs, displays, RDMA adapters), and with what they need (X11, OpenCL, ICU) are larger than an MPI library.

/** Maps what the libraries of `map` would load by name into it, until nothing new asks for more. */
export function loadPlugins(map: LinkMap, env: Environment): Plugins {
  const data = new Set<string>()
  const leftOut: { path: string; why: string }[] = []
  const folders = new Folders()
  // Plug-ins bring libraries that have plug-ins themselves: the list grows while it is walked.
  for (let i = 0; i < map.objects.length; i++) {
    const object = map.objects[i] as LoadedObject
    const rule = RULES.find(({ library }) => library.test(object.elf.soname ?? basename(object.path)))
    if (!rule) continue
    const found = rule.find(object, env, folders)
    for (const path of found.data) data.add(path)
    for (const path of found.plugins) {
      const missing = map.openPlugin(path, object)
      if (missing) leftOut.push({ path, why: `${missing.name} was not found` })
    }
  }
  return { data: [...data], leftOut, searched: folders.searched }
}

/**
 * Open MPI and OpenPMIx keep their directories as texts such as `${prefix}/share`, `${datadir}/openmpi` or
 * `/etc/openmpi`. Which text belongs to which name is not to be seen from outside, so each is tried with what its
 * variables can stand for, and a directory counts when it has what is looked for.
 */
function projectPlugins(
  library: LoadedObject,
  project: 'OPAL' | 'PMIX',
  env: Environment,
  folders: Folders,
  plugin: RegExp,
  settings: RegExp,
): Found {
  const texts = pathTexts(library)
  const home = dirname(realpathSync(library.path))
  const prefixes = [env[`${project}_PREFIX`], ...ancestors(home)].filter((p) => p !== undefined)
  const libraryDirectories = new Set<string>([home, dirname(library.path)])
  if (env[`${project}_LIBDIR`]) libraryDirectories.add(env[`${project}_LIBDIR`] as string)
  const underPrefix = texts.flatMap((text) => {
    const match = /^\$\{(?:exec_)?prefix\}(\/.*)$/.exec(text)
    return match ? prefixes.map((prefix) => join(prefix, match[1] as string)) : []
  })
  for (const path of underPrefix)
    if (basename(path).startsWith('lib') || path.includes('/lib/')) libraryDirectories.add(path)
  const inDirectory = (variable: RegExp, directories: Iterable<string>) =>
    texts.flatMap((text) => {
      const match = variable.exec(text)
      return match ? [...directories].map((directory) => join(directory, match[1] as string)) : []
    })
  const absolute = texts.filter((text) => /^\/(?!proc\/|sys\/|dev\/|tmp)/.test(text))
  const shares = [
    ...prefixes.map((prefix) => join(prefix, 'share')),
    ...absolute.filter((p) => p.endsWith('/share')),
  ]
  const components = [
    env[`${project}_PKGLIBDIR`],
    ...inDirectory(/^\$\{libdir\}(\/.*)$/, libraryDirectories),
    ...absolute,
  ]
  return {
    plugins: folders.files(components, plugin),
    data: [
      ...folders.having(inDirectory(/^\$\{datadir\}(\/.*)$/, shares), /^help-.*\.txt$/),
      ...folders.files([...absolute, ...underPrefix, ...prefixes.map((p) => join(p, 'etc'))], settings),
    ],
  }
}

/** Texts in a library that begin as a path does, with or without a variable. */
function pathTexts(library: LoadedObject): string[] {
  const bytes = withFile(library.path, (source) => source.read(0, Math.min(source.size, MAX_TEXT_SCAN)))
  const texts = bytes.toString('latin1').match(/(?<=\0)(?:\/|\$\{\w+\}\/)[\w.+/-]{1,255}(?=\0)/g) ?? []
  return [...new Set(texts)]
}
const MAX_TEXT_SCAN = 16 << 20

function besideOrInside(library: LoadedObject, name: string): string[] {
  const compiledIn = pathTexts(library).filter((text) => basename(text) === name)
  return [join(dirname(realpathSync(library.path)), name), join(dirname(library.path), name), ...compiledIn]
}

function ancestors(path: string): string[] {
  return path === '/' ? [path] : [path, ...ancestors(dirname(path))]
}

/** Directories of the host, each read once under whatever name. */
class Folders {
  private readonly names = new Map<string, readonly string[]>()
  private readonly real = new Map<string, string | undefined>()

  /** All that were asked for, there or not. */
  get searched(): string[] {
    return [...this.real.keys()]
  }

  /** Those of `directories` that have a file of such a name; the same directory by another name only once. */
  having(directories: Iterable<string | undefined>, name: RegExp): string[] {
    const found = new Map<string, string>()
    for (const directory of directories) {
      const real = directory ? this.resolve(directory) : undefined
      if (!directory || !real || found.has(real)) continue
      if (this.list(real).some((file) => name.test(file))) found.set(real, directory)
    }
    return [...found.values()]
  }

  /** Files of `directories` with such a name; the same file by another name only once. */
  files(directories: Iterable<string | undefined>, name: RegExp): string[] {
    const files = new Map<string, string>()
    for (const directory of this.having(directories, name)) {
      for (const file of this.list(this.resolve(directory) as string)) {
        if (!name.test(file)) continue
        const path = join(directory, file)
        if (!statSync(path, { throwIfNoEntry: false })?.isFile()) continue
        const real = realpathSync(path)
        if (!files.has(real)) files.set(real, path)
      }
    }
    return [...files.values()]
  }

  /** The real path of a directory; undefined when it is none. */
  private resolve(directory: string): string | undefined {
    if (!this.real.has(directory)) {
      const isDirectory = statSync(directory, { throwIfNoEntry: false })?.isDirectory()
      this.real.set(directory, isDirectory ? realpathSync(directory) : undefined)
    }
    return this.real.get(directory)
  }

  private list(directory: string): readonly string[] {
    const known = this.names.get(directory)
    if (known) return known
    const names = readdirSync(directory).sort()
    this.names.set(directory, names)
    return names
  }
}
