// leet.yaml: the options of leet-mpirun by their keys, either nested (`guest:` and below it `memory:`) or dotted
// (`guest.memory:`). Pure but for loading the YAML parser, which happens only when there is a file.
import type { Document, LineCounter, Node, Pair, Scalar, YAMLMap } from 'yaml'
import { LeetError } from '../../common/index.ts'
import { nearest, type OptionSpec } from '../../mpi-bridge/index.ts'
import { type ConfigFile, isNegated, type Said } from './sources.ts'

/** The options that a file may set. */
export function configurable(table: readonly OptionSpec[]): OptionSpec[] {
  return table.filter(
    ({ commandLineOnly, means, noEffect, refused }) =>
      !commandLineOnly && !means && noEffect === undefined && refused === undefined,
  )
}

/** Reads the text of a file. `LEET_E_CONFIG` says with line and column what cannot be. */
export async function parseConfig(
  text: string,
  path: string,
  table: readonly OptionSpec[],
): Promise<ConfigFile> {
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  let document: Document.Parsed
  try {
    document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: false })
  } catch (cause) {
    // The parser gives up on text that is nested too deeply for it.
    throw refusal(path, 'is not YAML', undefined, cause)
  }
  const [error] = document.errors
  if (error) throw refusal(place(path, lines, error.pos[0]), `is not YAML: ${error.message}`)
  const reader = new Reader(yaml, path, lines, configurable(table))
  reader.read(document.contents)
  return { path, options: reader.options }
}

class Reader {
  readonly options = new Map<string, readonly Said[]>()
  readonly #yaml: typeof import('yaml')
  readonly #path: string
  readonly #lines: LineCounter
  readonly #specs: ReadonlyMap<string, OptionSpec>

  constructor(yaml: typeof import('yaml'), path: string, lines: LineCounter, specs: readonly OptionSpec[]) {
    this.#yaml = yaml
    this.#path = path
    this.#lines = lines
    this.#specs = new Map(specs.map((spec) => [spec.key, spec]))
  }

  read(root: Node | null): void {
    // An empty file says nothing.
    if (root === null || (this.#yaml.isScalar(root) && root.value === null)) return
    if (!this.#yaml.isMap(root)) throw this.#refuse(root, 'is not a mapping of keys to values')
    this.#map(root, '')
  }

  #map(map: YAMLMap, prefix: string): void {
    for (const { key, value } of map.items as Pair<Node, Node | null>[]) {
      const name = `${prefix}${this.#text(key, 'a key')}`
      const spec = this.#specs.get(name)
      if (this.#yaml.isMap(value) && spec?.takes.length !== 2 && this.#isGroup(name)) {
        this.#map(value, `${name}.`)
        continue
      }
      if (!spec) {
        if (this.#isGroup(name)) throw this.#refuse(key, `${name} has further keys below it`)
        const near = nearest(name, [...this.#specs.keys()])
        throw this.#refuse(
          key,
          `there is no key ${JSON.stringify(name)}`,
          near ?? '`leet config` shows all keys',
        )
      }
      if (this.options.has(name)) throw this.#refuse(key, `${name} is there twice`)
      this.options.set(name, this.#values(spec, value ?? key, value))
    }
  }

  #isGroup(name: string): boolean {
    return [...this.#specs.keys()].some((key) => key.startsWith(`${name}.`))
  }

  #values(spec: OptionSpec, at: Node, value: Node | null): Said[] {
    const { key, takes, repeats } = spec
    const said = (node: Node, ...words: string[]): Said => ({
      words,
      where: this.#place(node),
      source: this.#path,
    })
    if (takes.length === 0) {
      if (!this.#yaml.isScalar(value) || typeof value.value !== 'boolean') {
        throw this.#refuse(at, `${key} is either true or false`)
      }
      return value.value === isNegated(spec) ? [] : [said(at)]
    }
    if (takes.length === 2) {
      if (!this.#yaml.isMap(value)) throw this.#refuse(at, `${key} is a mapping of ${takes.join(' to ')}`)
      return (value.items as Pair<Node, Node | null>[]).map((pair) =>
        said(pair.key, this.#text(pair.key, key), this.#text(pair.value ?? pair.key, key)),
      )
    }
    const items = repeats && this.#yaml.isSeq(value) ? (value.items as Node[]) : [value ?? at]
    if (value === null) throw this.#refuse(at, `${key} has no value`)
    return items.map((item) => said(item, this.#text(item, key)))
  }

  /** A scalar as it is written: `2G`, `07` and `1.0` are left to the option's own parser. */
  #text(node: Node, what: string): string {
    if (!this.#yaml.isScalar(node)) throw this.#refuse(node, `${what} is a single value`)
    const { value, source } = node as Scalar
    if (value === null) throw this.#refuse(node, `${what} has no value`)
    return typeof value === 'string' ? value : (source ?? String(value))
  }

  #place(node: Node): string {
    return place(this.#path, this.#lines, node.range?.[0] ?? 0)
  }

  #refuse(node: Node, what: string, hint?: string): LeetError {
    return refusal(this.#place(node), what, hint)
  }
}

function place(path: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset)
  return `${path}:${line}:${col}`
}

function refusal(where: string, what: string, hint?: string, cause?: unknown): LeetError {
  return new LeetError({ code: 'LEET_E_CONFIG', where, what, hint, cause, exitCode: 2 })
}
