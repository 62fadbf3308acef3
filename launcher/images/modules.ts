// Kernel modules: which files are needed for a list of names, and in which order they are to be inserted. Reads what
// depmod(8) left in the modules directory; the parsers are pure.
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { WaitLimits } from '../../common/index.ts'
import { decompress } from './decompress.ts'

/** A module to insert. */
export interface ModuleFile {
  /** With underscores, as the kernel calls it. */
  readonly name: string
  /** Path below the modules directory. */
  readonly path: string
  /** A soft dependency: the guest goes on when it cannot be inserted (a CPU without that instruction, say). */
  readonly optional: boolean
}

/** What a modules directory has. */
export interface ModuleIndex {
  /** Path and dependencies' paths of each module, by name. */
  readonly modules: ReadonlyMap<string, { readonly path: string; readonly needs: readonly string[] }>
  /** Names of what is built into the kernel. */
  readonly builtin: ReadonlySet<string>
  /** Names that should be there before a module, not yet resolved through aliases. */
  readonly soft: ReadonlyMap<string, readonly string[]>
  /** Names of the modules that offer something under an alias, such as `crc32c`. */
  aliased(name: string): readonly string[]
}

/** Reads the four files that matter of `directory` (such as /lib/modules/6.1.0-56-amd64). */
export function readModuleIndex(directory: string): ModuleIndex {
  const text = (name: string) => readFileSync(join(directory, name), 'utf8')
  const optional = (name: string) => (existsSync(join(directory, name)) ? text(name) : '')
  return parseModuleIndex(
    text('modules.dep'),
    optional('modules.builtin'),
    optional('modules.softdep'),
    optional('modules.alias'),
  )
}

/** Lines that make no sense are passed over. */
export function parseModuleIndex(dep: string, builtin: string, softdep: string, alias: string): ModuleIndex {
  const modules = new Map<string, { path: string; needs: readonly string[] }>()
  for (const line of dep.split('\n')) {
    const [path, needs] = line.split(':')
    if (path && needs !== undefined) {
      modules.set(moduleName(path), { path, needs: needs.split(' ').filter(Boolean).map(moduleName) })
    }
  }
  const soft = new Map<string, readonly string[]>()
  for (const line of softdep.split('\n')) {
    const match = /^softdep (\S+) pre: ([^:]*?)(?: post:.*)?$/.exec(line)
    if (match)
      soft.set(canonical(match[1] as string), (match[2] as string).split(' ').filter(Boolean).map(canonical))
  }
  const names = builtin.split('\n').filter(Boolean).map(moduleName)
  return {
    modules,
    builtin: new Set(names),
    soft,
    // The file is large and hardly ever asked: it is searched rather than parsed.
    aliased: (name) => {
      const word = name.replace(/[^\w]/g, '').replaceAll('_', '[-_]')
      const lines = word === '' ? [] : [...alias.matchAll(new RegExp(`^alias ${word} (\\S+)$`, 'gm'))]
      return lines.map(([, module]) => canonical(module as string))
    },
  }
}

/**
 * The modules to insert so that all `names` are there, dependencies first, without those built in. A name that the
 * kernel does not know is in `unknown`.
 */
export function loadOrder(
  index: ModuleIndex,
  names: readonly string[],
): { readonly files: readonly ModuleFile[]; readonly unknown: readonly string[] } {
  const files: ModuleFile[] = []
  const unknown: string[] = []
  const seen = new Set<string>()
  const visit = (name: string, optional: boolean) => {
    if (seen.has(name) || index.builtin.has(name)) return
    seen.add(name)
    const module = index.modules.get(name)
    if (!module) {
      if (!optional) unknown.push(name)
      return
    }
    for (const soft of index.soft.get(name) ?? []) {
      const targets = index.aliased(soft)
      for (const target of targets.length > 0 ? targets : [soft]) visit(target, true)
    }
    // modules.dep lists the nearest first and each after what needs it.
    for (const need of module.needs.toReversed()) visit(need, optional)
    files.push({ name, path: module.path, optional })
  }
  for (const name of names) visit(canonical(name), false)
  return { files, unknown }
}

/** The module as the kernel takes it: distributions compress them in three ways. */
export async function readModule(path: string, limits: WaitLimits): Promise<Buffer> {
  const bytes = await readFile(path)
  return /\.ko\.\w+$/.test(path) ? decompress(bytes, path, limits) : bytes
}

function moduleName(path: string): string {
  return canonical((path.split('/').at(-1) as string).replace(/\.ko(\.\w+)?$/, ''))
}

function canonical(name: string): string {
  return name.replaceAll('-', '_')
}
