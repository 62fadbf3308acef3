// What libraries load by name at run time and no ELF header tells: MPI components, PMIx and fabric plug-ins, name
// services, and the texts and settings that go with them. Directories are read out of the libraries themselves (the
// paths their build compiled in) and looked for beside them, so that any installation prefix works.
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { withFile } from './elf.ts'
import type { Environment } from './inspect.ts'
import type { LinkMap, LoadedObject } from './loader.ts'

/** What the libraries of a process would load by name. */
export interface Plugins {
  /** Files and directories that are read but not linked: help texts, settings. */
  readonly data: readonly string[]
  /** Plug-ins that need a library which this host lacks: unusable here, so left out. */
  readonly leftOut: readonly { readonly path: string; readonly why: string }[]
}

/** One library that loads plug-ins. */
interface PluginRule {
  readonly library: RegExp
  find(
    library: LoadedObject,
    env: Environment,
  ): { readonly plugins: readonly string[]; readonly data: readonly string[] }
}

const RULES: readonly PluginRule[] = [
  {
    // Open MPI 2 to 5: opal/mca/installdirs keeps ${libdir}/openmpi, ${datadir}/openmpi and the like as texts.
    library: /^libopen-pal\.so/,
    find: (library, env) =>
      projectPlugins(library, 'OPAL', env, /^mca_.*\.so$/, /mca-params.*\.conf$|^openmpi-/),
  },
  {
    // OpenPMIx 3 to 6, the same scheme under its own name.
    library: /^libpmix\.so/,
    find: (library, env) =>
      projectPlugins(library, 'PMIX', env, /^(pmix_)?mca_.*\.so$/, /mca-params.*\.conf$/),
  },
  {
    // UCX: ${libdir}/ucx, or UCX_MODULE_DIR; modules are opened as libNAME.so.VERSION.
    library: /^libucs\.so/,
    find: (library, env) => ({
      plugins: filesIn([env.UCX_MODULE_DIR, ...besideOrInside(library, 'ucx')], /^libu\w+\.so\.\d+$/),
      data: existing(['/etc/ucx']),
    }),
  },
  {
    // libfabric: ${libdir}/libfabric, or FI_PROVIDER_PATH.
    library: /^libfabric\.so/,
    find: (library, env) => ({
      plugins: filesIn(
        [...(env.FI_PROVIDER_PATH ?? '').split(':'), ...besideOrInside(library, 'libfabric')],
        /-fi\.so$/,
      ),
      data: existing(['/etc/libfabric.conf']),
    }),
  },
  {
    // glibc: name services by name (before 2.34; since then files and dns are inside), unwinding for pthread_exit.
    library: /^libc\.so\.6$/,
    find: (library) => ({
      plugins: existing(
        ['libnss_files.so.2', 'libnss_dns.so.2', 'libgcc_s.so.1'].map((name) =>
          join(dirname(library.path), name),
        ),
      ),
      data: [],
    }),
  },
]
// Not looked for: hwloc's plug-ins and the drivers of libibverbs. Both only look for devices that these guests do not
// have (GPUs, displays, RDMA adapters), and opening them makes MPI_Init several times slower under emulation.

/** Maps what the libraries of `map` would load by name into it, until nothing new asks for more. */
export function loadPlugins(map: LinkMap, env: Environment): Plugins {
  const data = new Set<string>()
  const leftOut: { path: string; why: string }[] = []
  // Plug-ins bring libraries that have plug-ins themselves: the list grows while it is walked.
  for (let i = 0; i < map.objects.length; i++) {
    const object = map.objects[i] as LoadedObject
    const rule = RULES.find(({ library }) => library.test(object.elf.soname ?? basename(object.path)))
    if (!rule) continue
    const found = rule.find(object, env)
    for (const path of found.data) data.add(path)
    for (const path of found.plugins) {
      const missing = map.openPlugin(path, object)
      if (missing) leftOut.push({ path, why: `${missing.name} was not found` })
    }
  }
  return { data: [...data], leftOut }
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
  plugin: RegExp,
  settings: RegExp,
): { plugins: readonly string[]; data: readonly string[] } {
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
  const absolute = texts.filter((text) => text.startsWith('/'))
  const shares = [...prefixes.map((prefix) => join(prefix, 'share')), ...absolute]
  const components = [
    env[`${project}_PKGLIBDIR`],
    ...inDirectory(/^\$\{libdir\}(\/.*)$/, libraryDirectories),
    ...absolute,
  ]
  return {
    plugins: filesIn(components, plugin),
    data: [
      ...directoriesWith(inDirectory(/^\$\{datadir\}(\/.*)$/, shares), /^help-.*\.txt$/),
      ...filesIn([...absolute, ...underPrefix, ...prefixes.map((p) => join(p, 'etc'))], settings),
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

/** Files of these directories whose names match, each once even when directories are the same by another name. */
function filesIn(directories: Iterable<string | undefined>, name: RegExp): string[] {
  const files = new Map<string, string>()
  for (const directory of directoriesWith(directories, name)) {
    for (const file of readdirSync(directory).sort()) {
      const path = join(directory, file)
      if (name.test(file) && statSync(path, { throwIfNoEntry: false })?.isFile()) {
        const real = realpathSync(path)
        if (!files.has(real)) files.set(real, path)
      }
    }
  }
  return [...files.values()]
}

function directoriesWith(directories: Iterable<string | undefined>, name: RegExp): string[] {
  const found = new Map<string, string>()
  for (const directory of directories) {
    if (!directory || !statSync(directory, { throwIfNoEntry: false })?.isDirectory()) continue
    const real = realpathSync(directory)
    if (!found.has(real) && readdirSync(directory).some((file) => name.test(file))) found.set(real, directory)
  }
  return [...found.values()]
}

function existing(paths: readonly string[]): string[] {
  return paths.filter((path) => existsSync(path))
}
