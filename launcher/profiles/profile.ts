// A profile: what the programs of some code need that no ELF header tells. A small YAML file, which any user can write;
// README.md describes it. Pure.
import { isMap, isScalar, isSeq, type Node, parseDocument } from 'yaml'
import { usageError } from '../../common/index.ts'

/** A profile as its file says it; texts may have `${NAME}` of the environment and `${PROGRAM}` in them. */
export interface Profile {
  readonly name: string
  readonly about: string
  /** A program with one of these libraries, or of one of these names, has the profile by itself. */
  readonly recognise: { readonly libraries: readonly string[]; readonly programs: readonly string[] }
  /** Variables that ranks have unless the user's environment does. */
  readonly environment: Readonly<Record<string, string>>
  /** Files and directories for the image; what is not there is left out. */
  readonly files: readonly string[]
  /** Libraries that are loaded by name, from LD_LIBRARY_PATH, the directory of the recognised one or the loader's. */
  readonly libraries: readonly string[]
  /** A command that prints a path for the image or such a library on each line; none when empty. */
  readonly ask: readonly string[]
}

const KEYS = ['about', 'recognise', 'environment', 'files', 'libraries', 'ask'] as const

/** Reads a profile; a usage error names what in it means nothing. */
export function parseProfile(text: string, name: string, where: string): Profile {
  const document = parseDocument(text, { schema: 'failsafe', uniqueKeys: true })
  const [error] = document.errors
  if (error) throw usageError(error.message.split('\n')[0] as string, undefined, where)
  const top = new Fields(document.contents, where)
  top.only(KEYS)
  const recognise = top.map('recognise')
  recognise.only(['libraries', 'programs'])
  return {
    name,
    about: top.text('about'),
    recognise: { libraries: recognise.list('libraries'), programs: recognise.list('programs') },
    environment: top.map('environment').texts(),
    files: top.list('files'),
    libraries: top.list('libraries'),
    ask: top.list('ask'),
  }
}

/** Whether a profile is that of a program that opens files with these names when it starts, itself among them. */
export function recognises({ recognise }: Profile, files: readonly string[]): boolean {
  return (
    recognise.libraries.some((wanted) => files.includes(wanted)) ||
    recognise.programs.some((pattern) => files.some((name) => fits(pattern, name)))
  )
}

/** `python3.*` fits `python3.11`. */
function fits(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

/** A text with its `${NAME}` filled in; undefined when one of them is not set. */
export function expand(
  text: string,
  values: Readonly<Record<string, string | undefined>>,
): string | undefined {
  let complete = true
  const expanded = text.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = values[name]
    complete &&= value !== undefined && value !== ''
    return value ?? ''
  })
  return complete ? expanded : undefined
}

/** A YAML map whose values are texts, lists of texts or maps again; what is absent is empty. */
class Fields {
  readonly #node: Node | null | undefined
  readonly #where: string

  constructor(node: Node | null | undefined, where: string) {
    this.#node = node
    this.#where = where
    if (node && !isMap(node)) throw usageError('is not a map of keys', undefined, where)
  }

  only(known: readonly string[]): void {
    for (const key of this.#keys()) {
      if (!known.includes(key))
        throw usageError(`"${key}" is not a key of a profile`, known.join(', '), this.#where)
    }
  }

  text(key: string): string {
    return this.#text(this.#get(key), key)
  }

  list(key: string): string[] {
    const node = this.#get(key)
    if (node === undefined) return []
    if (!isSeq(node)) throw usageError(`"${key}" is not a list`, `${key}: [A, B]`, this.#where)
    return node.items.map((item) => this.#text(item as Node, key))
  }

  map(key: string): Fields {
    return new Fields(this.#get(key), `${this.#where}, ${key}`)
  }

  texts(): Record<string, string> {
    return Object.fromEntries(this.#keys().map((key) => [key, this.text(key)]))
  }

  #keys(): string[] {
    return isMap(this.#node) ? this.#node.items.map(({ key }) => String(isScalar(key) ? key.value : key)) : []
  }

  #get(key: string): Node | undefined {
    return isMap(this.#node) ? ((this.#node.get(key, true) as Node | undefined) ?? undefined) : undefined
  }

  #text(node: Node | undefined, key: string): string {
    if (node === undefined) return ''
    if (!isScalar(node)) throw usageError(`"${key}" holds what is not a text`, undefined, this.#where)
    return String(node.value)
  }
}
