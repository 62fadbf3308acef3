// Which of a program's libraries and plug-ins go into an OSv image: all but what the kernel supplies and what could not
// work there, judged by the symbols that are to be had in the guest.
import { basename } from 'node:path'
import { dynamicSymbols, type Elf, readElf, withFile } from '../formats/index.ts'
import type { LinkMap, LoadedObject } from '../loader.ts'
import type { OsvKernel } from './kernel.ts'

/** Libraries and plug-ins of one program in an OSv guest. */
export interface GuestObjects {
  /** Without the program itself, in the order of the link map. */
  readonly kept: readonly LoadedObject[]
  /** Plug-ins that are of no use in OSv. */
  readonly leftOut: readonly { readonly path: string; readonly why: string }[]
  /** What will not work, in whole sentences that name the symbols. */
  readonly missing: readonly string[]
}

/** Components that ran everything in the trials with Open MPI 4.1; shmem_mmap is needed by opal_init. */
const SMALLEST: ReadonlySet<string> = new Set(
  [
    'pmix_ext3x ess_pmi schizo_jsm errmgr_default_app state_app bml_r2 btl_tcp btl_self btl_vader',
    'reachable_weighted pml_ob1 allocator_basic allocator_bucket coll_basic coll_tuned coll_libnbc coll_self',
    'coll_inter osc_pt2pt shmem_mmap',
  ]
    .join(' ')
    .split(' ')
    .map((name) => `mca_${name}.so`),
)

/**
 * Chooses. A plug-in is left out when a library that only it brings refers to symbols that nobody has: neither the guest's
 * objects nor the kernel nor the compatibility library (`compat`, a path). Those are fabrics, mostly. With `smallest`, all
 * components of Open MPI outside the smallest set are left out, too. Versions of symbols do not count in OSv.
 */
export function guestObjects(
  map: LinkMap,
  kernel: OsvKernel,
  compat: string | undefined,
  smallest: boolean,
): GuestObjects {
  const { program } = map
  const byName = new Map<string, LoadedObject>()
  for (const object of map.objects) {
    for (const name of namesOf(object)) if (!byName.has(name)) byName.set(name, object)
  }
  const supplied = (object: LoadedObject) => namesOf(object).some((name) => kernel.libraries.has(name))
  /** What `object` needs, itself included, beside what is in `known` already. */
  const closure = (object: LoadedObject, known: ReadonlySet<LoadedObject>) => {
    const found = new Set<LoadedObject>()
    const visit = (next: LoadedObject | undefined) => {
      if (!next || found.has(next) || known.has(next) || (next !== program && supplied(next))) return
      found.add(next)
      for (const name of next.elf.needed) visit(byName.get(name))
    }
    visit(object)
    return found
  }

  const symbols = new SymbolIndex(map, kernel, compat)
  const kept = closure(program, new Set())
  const leftOut: { path: string; why: string }[] = []
  for (const object of map.objects) {
    if (!isPlugin(object) || !kept.has(object.loader as LoadedObject)) continue
    if (smallest && /^mca_\w+\.so$/.test(basename(object.path)) && !SMALLEST.has(basename(object.path))) {
      leftOut.push({ path: object.path, why: 'it is not in the smallest set' })
      continue
    }
    const brought = closure(object, kept)
    const useless = [...brought].find((library) => library !== object && symbols.missing(library).length > 0)
    if (useless) {
      const [symbol] = symbols.missing(useless)
      leftOut.push({ path: object.path, why: `${useless.path} needs ${symbol}, which OSv does not have` })
    } else for (const library of brought) kept.add(library)
  }
  return {
    kept: map.objects.filter((object) => object !== program && kept.has(object)),
    leftOut,
    missing: [...kept].filter((object) => !isPlugin(object)).flatMap((object) => sentenceOf(object, symbols)),
  }
}

/** Nobody needs it by name: somebody loads it. */
function isPlugin({ path, elf, loader }: LoadedObject): boolean {
  return (
    loader !== undefined && !loader.elf.needed.some((name) => name === elf.soname || name === basename(path))
  )
}

function namesOf({ path, elf }: LoadedObject): string[] {
  return elf.soname === undefined ? [basename(path)] : [elf.soname, basename(path)]
}

/** OSv looks functions up when they are first called: a missing one is fatal then, and only then. */
function sentenceOf(object: LoadedObject, symbols: SymbolIndex): string[] {
  const names = symbols.missing(object)
  if (names.length === 0) return []
  const more = names.length > SYMBOLS_SHOWN ? ` and ${names.length - SYMBOLS_SHOWN} more` : ''
  return [
    `${object.path} refers to ${names.slice(0, SYMBOLS_SHOWN).join(', ')}${more}, which neither the image nor the OSv kernel has: the program ends when it comes to use that`,
  ]
}
const SYMBOLS_SHOWN = 12

/** Which symbols objects refer to that nobody in the guest defines. */
class SymbolIndex {
  readonly #defined = new Set<string>()
  readonly #wanted = new Map<LoadedObject, string[]>()
  readonly #kernel: OsvKernel

  constructor(map: LinkMap, kernel: OsvKernel, compat: string | undefined) {
    this.#kernel = kernel
    for (const object of map.objects) {
      // The host's own C library does not go into the guest, nor does what it defines.
      if (namesOf(object).some((name) => kernel.libraries.has(name))) continue
      this.#wanted.set(object, this.#read(object.path, object.elf))
    }
    if (compat !== undefined) {
      this.#read(
        compat,
        withFile(compat, (source) => readElf(source, compat)),
      )
    }
  }

  missing(object: LoadedObject): string[] {
    return (this.#wanted.get(object) ?? []).filter((name) => !this.#defined.has(name))
  }

  #read(path: string, elf: Elf): string[] {
    const wanted: string[] = []
    withFile(path, (source) => {
      for (const { name, defined, weak } of dynamicSymbols(source, elf, path)) {
        if (defined) this.#defined.add(name)
        else if (!weak && !this.#kernel.symbols.has(name)) wanted.push(name)
      }
    })
    return wanted
  }
}
