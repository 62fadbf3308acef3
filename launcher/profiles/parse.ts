// The text of a profile: a small YAML file, which any user can write; README.md describes it. Pure.
import { isMap, isScalar, isSeq, type Node, parseDocument } from 'yaml'
import { usageError } from '../../common/index.ts'
import type { Profile } from './profile.ts'

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
